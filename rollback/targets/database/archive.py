"""What a script is about to destroy is kept, in the transaction that destroys it.

Every value is kept as text: so no archive depends on a type that goes, or keeps it.
A column is kept as its table's key with each value that is not null; a table whole.
Values that are computed (generated columns) come back by themselves and are not kept.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from rollback.errors import SchemaRefused
from rollback.schema import Archived, Destroyed, Script
from rollback.transactions import Connection

from .names import Column, Relation, describe, table_of
from .store import EXACT, shown

__all__ = ["HOLDERS", "TABLES", "Kept", "archive", "record"]

TABLES = ("table", "sequence", "materialized view")
COLUMN = "column"
HOLDERS = (*TABLES, COLUMN)
_RECORD = """
INSERT INTO rollback.archives
  (incident, version, object, kind, table_name, key_columns, columns, types, rows)
VALUES (%(incident)s, %(version)s, %(object)s, %(kind)s, %(table)s, %(key)s,
        %(columns)s, %(types)s, %(rows)s)
RETURNING number
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One planned object that holds values, as it was before its script.

    `place`: the column's place, None for the table whole. `archived`: None where
    there was no value. `covered`: it is kept with what it is a part of.
    """

    object: str
    relation: Relation
    place: int | None
    key: tuple[str, ...] = ()
    archived: Archived | None = None
    covered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Columns of a table that are kept for one planned object."""

    planned: Destroyed
    relation: Relation
    place: int | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    covered: bool = False


@dataclass(slots=True)
class _Plan:
    """The value-bearing part of what one script destroys."""

    tables: list[Destroyed] = field(default_factory=list)
    columns: list[tuple[Destroyed, str, str]] = field(default_factory=list)


async def archive(
    connection: Connection,
    script: Script,
    destroys: Iterable[Destroyed],
    *,
    incident: str,
) -> tuple[Kept, ...]:
    """Keep the tables and columns that this script destroys; nothing is locked here."""
    targets = await _targets(connection, script.version, destroys)
    if not targets:
        return ()
    await connection.execute(EXACT.encode())
    filled = await _filled(connection, targets)
    return tuple(
        [
            await _keep(connection, target, incident, filled=number in filled)
            for number, target in enumerate(targets)
        ]
    )


async def _targets(
    connection: Connection, version: str, destroys: Iterable[Destroyed]
) -> tuple[_Target, ...]:
    plan = _Plan()
    for one in destroys:
        if one.version == version and one.kind in TABLES:
            plan.tables.append(one)
        elif one.version == version and one.kind == COLUMN:
            plan.columns.append((one, *table_of(one.object)))
    names = [one.object for one in plan.tables] + [c[1] for c in plan.columns]
    found = await describe(connection, names)
    return (*_whole(plan, found), *_single(plan, found))


def _whole(plan: _Plan, found: dict[str, Relation]) -> Iterable[_Target]:
    """Tables; a partition is kept with the table that it is a part of."""
    there = [(one, found[one.object]) for one in plan.tables if one.object in found]
    gone = {relation.oid for _, relation in there}
    for one, relation in there:
        _refuse_inheritance(relation)
        yield _Target(
            planned=one,
            relation=relation,
            place=None,
            columns=tuple(c for c in relation.columns if not c.generated),
            key=relation.keys[0] if relation.keys else (),
            covered=not gone.isdisjoint(relation.ancestors),
        )


def _single(plan: _Plan, found: dict[str, Relation]) -> Iterable[_Target]:
    """Columns; those of a partition are kept with the table that it is a part of."""
    there = [
        (one, relation, column)
        for one, table, name in plan.columns
        if (relation := found.get(table)) and (column := relation.column(name))
    ]
    gone = {(relation.oid, column.name) for _, relation, column in there}
    for one, relation, column in there:
        _refuse_inheritance(relation)
        going = frozenset(name for oid, name in gone if oid == relation.oid)
        yield _Target(
            planned=one,
            relation=relation,
            place=column.place,
            columns=() if column.generated else (column,),
            key=relation.key(without=going),
            covered=any((oid, column.name) in gone for oid in relation.ancestors),
        )


