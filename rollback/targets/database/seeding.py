"""Rows for tables that nobody has written fixtures for.

Made from the catalogue alone, and the same for the same seed. A constraint that refuses
a row says which columns it is about: other values are tried in these, first of all the
literals in its definition. What has no rows in the end is named: nothing is proved of
it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from psycopg import AsyncConnection, Error, sql
from psycopg.rows import DictRow

from .candidates import candidates
from .layout import Column, Limit, Table, read_tables
from .sowing import Cells, change, insertion, referable

__all__ = ["Seeded", "seed_tables"]

ROWS = 7
ATTEMPTS = 150
PATIENCE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """How many rows were made, by table; and what has none, or no values, with why."""

    rows: Mapping[str, int]
    without: Mapping[str, str]


async def seed_tables(
    connection: AsyncConnection[DictRow],
    schemas: tuple[str, ...],
    *,
    before: Mapping[str, Table],
    apart: Callable[[str], bool] = lambda _: False,
    seed: int = 0,
) -> Seeded:
    """Put rows into the tables that are new, and values into the columns that are.

    `before`: the tables as they were when this was done last. Those `apart` are left
    alone.
    """
    tables = await read_tables(connection, schemas)
    mine = {name: table for name, table in tables.items() if not apart(name)}
    sower = _Sower(connection=connection, chance=Random(seed))  # noqa: S311 - to be the same again
    await sower.plant([t for name, t in mine.items() if name not in before])
    for name, table in mine.items():
        if name in before:
            known = {column.name for column in before[name].columns}
            await sower.fill(table, [c for c in table.columns if c.name not in known])
    return Seeded(rows=sower.rows, without=sower.without)


@dataclass(slots=True)
class _Row:
    """The attempts at one row: which value of which column was tried last."""

    number: int
    chosen: dict[str, int] = field(default_factory=dict)
    bumped: dict[str, int] = field(default_factory=dict)
    nulls: bool = False


@dataclass(slots=True, kw_only=True)
class _Sower:
    connection: AsyncConnection[DictRow]
    chance: Random
    rows: dict[str, int] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)
    learned: dict[tuple[str, str], int] = field(default_factory=dict)

    async def plant(self, tables: Iterable[Table]) -> None:
        """Rows for every one of these tables, the referenced ones first."""
        for table in _ordered(tables):
            made = 0
            for number in range(1, ROWS + 1):
                problem = await self._insert(table, number)
                if problem is None:
                    made += 1
                elif not made:
                    self.without[table.name] = problem
                    break
            if made:
                self.rows[table.name] = made
        for table in tables:
            if table.name in self.rows:
                await self._close_circles(table)

    async def fill(self, table: Table, columns: list[Column]) -> None:
        """Values for these columns in the rows that are there."""
        given = [column for column in columns if column.given]
        if not given:
            return
        name = sql.SQL(table.name)
        found = await self._all(sql.SQL("SELECT ctid::text AS at FROM {}").format(name))
        last = None
        for number, row in enumerate(found, start=1):
            last = await self._update(table, given, number, row["at"])
        if last is not None:
            for column in given:
                self.without[f"{table.name}.{column.name}"] = last

    async def _close_circles(self, table: Table) -> None:
        """Foreign keys to tables that had no rows yet when these were made."""
        for key in table.keys:
            test = sql.SQL(" OR ").join(
                sql.SQL("{} IS NOT NULL").format(sql.Identifier(c)) for c in key.columns
            )
            query = sql.SQL("SELECT FROM {} WHERE {} LIMIT 1").format(
                sql.SQL(table.name),
                test,
            )
            if not await self._all(query):
                some = [c for c in table.columns if c.name in key.columns]
                await self.fill(table, some)

    async def _insert(self, table: Table, number: int) -> str | None:
        given = [column for column in table.columns if column.given]
        row = _Row(number, nulls=number == ROWS)

        async def attempt() -> None:
            cells = await self._cells(table, given, row)
            await self.connection.execute(*insertion(table, given, cells))

        return await self._tried(table, given, row, attempt)

    async def _update(
        self, table: Table, given: list[Column], number: int, at: str
    ) -> str | None:
        row = _Row(number)

        async def attempt() -> None:
            cells = await self._cells(table, given, row)
            query, values = change(table, given, cells)
            await self.connection.execute(query, {**values, "at": at})

        return await self._tried(table, given, row, attempt)

    async def _tried(
        self, table: Table, given: list[Column], row: _Row, attempt: Any
    ) -> str | None:
        """Attempt it until it passes; give the last error when none does."""
        problem = "no values were found that pass"
        for _ in range(ATTEMPTS):
            try:
                async with self.connection.transaction():
                    await attempt()
            except _NothingToReferTo as error:
                return str(error)
            except Error as error:
                problem = str(error).splitlines()[0]
                self._change_mind(table, given, row, error)
            else:
                self._remember(table, row)
                return None
        return problem

    def _remember(self, table: Table, row: _Row) -> None:
        for name, index in row.chosen.items():
            self.learned[table.name, name] = index

    def _change_mind(
        self, table: Table, given: list[Column], row: _Row, error: Error
    ) -> None:
        """Choose anew what the error is about, or all when it does not say so."""
        limit = _limit(table, error)
        named = limit.columns if limit else (error.diag.column_name,)
        blamed = [column for column in given if column.name in named] or given
        row.nulls = False
        for column in blamed:
            row.bumped[column.name] = row.bumped.get(column.name, 0) + 1
            # Only a few values can be had where larger numbers do not make it unique.
            again = row.bumped[column.name] > PATIENCE
            if limit is None or limit.kind in "cx" or again:
                count = len(candidates(column.kind, row.number, column.place))
                row.chosen[column.name] = self.chance.randrange(count)

    async def _cells(self, table: Table, given: list[Column], row: _Row) -> Cells:
        names = {column.name for column in given}
        cells: Cells = {}
        for key in table.keys:
            if names.issuperset(key.columns):
                cells |= await self._referred(table, key, row, cells)
        for column in given:
            if column.name not in cells:
                cells[column.name] = self._value(table, column, row)
        return _to_itself(table, cells)

    def _value(self, table: Table, column: Column, row: _Row) -> str | None:
        if row.nulls and column.nullable:
            return None
        number = row.number + ROWS * row.bumped.get(column.name, 0)
        values = candidates(column.kind, number, column.place)
        usual = self.learned.get((table.name, column.name), 0)
        return values[row.chosen.get(column.name, usual) % len(values)]

    async def _referred(
        self, table: Table, key: Limit, row: _Row, cells: Cells
    ) -> Cells:
        """The values of a row that the foreign key may point at."""
        rows = await self._all(referable(key))
        both = list(zip(key.columns, key.others, strict=True))
        fitting = [
            one
            for one in rows
            if all(cells.get(mine, one[theirs]) == one[theirs] for mine, theirs in both)
        ]
        if fitting or rows:
            some = fitting or rows
            at = row.number - 1 + row.bumped.get(key.columns[0], 0)
            one = some[at % len(some)]
            return {mine: one[theirs] for mine, theirs in both}
        if all(_column(table, name).nullable for name in key.columns):
            return dict.fromkeys(key.columns)
        if key.other == table.name:
            return {}
        raise _NothingToReferTo(f"{key.name} refers to {key.other}, which has no rows")

    async def _all(self, query: sql.Composed) -> list[DictRow]:
        return await (await self.connection.execute(query)).fetchall()


class _NothingToReferTo(Exception):
    """A foreign key that may not be null, and no row to point at."""


def _ordered(tables: Iterable[Table]) -> list[Table]:
    """The referenced before the referring; of a circle, one that may wait with null."""
    left = {table.name: table for table in tables}
    order: list[Table] = []
    while left:
        ready = [t for t in left.values() if not _waits(t, left, must=False)]
        ready = ready or [t for t in left.values() if not _waits(t, left, must=True)]
        chosen = ready[0] if ready else next(iter(left.values()))
        order.append(left.pop(chosen.name))
    return order


def _waits(table: Table, left: Mapping[str, Table], *, must: bool) -> bool:
    return any(
        key.other in left
        and key.other != table.name
        and not (must and all(_column(table, name).nullable for name in key.columns))
        for key in table.keys
    )


def _column(table: Table, name: str) -> Column:
    return next(column for column in table.columns if column.name == name)


def _to_itself(table: Table, cells: Cells) -> Cells:
    """The first row of a table that has to refer to itself refers to itself."""
    own = [key for key in table.keys if key.other == table.name]
    pairs = [pair for key in own for pair in zip(key.columns, key.others, strict=True)]
    must = {
        mine: cells[theirs]
        for mine, theirs in pairs
        if theirs in cells
        and cells.get(mine) is None
        and not _column(table, mine).nullable
    }
    return cells | must


def _limit(table: Table, error: Error) -> Limit | None:
    found = (one for one in table.limits if one.name == error.diag.constraint_name)
    return next(found, None)
