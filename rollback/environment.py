"""Environment variables of a deployment: names with keyed fingerprints, never values.

A fingerprint is `<key id>:<HMAC-SHA256 of name and value>`. Without the key nobody can
try values against it; the same value under two names has two fingerprints; and two
that were made with different keys are known to be incomparable, not taken for changed.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .errors import BadInput
from .model import EnvironmentVariable, Variable

__all__ = ["Difference", "difference", "fingerprints", "read_file"]

KEY_ID_LENGTH = 8
NAME = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)", re.DOTALL)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def fingerprints(
    variables: Iterable[Variable], key: str | None
) -> tuple[EnvironmentVariable, ...]:
    """The variables as they are recorded, by name; without a key, names alone."""
    return tuple(
        EnvironmentVariable(
            name=each.name,
            fingerprint=_seal(each, key) if key else None,
        )
        for each in sorted(variables, key=lambda variable: variable.name)
    )


def _seal(variable: Variable, key: str) -> str | None:
    if variable.value is None:
        return None
    text = f"{variable.name}\0{variable.value}"
    return f"{_mac(key, 'key id')[:KEY_ID_LENGTH]}:{_mac(key, text)}"


def _mac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is different in the environment of the later of two deployments, by name.

    `unknown` may or may not have changed: unreadable, or of another key. Where one of
    the two has no variables on record, nothing is `comparable`.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    comparable: bool = True


def difference(
    before: Iterable[EnvironmentVariable], after: Iterable[EnvironmentVariable]
) -> Difference:
    """From one deployment's environment to another's."""
    old = {each.name: each.fingerprint for each in before}
    new = {each.name: each.fingerprint for each in after}
    if not old or not new:
        return Difference(comparable=False)
    both = sorted(old.keys() & new.keys())
    known = [name for name in both if _same_key(old[name], new[name])]
    return Difference(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(name for name in known if old[name] != new[name]),
        unknown=tuple(name for name in both if name not in known),
    )


def _same_key(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return False
    return one.partition(":")[0] == other.partition(":")[0]


def read_file(text: str) -> tuple[Variable, ...]:
    """The variables of a `.env` file; raises `BadInput` naming the line, not its text.

    Values may be quoted, and then go over several lines. Nothing is expanded.
    """
    found = {each.name: each for each in _entries(text)}
    return tuple(found.values())


def _entries(text: str) -> Iterator[Variable]:
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = NAME.fullmatch(line.strip())
        if match is None:
            raise BadInput(
                f"Line {number} of the environment file is no NAME=value.",
                mend="Correct it, or leave the file out: the platform is asked then.",
            )
        name, value = match.groups()
        yield Variable(name=name, value=_value(value, number, lines))


def _value(text: str, number: int, lines: Iterator[tuple[int, str]]) -> str:
    quote = text[:1]
    if quote not in ("'", '"'):
        return re.split(r"\s#", text, maxsplit=1)[0].strip()
    body = text[1:]
    while (end := _end(body, quote)) is None:
        _, more = next(lines, (0, None))
        if more is None:
            raise BadInput(
                f"The quote in line {number} of the environment file never ends.",
                mend="Close it.",
            )
        body += "\n" + more
    return body[:end] if quote == "'" else _unescape(body[:end])


def _end(body: str, quote: str) -> int | None:
    """Where the quote is closed."""
    escaped = False
    for place, letter in enumerate(body):
        if letter == quote and not escaped:
            return place
        escaped = letter == "\\" and not escaped and quote == '"'
    return None


def _unescape(body: str) -> str:
    return re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[0]), body, flags=re.DOTALL)
