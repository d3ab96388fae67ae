"""Values to try in a column: text that PostgreSQL casts to the column's type."""

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["Kind", "candidates"]

LONGEST = 200
LITERALS = re.compile(r"'((?:[^']|'')*)'|(-?\b\d+(?:\.\d+)?)")
NEWEST = datetime(2024, 1, 1, 9, 30, 15, 123456, tzinfo=UTC)
AWKWARD = 'it\'s "ünï" \\ {a,b}\n\tNULL'


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a value of a type is made of.

    `shape` is pg_type's: b(ase), e(num), r(ange), m(ultirange), c(omposite), and a for
    an array; domains are reduced to their base. `parts`: the element of an array, the
    subtype of a range, the fields of a composite. `said`: definitions of CHECKs, whose
    literals are likely to pass them.
    """

    name: str
    shape: str = "b"
    modifier: int = -1
    labels: tuple[str, ...] = ()
    parts: tuple["Kind", ...] = ()
    said: tuple[str, ...] = ()


def candidates(kind: Kind, number: int, place: int) -> tuple[str, ...]:
    """What could pass in row `number` of the column at `place`; the likeliest first.

    A later column has the larger value: "ends after it starts" holds by itself.
    """
    made = dict.fromkeys(_made(kind, number, place))
    return tuple(_cut(kind, each) for each in made)


def _made(kind: Kind, number: int, place: int) -> Iterator[str]:
    match kind.shape:
        case "e":
            yield from (_turned(kind.labels, number))
        case "a":
            yield from _arrays(kind.parts[0], number, place)
        case "r" | "m":
            yield from _ranges(kind, number, place)
        case "c":
            firsts = [candidates(part, number, place)[0] for part in kind.parts]
            yield f"({','.join(map(_quoted, firsts))})"
        case _:
            yield from _plain(kind, number, place)


def _turned(labels: tuple[str, ...], number: int) -> tuple[str, ...]:
    start = number % len(labels) if labels else 0
    return labels[start:] + labels[:start]


def _arrays(element: Kind, number: int, place: int) -> Iterator[str]:
    inner = candidates(element, number, place)
    yield "{" + ",".join(map(_quoted, inner[:2])) + "}"
    yield from ("{" + _quoted(each) + "}" for each in inner)
    yield "{}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _ranges(kind: Kind, number: int, place: int) -> Iterator[str]:
    """Ranges that do not overlap: an exclusion constraint is what they are for."""
    low, high = (candidates(kind.parts[0], n, place)[0] for n in (number, number + 1))
    one = f"[{_quoted(low)},{_quoted(high)})"
    yield one if kind.shape == "r" else "{" + one + "}"
    yield "empty" if kind.shape == "r" else "{}"


def _plain(kind: Kind, number: int, place: int) -> Iterator[str]:
    words, numbers = _literals(kind.said)
    usual = FAMILIES.get(kind.name, _texts)
    first, *rest = usual(kind, number, place)
    yield first
    if usual in (_integers, _numerics):
        for value in numbers:
            yield from (str(value), str(value + 1), str(value - 1))
    else:
        yield from _turned(words, number)
    if usual is _texts:
        for size in (int(value) for value in numbers if 0 < value <= LONGEST):
            for letters in ("abcdefghij", "0123456789", "ABCDEFGHIJ"):
                yield ((_letters(number, letters) + letters) * size)[:size]
    yield from rest


def _literals(said: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The words and the whole numbers that stand in definitions."""
    found = [match for text in said for match in LITERALS.findall(text)]
    words = dict.fromkeys(word.replace("''", "'") for word, value in found if not value)
    numbers = dict.fromkeys(int(float(value)) for _, value in found if value)
    return tuple(words), tuple(numbers)


def _cut(kind: Kind, text: str) -> str:
    if kind.name in ("varchar", "bpchar") and kind.modifier > 0:
        return text[: kind.modifier - 4]
    return text


def _texts(_: Kind, number: int, place: int) -> Iterator[str]:
    """The number first: it is what is left of a value that is cut."""
    yield f"{number}-{place} {AWKWARD}" if number % 4 == 2 else f"{number}-{place} text"  # noqa: PLR2004 - one row in four is awkward
    short = _letters(number, "abcdefghij")
    yield f"{short}{place}@example.com"
    yield f"https://example.com/{number}/{place}"
    yield from (short, short.upper(), f"{short}-{place}", f"{short}{place}")
    yield from (
        str(number),
        f"+4420794600{number:02}",
        f"#{number:06x}",
        f"{number}.0.0",
    )
    yield from ((letters * 3)[:size] for letters in ("ab", "AB") for size in (2, 3, 5))
    yield str(uuid.UUID(int=number))
    yield from (NEWEST.date().isoformat(), "12:30", "{}", "true", "")


def _letters(number: int, letters: str) -> str:
    """A whole number in these letters; a short one."""
    text = ""
    while True:
        number, rest = divmod(number, len(letters))
        text = letters[rest] + text
        if not number:
            return text


