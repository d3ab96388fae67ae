"""What has to be known of tables to put rows into them and to compare their values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from .candidates import Kind

__all__ = ["Column", "Limit", "Table", "read_tables"]

NESTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; `given` where a row has to be given a value, else it makes its own."""

    name: str
    type: str
    kind: Kind
    place: int
    nullable: bool
    given: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A constraint, or a unique index: its kind is pg_constraint's, or `u`.

    `columns` and `others` belong together in a foreign key to the table `other`.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    definition: str
    other: str | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that holds rows of its own, by its qualified and quoted name."""

    name: str
    columns: tuple[Column, ...]
    limits: tuple[Limit, ...]

    @property
    def keys(self) -> tuple[Limit, ...]:
        """Its foreign keys."""
        return tuple(limit for limit in self.limits if limit.kind == "f")

    @property
    def primary(self) -> tuple[str, ...]:
        """The columns of its primary key."""
        found = (limit.columns for limit in self.limits if limit.kind == "p")
        return next(found, ())


TABLES = """
SELECT c.oid, format('%%I.%%I', n.nspname, c.relname) AS name,
       (SELECT string_agg(pg_get_expr(p.relpartbound, p.oid), ' ')
          FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid
         WHERE i.inhparent = c.oid) AS bounds
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p')
   AND NOT c.relispartition
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY name"""

COLUMNS = """
SELECT a.attrelid AS table, a.attname AS name, a.attnum AS place,
       a.atttypid AS type_oid,
       format_type(a.atttypid, a.atttypmod) AS type, a.atttypmod AS modifier,
       NOT (a.attnotnull OR t.typnotnull) AS nullable,
       a.attidentity = '' AND a.attgenerated = ''
         AND COALESCE(pg_get_expr(d.adbin, d.adrelid), '') !~ '^nextval' AS given
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = ANY (%(tables)s) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum"""

LIMITS = """
SELECT k.conrelid AS table, k.conname AS name, k.contype AS kind,
       pg_get_constraintdef(k.oid) AS definition,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u (num, at)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num
              ORDER BY u.at) AS columns,
       CASE WHEN k.confrelid <> 0 THEN (
         SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = k.confrelid
       ) END AS other,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u (num, at)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num
              ORDER BY u.at) AS others
  FROM pg_constraint k
 WHERE k.conrelid = ANY (%(tables)s) AND k.contype IN ('c', 'f', 'p', 'u', 'x')
UNION ALL
SELECT i.indrelid, c.relname, 'u', pg_get_indexdef(i.indexrelid),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)), NULL, '{}'
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = ANY (%(tables)s) AND i.indisunique
   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
UNION ALL
SELECT p.partrelid, 'the partitions', 'c', '',
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs)),
       NULL, '{}'
  FROM pg_partitioned_table p WHERE p.partrelid = ANY (%(tables)s)
 ORDER BY 1, 2"""

TYPES = """
SELECT t.oid, t.typname AS name, t.typtype AS shape, t.typbasetype AS base,
       t.typtypmod AS modifier, t.typelem AS element,
       t.typelem <> 0 AND t.typsubscript = 'array_subscript_handler'::regproc AS listed,
       COALESCE(r.rngsubtype, m.rngsubtype) AS subtype,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid
              ORDER BY e.enumsortorder) AS labels,
       ARRAY(SELECT a.atttypid FROM pg_attribute a WHERE t.typtype = 'c'
                AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
              ORDER BY a.attnum) AS fields,
       ARRAY(SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
              WHERE k.contypid = t.oid AND k.contype = 'c') AS said
  FROM pg_type t LEFT JOIN pg_range r ON r.rngtypid = t.oid
  LEFT JOIN pg_range m ON m.rngmultitypid = t.oid
 WHERE t.typtype <> 'p'"""


async def read_tables(
    connection: AsyncConnection[DictRow], schemas: tuple[str, ...]
) -> Mapping[str, Table]:
    """The tables of these schemas by name; no partitions, nothing of an extension."""
    found = await _rows(connection, TABLES, schemas=list(schemas))
    oids = [row["oid"] for row in found]
    types = {row["oid"]: row for row in await _rows(connection, TYPES)}
    columns = await _rows(connection, COLUMNS, tables=oids)
    limits = await _rows(connection, LIMITS, tables=oids)
    return {row["name"]: _table(row, columns, limits, types) for row in found}


async def _rows(
    connection: AsyncConnection[DictRow], query: str, **given: object
) -> list[DictRow]:
    # Every one of these texts is a constant of this module.
    return await (await connection.execute(query.encode(), given)).fetchall()


def _table(
    row: DictRow,
    columns: list[DictRow],
    limits: list[DictRow],
    types: Mapping[int, DictRow],
) -> Table:
    mine = [each for each in limits if each["table"] == row["oid"]]
    return Table(
        name=row["name"],
        limits=tuple(_limit(each, row["bounds"]) for each in mine),
        columns=tuple(
            _column(each, types, _said(each["name"], mine, row["bounds"]))
            for each in columns
            if each["table"] == row["oid"]
        ),
    )


def _limit(row: DictRow, bounds: str | None) -> Limit:
    return Limit(
        name=row["name"],
        kind=row["kind"],
        columns=tuple(row["columns"]),
        definition=row["definition"] or bounds or "",
        other=row["other"],
        others=tuple(row["others"]),
    )


def _said(column: str, limits: list[DictRow], bounds: str | None) -> tuple[str, ...]:
    checks = [each for each in limits if each["kind"] == "c"]
    return tuple(
        each["definition"] or bounds or ""
        for each in checks
        if column in each["columns"]
    )


def _column(
    row: DictRow, types: Mapping[int, DictRow], said: tuple[str, ...]
) -> Column:
    return Column(
        name=row["name"],
        type=row["type"],
        kind=_kind(row["type_oid"], types, row["modifier"], said),
        place=row["place"],
        nullable=row["nullable"],
        given=row["given"],
    )


def _kind(
    oid: int,
    types: Mapping[int, DictRow],
    modifier: int = -1,
    said: tuple[str, ...] = (),
    depth: int = 0,
) -> Kind:
    row = types.get(oid)
    if row is None or depth > NESTED:
        return Kind(name="unknown")
    if row["shape"] == "d":
        said = (*said, *row["said"])
        return _kind(row["base"], types, row["modifier"], said, depth + 1)
    shape, inner = _inner(row)
    # An array's modifier is that of its elements.
    passed = modifier if shape == "a" else -1
    return Kind(
        name=row["name"],
        shape=shape,
        modifier=modifier,
        labels=tuple(row["labels"]),
        parts=tuple(_kind(each, types, passed, said, depth + 1) for each in inner),
        said=said,
    )


def _inner(row: DictRow) -> tuple[str, list[Any]]:
    if row["listed"]:
        return "a", [row["element"]]
    if row["subtype"]:
        return row["shape"], [row["subtype"]]
    return row["shape"], row["fields"]
