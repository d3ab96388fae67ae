"""Rows of chosen fields: one for each event, or one for each group when counting.

Source: docs.sentry.io/api/explore, "Query Explore Events in Table Format".
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stack.vendors.sentry.events import Event
from stack.vendors.sentry.query import QueryError, Vocabulary
from stack.vendors.sentry.transactions import DURATIONS

MAX_FIELDS = 20

Json = dict[str, Any]
Group = Sequence[Event]


def _stamp(when: datetime) -> str:
    return when.isoformat()


def _earliest(group: Group) -> str | None:
    return _stamp(min(event.timestamp for event in group)) if group else None


def _latest(group: Group) -> str | None:
    return _stamp(max(event.timestamp for event in group)) if group else None


_FUNCTIONS: Mapping[str, tuple[str, Callable[[Group], object]]] = {
    "count()": ("integer", len),
    "min(timestamp)": ("date", _earliest),
    "max(timestamp)": ("date", _latest),
    "last_seen()": ("date", _latest),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One chosen field: its name, its type in ``meta``, and how a group gives it."""

    name: str
    type: str
    read: Callable[[Group], object]

    @property
    def counts(self) -> bool:
        """Tell whether it is a function over many events."""
        return self.name in _FUNCTIONS


def columns(names: Sequence[str], words: Vocabulary) -> list[Column]:
    """Give the columns named.

    Raises:
        QueryError: none, too many, or one that is not known.

    """
    if not names:
        raise QueryError("No columns selected")
    if len(names) > MAX_FIELDS:
        raise QueryError(
            f"You can view up to {MAX_FIELDS} fields at a time. "
            "Please delete some and try again."
        )
    return [_column(name, words) for name in dict.fromkeys(names)]


def _column(name: str, words: Vocabulary) -> Column:
    if name in _FUNCTIONS:
        kind, function = _FUNCTIONS[name]
        return Column(name=name, type=kind, read=function)
    if name.endswith(")"):
        raise QueryError(f"{name} is not a valid function")
    if name == "timestamp":
        return Column(
            name=name, type="date", read=lambda group: _stamp(group[0].timestamp)
        )
    read = words.reader(name)
    kind = "duration" if name in DURATIONS else "string"
    return Column(name=name, type=kind, read=lambda group: read(group[0]))


def rows(chosen: Sequence[Column], events: Iterable[Event]) -> list[Json]:
    """Give the table's rows, in the order in which events or groups came."""
    return [
        {column.name: column.read(group) for column in chosen}
        for group in _groups(chosen, events)
    ]


def _groups(chosen: Sequence[Column], events: Iterable[Event]) -> list[Group]:
    if not any(column.counts for column in chosen):
        return [[event] for event in events]
    keys = [column for column in chosen if not column.counts]
    groups: dict[tuple[object, ...], list[Event]] = {} if keys else {(): []}
    for event in events:
        key = tuple(column.read([event]) for column in keys)
        groups.setdefault(key, []).append(event)
    return list(groups.values())


def ordered(
    table: list[Json], chosen: Sequence[Column], sorts: Sequence[str]
) -> list[Json]:
    """Sort by the columns named, the first named counting most; ``-`` turns it round.

    Raises:
        QueryError: the column is not among those chosen.

    """
    names = {column.name.removesuffix("()"): column.name for column in chosen}
    for sort in reversed(sorts):
        name = names.get(sort.removeprefix("-").removesuffix("()"))
        if name is None:
            raise QueryError("Cannot sort by a field that is not selected.")
        table = sorted(table, key=_sort_key(name), reverse=sort.startswith("-"))
    return table


def _sort_key(name: str) -> Callable[[Json], tuple[bool, Any]]:
    return lambda row: (row[name] is not None, row[name])
