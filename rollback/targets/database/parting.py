"""An archive beside what is there now: which of its values may go back.

All of it lies in one temporary table: each archived row with its number, its key, the
values to put back (`vals`), those that a script had written in their place (`written`),
and its `state`: `do`, `already`, `newer`, `gone` (its row is not there), `converted`.

A row is untouched that nobody has written since the migration was applied again: only
there a value is free. Two transactions are told apart by when they began, as a server
does not know when one ended; rows that a refill wrote were untouched before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg import DatabaseError, sql

from rollback.transactions import Connection

from .conversion import WRITTEN
from .names import Column, Relation
from .since import untouched
from .store import shown

__all__ = [
    "PART",
    "Archive",
    "Source",
    "array",
    "default_of",
    "lay_out",
    "source",
]

PART = sql.SQL("pg_temp.rollback_part")
INSERTED = ("DELETE", "TRUNCATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One line of rollback.archives, and one statement of it where it has rows."""

    number: int
    incident: str
    version: str
    object: str
    kind: str
    table_name: str
    key_columns: Sequence[str]
    columns: Sequence[str]
    types: Sequence[str]
    rows: int
    left_over: int | None
    refilled: bool

    @property
    def identifier(self) -> sql.Identifier:
        """Its data."""
        return sql.Identifier("rollback", f"archive_{self.number}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How the rows of an archive are read, and put where they belong.

    `inserts`: rows that are missing are made; else values of rows that are there are
    set. `whole`: `written` has whole rows, which have to be there as they are.
    """

    target: Relation
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    unique: bool
    query: sql.Composable
    inserts: bool
    whole: bool
    applied: int = 0
    retyped: tuple[int, ...] = ()


def source(
    archive: Archive,
    target: Relation,
    *,
    written: bool,
    applied: int,
    statement: int | None = None,
    operation: str | None = None,
    layout: Sequence[str] = (),
) -> Source:
    """How this archive, or one statement's rows in it, is read for this table."""
    if operation is not None:
        return replace(
            _rows(archive, target, statement, operation, layout), applied=applied
        )
    columns = _common(target, archive.columns)
    types = dict(zip(archive.columns, archive.types, strict=True))
    retyped = tuple(
        at for at, column in enumerate(columns, 1) if types[column.name] != column.type
    )
    inserts = archive.kind == "table"
    key = _key(target, archive.columns) if inserts else tuple(archive.key_columns)
    unique = key in target.keys
    return Source(
        target=target,
        columns=columns,
        key=key,
        unique=unique,
        query=sql.SQL(
            "SELECT {key} AS key, {vals} AS vals, {written} AS written FROM {archive}"
        ).format(
            key=array(key),
            vals=array([column.name for column in columns]),
            written=array([WRITTEN]) if written else sql.SQL("NULL::text[]"),
            archive=archive.identifier,
        ),
        inserts=inserts,
        whole=False,
        applied=applied,
        retyped=retyped,
    )


def _rows(
    archive: Archive,
    target: Relation,
    statement: int | None,
    operation: str,
    layout: Sequence[str],
) -> Source:
    columns = _common(target, layout)
    key = _key(target, layout)

    def image(name: str, wanted: Sequence[str]) -> sql.Composable:
        places = [f"{name}[{list(layout).index(each) + 1}]" for each in wanted]
        return sql.SQL(f"ARRAY[{', '.join(places)}]::text[]")

    inserts = operation in INSERTED
    names = [column.name for column in columns]
    return Source(
        target=target,
        columns=columns,
        key=key,
        unique=key in target.keys,
        query=sql.SQL(
            "SELECT {key} AS key, {vals} AS vals, {written} AS written FROM {archive}"
            " WHERE statement = {statement} AND operation = {operation}"
            " AND columns = {layout}"
        ).format(
            key=image("old" if inserts else "new", key),
            vals=image("old", names),
            written=sql.SQL("NULL::text[]") if inserts else image("new", names),
            archive=archive.identifier,
            statement=sql.Literal(statement),
            operation=sql.Literal(operation),
            layout=sql.Literal(list(layout)),
        ),
        inserts=inserts,
        whole=not inserts,
    )


def _common(target: Relation, names: Sequence[str]) -> tuple[Column, ...]:
    return tuple(c for c in target.columns if c.name in names and not c.generated)


def _key(target: Relation, names: Sequence[str]) -> tuple[str, ...]:
    """What names a row among these columns; all of them, where nothing does."""
    for key in target.keys:
        if set(key) <= set(names):
            return key
    return tuple(column.name for column in _common(target, names))


def array(names: Sequence[str]) -> sql.Composable:
    """The columns of a row as text."""
    return sql.SQL("ARRAY[{}]::text[]").format(
        sql.SQL(", ").join(shown(sql.Identifier(name)) for name in names)
    )


async def lay_out(connection: Connection, what: Source) -> None:
    """Make the temporary table, and say of each row what is to become of it."""
    await connection.execute(sql.SQL("DROP TABLE IF EXISTS {part}").format(part=PART))
    await connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE rollback_part AS"
            " SELECT row_number() OVER () AS number, a.*, t.now, {state} AS state,"
            " NULL::text AS reason"
            " FROM (SELECT a.*, row_number() OVER (PARTITION BY {same}) AS again"
            " FROM ({query}) a) a LEFT JOIN (SELECT {at} AS at, count(*) AS times,"
            " count(*) FILTER (WHERE {untouched}) AS free,"
            " min({vals}) AS now FROM {table} GROUP BY 1) t ON t.at = {mine}"
        ).format(
            state=_state(what),
            same=_same(what),
            query=what.query,
            at=_there(what),
            untouched=untouched(what.applied),
            vals=array([column.name for column in what.columns]),
            table=what.target.identifier,
            mine=_same(what),
        )
    )
    await connection.execute(sql.SQL("CREATE INDEX ON {} (number)").format(PART))
    if what.retyped:
        await _mark_converted(connection, what)