def _integers(kind: Kind, number: int, place: int) -> Iterator[str]:
    yield str(number + place)
    yield from map(str, (number, 0, 1, 2, 5, 10, 50, 100, 1000, -1, -number))
    if kind.name != "int2":
        yield from ("100000", "2024", "1704067200")


def _numerics(kind: Kind, number: int, place: int) -> Iterator[str]:
    precision, scale = 10, 2
    if kind.name == "numeric" and kind.modifier > 0:
        precision = (kind.modifier - 4) >> 16 & 0xFFFF
        scale = (kind.modifier - 4) & 0x7FF
    whole = (number + place) % 10 ** max(precision - scale, 0)
    yield f"{whole}.{str(number % 10) * scale}" if scale else str(whole)
    yield from (f"0.{number % 10}", "0", "1", "0.5", "5", "10", "50", "100", "-1")


def _moments(format_: str, step: timedelta) -> Callable[[Kind, int, int], list[str]]:
    def moments(_: Kind, number: int, place: int) -> list[str]:
        usual = NEWEST + number * step + timedelta(hours=place)
        others = [
            datetime(year, 6, 15, tzinfo=UTC) for year in (1990, 2020, 2035, 2090)
        ]
        return [each.strftime(format_) for each in (usual, *others)]

    return moments


def _days(_: Kind, number: int, place: int) -> Iterator[str]:
    usual = NEWEST + timedelta(days=number * 40 + place)
    yield usual.date().isoformat()
    yield from (f"{year}-06-15" for year in (1990, 2020, 2035, 2090))


def _bits(kind: Kind, number: int, _: int) -> Iterator[str]:
    size = max(kind.modifier, 1)
    yield f"{number % 2**size:0{size}b}"
    yield from ("1" * size, "0" * size)


def _vectors(kind: Kind, number: int, place: int) -> Iterator[str]:
    """An embedding, as pgvector reads it."""
    size = max(kind.modifier, 3)
    yield f"[{','.join(str((number + place + at) % 7) for at in range(size))}]"


def _of(*forms: str) -> Callable[[Kind, int, int], list[str]]:
    """Values by a form with the number (n, a small one m) and the place (p)."""

    def values(_: Kind, number: int, place: int) -> list[str]:
        facts = {"n": number, "p": place, "m": number % 200, "q": place % 200}
        return [form.format(**facts) for form in forms]

    return values


FAMILIES: dict[str, Callable[[Kind, int, int], Iterator[str] | list[str]]] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid", "xid8"), _integers),
    **dict.fromkeys(("numeric", "float4", "float8", "money"), _numerics),
    **dict.fromkeys(("bit", "varbit"), _bits),
    **dict.fromkeys(("vector", "halfvec"), _vectors),
    "timestamptz": _moments("%Y-%m-%d %H:%M:%S.%f+00", timedelta(days=40)),
    "timestamp": _moments("%Y-%m-%d %H:%M:%S.%f", timedelta(days=40)),
    "time": _moments("%H:%M:%S.%f", timedelta(minutes=7)),
    "timetz": _moments("%H:%M:%S.%f+02", timedelta(minutes=7)),
    "date": _days,
    "interval": _of("{n} days {p} hours", "1 hour", "0"),
    "uuid": lambda _, n, p: [str(uuid.UUID(int=(4 << 76) + (8 << 60) + (n << 16) + p))],
    "json": _of('{{"n": {n}, "place": [{p}, null]}}', "{{}}", "[]", '"{n}"'),
    "jsonb": _of('{{"n": {n}, "place": [{p}, null]}}', "{{}}", "[]", '"{n}"'),
    "bytea": _of("\\x{n:08x}00ff{p:04x}", "\\x"),
    "inet": _of("10.{q}.{m}.1", "::1"),
    "cidr": _of("10.{q}.{m}.0/24"),
    "macaddr": _of("08:00:2b:01:{q:02x}:{m:02x}"),
    "macaddr8": _of("08:00:2b:01:02:03:{q:02x}:{m:02x}"),
    "xml": _of("<a n='{n}'>{p}</a>"),
    "tsvector": _of("'word{n}':{p} 'text'"),
    "tsquery": _of("'word{n}' & 'text'"),
    "point": _of("({n},{p})"),
    "line": _of("{{1,{n},{p}}}"),
    "lseg": _of("[({n},0),({n},{p})]"),
    "box": _of("({n},{p}),(0,0)"),
    "path": _of("[({n},0),({n},{p})]"),
    "polygon": _of("((0,0),({n},0),({n},{p}))"),
    "circle": _of("<({n},{p}),1>"),
    "geometry": _of("SRID=4326;POINT({m} {q})", "POINT({m} {q})"),
    "geography": _of("POINT({q} {m})"),
    "hstore": _of('"n"=>"{n}", "p"=>"{p}"'),
    "ltree": _of("top.a{n}.b{p}"),
    "pg_lsn": _of("0/{n:X}"),
    "regclass": _of("pg_class"),
    "bool": lambda _, n, p: ["true", "false"] if (n + p) % 2 else ["false", "true"],
}
