"""Sentry's search language, as far as it is needed; what is not, is refused.

Source: docs.sentry.io/concepts/search. Terms stand side by side and all must hold:
``key:value``, ``key:"a value"``, ``key:[A,B]``, ``!key:value``, ``has:key``,
``tags[key]:value`` and ``timestamp:>=2026-11-22T10:00:00``; ``*`` stands for anything.
"""

import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stack.vendors.sentry.events import ERRORS, SHOP_TAGS, Event, Reader, moment

_TERM = re.compile(
    r"""(?P<denied>!)?(?P<key>tags\[[^\]\s]+\]|[\w.-]+)
        :(?P<order>>=|<=|>|<)?
        (?P<value>\[[^\]]*\]|"(?:[^"\\]|\\.)*"|[^\s"\[\]]+)(?=\s|$)""",
    re.VERBOSE,
)
_LISTED = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,]+')
_TAG = re.compile(r"tags\[([^\],]+)(?:,string)?\]")
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

Predicate = Callable[[Event], bool]


class QueryError(Exception):
    """What Sentry would say in ``detail`` of a 400."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The words a query may use: the data set's fields, and the tags known by now."""

    tags: Collection[str]
    fields: Mapping[str, Reader] = field(default_factory=lambda: ERRORS)

    def reader(self, name: str) -> Reader:
        """Give how ``name`` is read from an event.

        Raises:
            QueryError: no such field or tag. Sentry takes it for a tag that no event
                has; here a slip of the pen shall not look like "no errors".

        """
        match = _TAG.fullmatch(name)
        if match is None and name in self.fields:
            return self.fields[name]
        tag = match[1] if match else name
        if tag not in SHOP_TAGS and tag not in self.tags:
            raise QueryError(f"{name} is not a field or tag that any event has")
        return lambda event: event.tags.get(tag)


def predicate(text: str, words: Vocabulary) -> Predicate:
    """Give the test that an event must pass.

    Raises:
        QueryError: a term that is not understood here.

    """
    tests = [_test(term, words) for term in _terms(text)]
    return lambda event: all(test(event) for test in tests)


def _terms(text: str) -> Iterator[re.Match[str]]:
    place = 0
    rest = text.rstrip()
    while place < len(rest):
        if rest[place].isspace():
            place += 1
            continue
        term = _TERM.match(rest, place)
        if term is None:
            raise QueryError(f"Error parsing search query near: {rest[place:]!r}")
        yield term
        place = term.end()


def _test(term: re.Match[str], words: Vocabulary) -> Predicate:
    key, order, value = term["key"], term["order"], term["value"]
    if key == "timestamp":
        found = _at(order, value)
    elif order:
        raise QueryError(f"{key} cannot be compared with {order}")
    elif key == "has":
        found = _has(words.reader(value))
    else:
        found = _among(words.reader(key), _values(value))
    if term["denied"]:
        return lambda event: not found(event)
    return found


def _at(order: str | None, value: str) -> Predicate:
    if order is None:
        raise QueryError("timestamp needs one of > >= < <=")
    when, compare = _moment(_unquoted(value)), _ORDERS[order]
    return lambda event: compare(event.timestamp, when)


def _moment(value: str) -> datetime:
    try:
        return moment(value)
    except ValueError:
        raise QueryError(f"{value!r} is not a valid ISO8601 date query") from None


def _has(read: Reader) -> Predicate:
    return lambda event: bool(read(event))


def _among(read: Reader, wanted: list[re.Pattern[str]]) -> Predicate:
    def found(event: Event) -> bool:
        value = str(read(event) or "")
        return any(pattern.fullmatch(value) for pattern in wanted)

    return found


def _values(value: str) -> list[re.Pattern[str]]:
    listed = _LISTED.findall(value[1:-1]) if value.startswith("[") else [value]
    if not listed:
        raise QueryError("Empty list in a search filter")
    return [_pattern(_unquoted(one)) for one in listed]


def _pattern(value: str) -> re.Pattern[str]:
    parts = (re.escape(part) for part in value.split("*"))
    return re.compile(".*".join(parts), re.DOTALL)


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value
