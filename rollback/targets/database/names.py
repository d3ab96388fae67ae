"""Tables, as the names in a plan mean them and as the catalogue has them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from rollback.transactions import Connection

__all__ = ["Column", "Relation", "describe", "parts", "table_of"]

_PLAIN = ("oid", "schema", "name", "qualified", "kind", "owner")
_PART = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')
_DESCRIBE = """
SELECT given.name AS given, c.oid::int8 AS oid, n.nspname AS schema,
       c.relname AS name, c.relkind::text AS kind,
       pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS qualified,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       c.relkind = 'r' AND EXISTS (
         SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) AS inherited,
       ARRAY(SELECT p.relid::oid::int8 FROM pg_catalog.pg_partition_ancestors(c.oid) p
              WHERE p.relid <> c.oid) AS ancestors,
       (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                 'name', a.attname, 'place', a.attnum,
                 'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                 'base', pg_catalog.format_type(a.atttypid, -1),
                 'generated', a.attgenerated <> '',
                 'identity', a.attidentity,
                 'default', CASE WHEN a.attgenerated = '' THEN
                    pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
                 'constant', NOT EXISTS (
                   SELECT FROM pg_catalog.regexp_matches(d.adbin::text,
                     ':(?:funcid|opfuncid) (\\d+)', 'g') f
                   JOIN pg_catalog.pg_proc p ON p.oid = f[1]::oid
                   WHERE p.provolatile <> 'i')
                   AND d.adbin::text !~ 'SQLVALUEFUNCTION|NEXTVALUEEXPR'
               ) ORDER BY a.attnum), '[]')
          FROM pg_catalog.pg_attribute a
          LEFT JOIN pg_catalog.pg_attrdef d
            ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       (SELECT coalesce(pg_catalog.jsonb_agg(keys.columns
                 ORDER BY keys.first DESC, keys.oid), '[]')
          FROM (SELECT i.indexrelid AS oid, i.indisprimary AS first,
                       pg_catalog.jsonb_agg(a.attname ORDER BY k.at) AS columns
                  FROM pg_catalog.pg_index i
                  CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[])
                    WITH ORDINALITY k (num, at)
                  JOIN pg_catalog.pg_attribute a
                    ON a.attrelid = c.oid AND a.attnum = k.num
                 WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate
                   AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
                   AND k.at <= i.indnkeyatts
                 GROUP BY i.indexrelid, i.indisprimary
                HAVING pg_catalog.bool_and(a.attnotnull AND a.attgenerated = '')
               ) keys) AS keys
  FROM pg_catalog.unnest(%(names)s::text[]) given (name)
  JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(given.name)
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; `base` is its type without a length, as a cast to a length cuts.

    `default` only where it is the same whenever it is asked for.
    """

    name: str
    place: int
    type: str
    base: str
    generated: bool
    identity: str
    default: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table, view or sequence. `kind` is pg_class's.

    `keys`: the columns that name one row, the primary key's first. `inherited`: other
    tables inherit from it, other than as partitions. `qualified` is quoted where it
    has to be.
    """

    oid: int
    schema: str
    name: str
    qualified: str
    kind: str
    owner: str
    inherited: bool
    ancestors: tuple[int, ...]
    columns: tuple[Column, ...]
    keys: tuple[tuple[str, ...], ...]

    @property
    def identifier(self) -> sql.Identifier:
        """For a query."""
        return sql.Identifier(self.schema, self.name)

    def key(self, without: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """The columns that name a row; all that there are, where none do."""
        for columns in self.keys:
            if not without.intersection(columns):
                return columns
        return tuple(
            column.name
            for column in self.columns
            if column.name not in without and not column.generated
        )

    def column(self, name: str) -> Column | None:
        """The column of this name."""
        return next((c for c in self.columns if c.name == name), None)


def parts(name: str) -> tuple[str, ...]:
    """The parts of a qualified name, without their quotes."""
    return tuple(
        (match[1].replace('""', '"') if match[2] is None else match[2])
        for match in _PART.finditer(name)
    )


def table_of(column: str) -> tuple[str, str]:
    """The table of a column's qualified name, quoted, and the column's own name."""
    *table, name = parts(column)
    return ".".join(f'"{part.replace(chr(34), chr(34) * 2)}"' for part in table), name


async def describe(connection: Connection, names: Sequence[str]) -> dict[str, Relation]:
    """What there is of these names, by the name that was given."""
    if not names:
        return {}
    cursor = await connection.execute(_DESCRIBE, {"names": sorted(set(names))})
    return {row["given"]: _relation(row) for row in await cursor.fetchall()}


def _relation(row: dict[str, object]) -> Relation:
    facts = {name: row[name] for name in _PLAIN}
    return Relation(
        **facts,  # type: ignore[arg-type] # as the query gives them
        inherited=bool(row["inherited"]),
        ancestors=tuple(row["ancestors"]),  # type: ignore[arg-type]
        columns=tuple(_column(column) for column in row["columns"]),  # type: ignore[attr-defined]
        keys=tuple(tuple(key) for key in row["keys"]),  # type: ignore[attr-defined]
    )


def _column(facts: dict[str, object]) -> Column:
    constant = facts.pop("constant")
    return Column(**facts | {"default": facts["default"] if constant else None})  # type: ignore[arg-type] # as the query gives them
