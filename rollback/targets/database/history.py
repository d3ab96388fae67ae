"""The table that says which migrations were applied: read as it is, never assumed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql

from rollback.errors import NotAsPlanned, SchemaRefused
from rollback.transactions import Connection

__all__ = ["History", "in_order", "read_history", "remove"]

TABLE = "schema_migrations"
SUPABASE = "supabase_migrations"
# Schemas in which a platform keeps the history of its own migrations.
PLATFORM = frozenset({"_realtime", "auth", "realtime", "storage", "supabase_functions"})

_TABLES = """
SELECT n.nspname AS schema, c.oid::int8 AS oid
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relname = %(table)s AND n.nspname = ANY (%(schemas)s)
   AND c.relkind IN ('r', 'p')
 ORDER BY n.nspname
"""
_COLUMNS = """
SELECT a.attname AS name,
       a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype) AS is_time,
       a.atttypid IN ('int4'::regtype, 'int8'::regtype, 'int2'::regtype)
         AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%%')
         AS is_serial
  FROM pg_catalog.pg_attribute a
  LEFT JOIN pg_catalog.pg_attrdef d
    ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""
# Columns of a time that say when a migration was applied, the surest first.
_TIMES = (
    "applied_at",
    "executed_at",
    "installed_on",
    "run_on",
    "migrated_at",
    "inserted_at",
    "created_at",
    "tstamp",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The versions that are applied, oldest first.

    `ordered`: in the order of application, as the table records it; else by version.
    """

    schema: str
    table: str
    versions: tuple[str, ...]
    ordered: bool = False

    @property
    def current(self) -> str | None:
        """The last version that was applied."""
        return self.versions[-1] if self.versions else None

    @property
    def name(self) -> str:
        """The table, qualified."""
        return f"{self.schema}.{self.table}"

    @property
    def identifier(self) -> sql.Identifier:
        """The table, for a query."""
        return sql.Identifier(self.schema, self.table)


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    oid: int
    rows: int


def in_order(versions: Iterable[str]) -> tuple[str, ...]:
    """By version: as numbers where all of them are, else as text."""
    known = tuple(versions)
    if all(version.isascii() and version.isdigit() for version in known):
        return tuple(sorted(known, key=lambda version: (int(version), version)))
    return tuple(sorted(known))


async def read_history(
    connection: Connection, schemas: Sequence[str] = ("public",)
) -> History:
    """Read the versions that are applied, wherever this database keeps them.

    Raises:
        SchemaRefused: there is no such table, or more than one; or it cannot be read.

    """
    table = await _find(
        connection, tuple(dict.fromkeys((SUPABASE, *schemas, "public")))
    )
    cursor = await connection.execute(_COLUMNS, {"oid": table.oid})
    columns = await cursor.fetchall()
    names = {str(column["name"]) for column in columns}
    if "version" not in names:
        raise SchemaRefused(
            f"The history of migrations {table.schema}.{TABLE} has no column version, "
            f"only {', '.join(sorted(names))}."
        )
    order = _order(columns)
    rows = await _rows(connection, table, order, dirty="dirty" in names)
    versions = tuple(str(row["version"]) for row in rows)
    # A time that stands nowhere says nothing of the order.
    ordered = bool(order) and not any(row["unknown"] for row in rows)
    return History(
        schema=table.schema,
        table=TABLE,
        versions=_by_application(rows) if ordered else in_order(versions),
        ordered=ordered,
    )


async def remove(
    connection: Connection, history: History, versions: Sequence[str]
) -> None:
    """Take these versions out of the history.

    Raises:
        NotAsPlanned: not every one of them was in it, once.

    """
    cursor = await connection.execute(
        sql.SQL("DELETE FROM {} WHERE version::text = ANY (%(versions)s)").format(
            history.identifier
        ),
        {"versions": list(versions)},
    )
    if cursor.rowcount != len(set(versions)):
        raise NotAsPlanned(
            f"{history.name} was to lose {len(set(versions))} versions "
            f"and lost {cursor.rowcount}: {', '.join(versions)}."
        )


async def _find(connection: Connection, schemas: tuple[str, ...]) -> _Table:
    cursor = await connection.execute(
        _TABLES, {"table": TABLE, "schemas": list(schemas)}
    )
    tables = [
        _Table(row["schema"], row["oid"], await _count(connection, row["schema"]))
        for row in await cursor.fetchall()
    ]
    if len(tables) > 1:  # one without rows is a leftover
        tables = [table for table in tables if table.rows] or tables
        tables = [table for table in tables if table.schema not in PLATFORM] or tables
    if not tables:
        looked = ", ".join(f"{schema}.{TABLE}" for schema in schemas)
        raise SchemaRefused(
            f"No history of migrations was found; looked for {looked}.",
            mend="Name its schema in the setting schemas, or record the migrations.",
        )
    if len(tables) > 1:
        names = " and ".join(f"{table.schema}.{TABLE}" for table in tables)
        raise SchemaRefused(f"There are two histories of migrations: {names}.")
    return tables[0]


async def _count(connection: Connection, schema: str) -> int:
    query = sql.SQL("SELECT count(*) AS rows FROM {}").format(
        sql.Identifier(schema, TABLE)
    )
    row = await (await connection.execute(query)).fetchone()
    return int(row["rows"]) if row else 0


def _order(columns: Sequence[dict[str, object]]) -> tuple[str, ...]:
    """The columns that record the order of application: a time, then a number."""
    times = [str(column["name"]) for column in columns if column["is_time"]]
    serials = [
        str(column["name"])
        for column in columns
        if column["is_serial"] and column["name"] != "version"
    ]
    known = [name for name in _TIMES if name in times]
    return (*(known[:1] or (times if len(times) == 1 else [])), *serials[:1])


async def _rows(
    connection: Connection, table: _Table, order: tuple[str, ...], *, dirty: bool
) -> list[dict[str, object]]:
    """Versions with what orders them; refuses what no script may be run upon."""
    places = sql.SQL(", ").join(sql.Identifier(name) for name in order)
    query = sql.SQL(
        "SELECT version::text AS version, {dirty} AS dirty, {unknown} AS unknown,"
        " {place} AS place FROM {table}"
    ).format(
        dirty=sql.SQL("coalesce(dirty::text, '') IN ('true', '1')")
        if dirty
        else sql.SQL("false"),
        unknown=sql.SQL("num_nulls({}) > 0").format(places)
        if order
        else sql.SQL("false"),
        place=sql.SQL("dense_rank() OVER (ORDER BY {})").format(places)
        if order
        else sql.SQL("0"),
        table=sql.Identifier(table.schema, TABLE),
    )
    rows: list[dict[str, object]] = await (await connection.execute(query)).fetchall()
    _check(f"{table.schema}.{TABLE}", rows)
    return rows


def _check(name: str, rows: Sequence[dict[str, object]]) -> None:
    versions = [row["version"] for row in rows]
    if None in versions:
        raise SchemaRefused(f"{name} has a row without a version.")
    if twice := sorted({str(v) for v in versions if versions.count(v) > 1}):
        raise SchemaRefused(f"{name} has more than once: {', '.join(twice)}.")
    if dirty := [str(row["version"]) for row in rows if row["dirty"]]:
        raise SchemaRefused(
            f"{name} marks as dirty, that is half applied: {', '.join(dirty)}."
        )


def _by_application(rows: Sequence[dict[str, object]]) -> tuple[str, ...]:
    """Those of one moment (one transaction) stand as their versions do."""
    places = {str(row["version"]): int(str(row["place"])) for row in rows}
    return tuple(sorted(in_order(places), key=places.__getitem__))