def _refuse_inheritance(relation: Relation) -> None:
    if relation.inherited:
        raise SchemaRefused(
            f"Other tables inherit from {relation.qualified}: which of them a value "
            "belongs to could not be kept.",
            mend="Drop the inheritance in a migration of its own, by hand.",
        )


async def _filled(connection: Connection, targets: Sequence[_Target]) -> frozenset[int]:
    """Which of them hold a value at all: one look instead of empty archives."""
    empty = await _unfilled(connection, targets)
    looks = [
        sql.SQL(
            "SELECT {number} AS number WHERE EXISTS (SELECT FROM {table}{where})"
        ).format(
            number=sql.Literal(number),
            table=target.relation.identifier,
            where=_where(target),
        )
        for number, target in enumerate(targets)
        if target.relation.kind in "rpSm"
        and target.relation.oid not in empty
        and not target.covered
        and (target.columns or target.place is None)
    ]
    if not looks:
        return frozenset()
    cursor = await connection.execute(sql.SQL(" UNION ALL ").join(looks))
    return frozenset([row["number"] for row in await cursor.fetchall()])


async def _unfilled(
    connection: Connection, targets: Sequence[_Target]
) -> frozenset[int]:
    """Materialized views that were never filled cannot be read at all."""
    views = [one.relation.oid for one in targets if one.relation.kind == "m"]
    if not views:
        return frozenset()
    cursor = await connection.execute(
        "SELECT oid::int8 AS oid FROM pg_catalog.pg_class"
        " WHERE oid = ANY (%s::oid[]) AND NOT relispopulated",
        [views],
    )
    return frozenset([row["oid"] for row in await cursor.fetchall()])


def _where(target: _Target) -> sql.Composable:
    if target.place is None:
        return sql.SQL("")
    (column,) = target.columns
    # IS NOT NULL is false of a composite value that has a field which is null.
    return sql.SQL(" WHERE {} IS DISTINCT FROM NULL").format(
        sql.Identifier(column.name)
    )


async def _keep(
    connection: Connection, target: _Target, incident: str, *, filled: bool
) -> Kept:
    archived = await _copy(connection, target, incident) if filled else None
    return Kept(
        object=target.planned.object,
        relation=target.relation,
        place=target.place,
        key=target.key,
        archived=archived,
        covered=target.covered,
    )


async def _copy(connection: Connection, target: _Target, incident: str) -> Archived:
    number = await record(
        connection,
        incident=incident,
        version=target.planned.version,
        object=target.planned.object,
        kind=target.planned.kind,
        table=target.relation.qualified,
        key=list(target.key),
        columns=[column.name for column in target.columns],
        types=[column.type for column in target.columns],
    )
    names = [column.name for column in target.columns]
    if target.place is not None:
        names = [*target.key, *names]
    made = await connection.execute(
        sql.SQL(
            "CREATE TABLE {archive} AS SELECT {columns} FROM {table}{where}"
        ).format(
            archive=_name(number),
            columns=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(
                    shown(sql.Identifier(name)), sql.Identifier(name)
                )
                for name in names
            ),
            table=target.relation.identifier,
            where=_where(target),
        )
    )
    await connection.execute(
        "UPDATE rollback.archives SET rows = %s WHERE number = %s",
        [made.rowcount, number],
    )
    return Archived(
        object=target.planned.object,
        kind=target.planned.kind,
        version=target.planned.version,
        rows=made.rowcount,
        table=f"archive_{number}",
    )


async def record(
    connection: Connection,
    *,
    incident: str,
    version: str,
    object: str,  # noqa: A002 - the field's word
    kind: str,
    table: str,
    key: list[str],
    columns: list[str],
    types: list[str],
    rows: int = 0,
) -> int:
    """Enter one archive into the list of them; its number."""
    facts = {
        "incident": incident,
        "version": version,
        "object": object,
        "kind": kind,
        "table": table,
        "key": key,
        "columns": columns,
        "types": types,
        "rows": rows,
    }
    row = await (await connection.execute(_RECORD, facts)).fetchone()
    return int(row["number"]) if row else 0


def _name(number: int) -> sql.Identifier:
    return sql.Identifier("rollback", f"archive_{number}")
