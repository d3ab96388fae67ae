"""What tables hold, and what of it is not there any more."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from .layout import Table

__all__ = ["Held", "lost", "read_values"]

Row = Mapping[str, str | None]
SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The rows of one table, each value as text; `key` is its primary key."""

    key: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def size(self) -> int:
        """How many values it holds."""
        return len(self.columns) * len(self.rows)


async def read_values(
    connection: AsyncConnection[DictRow], tables: Mapping[str, Table]
) -> dict[str, Held]:
    """All rows of these tables."""
    return {name: await _held(connection, table) for name, table in tables.items()}


async def _held(connection: AsyncConnection[DictRow], table: Table) -> Held:
    names = tuple(column.name for column in table.columns)
    texts = sql.SQL(", ").join(
        sql.SQL("{name}::text AS {name}").format(name=sql.Identifier(name))
        for name in names
    )
    query = sql.SQL("SELECT {} FROM {}").format(texts, sql.SQL(table.name))
    rows = await (await connection.execute(query)).fetchall()
    return Held(key=table.primary, columns=names, rows=tuple(rows))


def lost(before: Mapping[str, Held], after: Mapping[str, Held]) -> tuple[str, ...]:
    """A line for each table or column whose values are not what they were.

    What is only there after, a table or a column, is no matter of values.
    """
    lines: list[str] = []
    for name, held in before.items():
        now = after.get(name)
        if now is None:
            if held.rows:
                lines.append(f"{name} is gone, with {_rows(len(held.rows))}")
            continue
        lines.extend(f"{name}{line}" for line in _compared(held, now))
    return tuple(lines)


def _compared(before: Held, after: Held) -> Iterator[str]:
    columns = [name for name in before.columns if name in after.columns]
    gone = [name for name in before.columns if name not in after.columns]
    for name in gone:
        some = sum(row[name] is not None for row in before.rows)
        if some:
            yield f".{name} is gone, with {some} values"
    keyed = before.key and set(before.key) <= set(columns)
    compare = _by_key if keyed else _as_a_bag
    yield from compare(before, after, columns)


def _by_key(before: Held, after: Held, columns: list[str]) -> Iterator[str]:
    were = {tuple(row[name] for name in before.key): row for row in before.rows}
    are = {tuple(row[name] for name in before.key): row for row in after.rows}
    if gone := were.keys() - are.keys():
        yield f": {_rows(len(gone))} gone"
    if new := are.keys() - were.keys():
        yield f": {_rows(len(new))} that had not been there"
    both = [key for key in were if key in are]
    for name in columns:
        other = [key for key in both if were[key][name] != are[key][name]]
        if other:
            first = other[0]
            example = f"{_shown(were[first][name])} became {_shown(are[first][name])}"
            yield f".{name}: {len(other)} of {len(both)} values are others ({example})"


def _as_a_bag(before: Held, after: Held, columns: list[str]) -> Iterator[str]:
    were, are = (
        Counter(tuple(row[name] for name in columns) for row in held.rows)
        for held in (before, after)
    )
    if gone := (were - are).total():
        yield f": {_rows(gone)} gone or changed"
    elif new := (are - were).total():
        yield f": {_rows(new)} that had not been there"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _shown(value: str | None) -> str:
    if value is None:
        return "NULL"
    return repr(value if len(value) <= SHOWN else f"{value[:SHOWN]}…")