def _same(what: Source) -> sql.Composable:
    """What an archived row has in common with the row that it belongs to."""
    if what.unique:
        return sql.SQL("a.key")
    if what.whole:
        return sql.SQL("a.written")
    return sql.SQL("a.vals") if what.inserts else sql.SQL("a.key || a.vals")


def _there(what: Source) -> sql.Composable:
    """The same, of a row that is there."""
    names = [column.name for column in what.columns]
    if what.unique:
        return array(what.key)
    return array(names if what.whole or what.inserts else [*what.key, *names])


def _state(what: Source) -> sql.Composable:
    if what.inserts and what.unique:
        return sql.SQL(
            "CASE WHEN t.at IS NULL THEN 'do' WHEN t.now = a.vals THEN 'already'"
            " ELSE 'newer' END"
        )
    if what.whole:
        return sql.SQL(
            "CASE WHEN a.vals = a.written THEN 'already'"
            " WHEN t.now = a.written AND a.again <= t.free THEN 'do'"
            " WHEN t.now = a.vals OR {back} THEN 'already'"
            " WHEN a.again > coalesce(t.times, 0) THEN 'gone' ELSE 'newer' END"
        ).format(back=sql.SQL("false") if what.unique else _back(what))
    if not what.unique:
        return sql.SQL(
            "CASE WHEN a.again <= coalesce(t.times, 0) THEN 'already' ELSE 'do' END"
        )
    (column,) = what.columns
    return sql.SQL(
        "CASE WHEN t.at IS NULL THEN 'gone' WHEN t.now = a.vals THEN 'already'"
        " WHEN t.free > 0 AND (t.now[1] IS NULL OR t.now[1] = {default}"
        " OR t.now[1] = {written}) THEN 'do' ELSE 'newer' END"
    ).format(
        default=default_of(column),
        written=shown(sql.SQL("(a.written[1]::{})").format(sql.SQL(column.base))),
    )


def _back(what: Source) -> sql.Composable:
    """Whether a row without a key is there as it was: an earlier round put it back."""
    return sql.SQL("a.vals IN (SELECT {} FROM {})").format(
        array([column.name for column in what.columns]), what.target.identifier
    )


def default_of(column: Column) -> sql.Composable:
    """The text of the column's default, where it is the same for every row."""
    if column.default is None:
        return sql.SQL("NULL")
    return shown(
        sql.SQL("(({})::{})").format(sql.SQL(column.default), sql.SQL(column.base))
    )


async def _mark_converted(connection: Connection, what: Source) -> None:
    """A value that its column's new type would change silently stays in the archive."""
    other = sql.SQL(" OR ").join(
        sql.SQL("{value} IS DISTINCT FROM vals[{at}]").format(
            at=sql.Literal(at),
            value=shown(
                sql.SQL("(vals[{}]::{})").format(
                    sql.Literal(at), sql.SQL(what.columns[at - 1].type)
                )
            ),
        )
        for at in what.retyped
    )
    try:
        async with connection.transaction():
            await connection.execute(
                sql.SQL(
                    "UPDATE {} SET state = 'converted' WHERE state = 'do' AND ({})"
                ).format(PART, other)
            )
    except DatabaseError:
        return  # what cannot be cast at all is found, row by row, when it is put back
