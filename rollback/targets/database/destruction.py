"""What a rollback destroyed, measured in its transaction and held against the plan.

Tables and columns are followed by their numbers in the catalogue and not by their
names: one that was dropped and made again is another one, one that was renamed is not.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from rollback.errors import SchemaRefused
from rollback.schema import Archived
from rollback.transactions import Connection

from .archive import Kept
from .writes import Watched

__all__ = ["Snapshot", "differences", "measure"]

_COUNTED = "SELECT pg_catalog.current_setting('track_counts')::bool AS counted"
_TABLES = """
SELECT c.oid::int8 AS oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       c.relkind::text AS kind, pg_catalog.pg_relation_filenode(c.oid)::int8 AS file,
       CASE c.relkind WHEN 'r' THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END
         AS bytes,
       ARRAY(SELECT p.relid::oid::int8
               FROM pg_catalog.pg_partition_ancestors(c.oid)
                 WITH ORDINALITY p (relid, at)
              WHERE p.relid <> c.oid ORDER BY p.at) AS ancestors,
       CASE c.relkind WHEN 'm' THEN 0 ELSE coalesce(s.n_tup_upd + s.n_tup_del, 0) END
         AS written,
       coalesce(s.n_tup_ins, 0) AS inserted,
       (SELECT pg_catalog.jsonb_object_agg(a.attnum::text, pg_catalog.jsonb_build_array(
                 a.attname, a.atttypid::int8, a.atttypmod, a.attgenerated <> '',
                 ARRAY(SELECT f.attnum || ' ' || f.atttypid
                         FROM pg_catalog.pg_type t
                         JOIN pg_catalog.pg_type e ON e.oid = CASE t.typtype WHEN 'c'
                           THEN t.oid ELSE nullif(t.typelem, 0) END
                         JOIN pg_catalog.pg_attribute f ON f.attrelid = e.typrelid
                        WHERE t.oid = a.atttypid AND e.typtype = 'c' AND f.attnum > 0
                          AND NOT f.attisdropped)))
          FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_stat_xact_user_tables s ON s.relid = c.oid
 WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('rollback', 'information_schema') AND n.nspname !~ '^pg_'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """`fields` are those of a composite type, which keeps its number without one."""

    name: str
    type: tuple[int, int]
    generated: bool
    fields: frozenset[str]

    def same(self, now: "_Column | None") -> bool:
        """Whether its values are what they were."""
        return now is not None and (now.type, now.fields) == (self.type, self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table at one moment. `written`, `inserted`: rows, in this transaction so far.

    `ancestors`: the partitioned tables that it is a part of, the nearest first.
    """

    oid: int
    name: str
    kind: str
    file: int | None
    bytes: int
    ancestors: Sequence[int]
    written: int
    inserted: int
    columns: Mapping[int, _Column]

    @property
    def what(self) -> str:
        """What it is called."""
        return "materialized view" if self.kind == "m" else "table"

    @property
    def line(self) -> tuple[int, ...]:
        """Itself, and what it is a part of."""
        return (self.oid, *self.ancestors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The tables of the database, whatever their schema, by their numbers."""

    tables: Mapping[int, _Table]


@dataclass(slots=True, kw_only=True)
class _Gone:
    """What is gone between two snapshots: tables, and columns by their places.

    `retyped`: of those that are still there, with another type. `emptied`: tables whose
    file is another one, and whose rows may not be in it. `written`: rows updated and
    deleted, of a partitioned table together.
    """

    tables: set[int] = field(default_factory=set)
    columns: set[tuple[int, int]] = field(default_factory=set)
    retyped: set[tuple[int, int]] = field(default_factory=set)
    emptied: set[int] = field(default_factory=set)
    written: Counter[int] = field(default_factory=Counter)


async def measure(connection: Connection) -> Snapshot:
    """Read what is compared; quick, and it locks nothing.

    Raises:
        SchemaRefused: the server does not count rows.

    """
    counted = await (await connection.execute(_COUNTED)).fetchone()
    if not counted or not counted["counted"]:
        raise SchemaRefused(
            "The server does not count the rows that are changed (track_counts is "
            "off): what the scripts destroy could not be measured.",
            mend="Set track_counts = on, which is PostgreSQL's default.",
        )
    rows = await (await connection.execute(sql.SQL(_TABLES))).fetchall()
    return Snapshot(tables={row["oid"]: _table(row) for row in rows})


def _table(row: Mapping[str, object]) -> _Table:
    columns: Mapping[str, Sequence[object]] = row["columns"] or {}  # type: ignore[assignment]
    facts = {name: row[name] for name in _Table.__slots__ if name != "columns"}
    return _Table(
        **facts,  # type: ignore[arg-type] # as the query gives them
        columns={
            int(place): _Column(
                name=str(name),
                type=(oid, modifier),  # type: ignore[arg-type] # as the query gives them
                generated=bool(generated),
                fields=frozenset(fields),  # type: ignore[call-overload]
            )
            for place, (name, oid, modifier, generated, fields) in columns.items()
        },
    )


def differences(
    before: Snapshot,
    after: Snapshot,
    kept: Collection[Kept],
    watched: Collection[Watched],
    rows: Collection[Archived],
) -> tuple[str, ...]:
    """What was destroyed and not planned or not kept, or planned and not destroyed."""
    found = _gone(before, after)
    return (
        *_not_planned(before, found, kept, watched),
        *_not_done(before, found, kept),
        *_miscounted(before, found, watched, rows),
    )


def _gone(before: Snapshot, after: Snapshot) -> _Gone:
    """What the first has and the second has not."""
    found = _Gone()
    for oid, old in before.tables.items():
        new = after.tables.get(oid)
        if new is None:
            found.tables.add(oid)
            continue
        _columns(found, old, new)
        if _maybe_emptied(old, new):
            found.emptied.add(oid)
        if (rows := new.written - old.written) > 0:
            found.written[old.line[-1]] += rows
    return found


def _columns(found: _Gone, old: _Table, new: _Table) -> None:
    """A column that is converted is gone too: its values are other ones now."""
    for place, column in old.columns.items():
        now = new.columns.get(place)
        if column.generated or column.same(now):
            continue
        if now is None or new.file != old.file or column.fields - now.fields:
            found.columns.add((old.oid, place))
        else:
            found.retyped.add((old.oid, place))


def _maybe_emptied(old: _Table, new: _Table) -> bool:
    """A file written anew holds the same rows, unless it is empty or got others."""
    other = new.file != old.file and old.bytes > 0
    return other and (new.bytes == 0 or new.inserted > old.inserted)


def _not_planned(
    before: Snapshot,
    found: _Gone,
    kept: Collection[Kept],
    watched: Iterable[Watched],
) -> Iterable[str]:
    """A partition is planned, and kept, with what it is a part of."""
    tables = {one.relation.oid for one in kept if one.place is None}
    for oid in found.tables:
        table = before.tables[oid]
        if tables.isdisjoint(table.line):
            yield f"the {table.what} {table.name} was dropped, which was not planned"
    columns = {
        (one.relation.oid, column.name)
        for one in kept
        for column in one.relation.columns
        if column.place == one.place
    }
    for oid, place in found.columns:
        table, name = before.tables[oid], before.tables[oid].columns[place].name
        if columns.isdisjoint((each, name) for each in table.line):
            yield (
                f"the column {table.name}.{name} was dropped or converted, "
                "which was not planned"
            )
    for oid in found.emptied - {one.relation.oid for one in watched}:
        name = before.tables[oid].name
        yield f"the table {name} was emptied, which was not planned"


def _not_done(before: Snapshot, found: _Gone, kept: Collection[Kept]) -> Iterable[str]:
    for one in kept:
        oid, place = one.relation.oid, one.place
        table = before.tables.get(oid)
        if table is None or oid in found.tables:
            continue
        column = table.columns.get(place) if place is not None else None
        if place is None:
            yield f"the {table.what} {one.object} was to be dropped, and is still there"
        elif column and not column.generated and not _touched(found, oid, place):
            yield f"the column {one.object} was to be dropped, and is still there"


def _touched(found: _Gone, oid: int, place: int) -> bool:
    return (oid, place) in found.columns or (oid, place) in found.retyped


def _miscounted(
    before: Snapshot,
    found: _Gone,
    watched: Iterable[Watched],
    rows: Collection[Archived],
) -> Iterable[str]:
    """Rows that were changed, as the server counted them and as they were kept.

    Its count begins anew with a TRUNCATE.
    """
    roots = {table.name: table.line[-1] for table in before.tables.values()}
    kept: Counter[int] = Counter()
    for one in rows:
        kept[roots.get(one.object, 0)] += one.rows
    truncated = {roots.get(one.object) for one in rows if one.kind == "truncated"}
    planned = {roots.get(one.relation.qualified) for one in watched}
    for root, count in found.written.items():
        name = before.tables[root].name
        if root not in planned:
            yield f"{count} rows of {name} were changed, which was not planned"
        elif count != kept[root] and root not in truncated:
            yield f"{count} rows of {name} were changed, and {kept[root]} were kept"
