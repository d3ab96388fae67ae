"""The snapshot of a backup, and the locks without which it could turn out empty.

A TRUNCATE or a rewrite is not seen by a snapshot taken before it: the table is empty
in it, and so is its dump, which verifies (measured). So the locks come first, and the
snapshot is taken under them.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable, UndefinedTable

from rollback.errors import BackupFailed
from rollback.schema import TableRows
from rollback.transactions import Connection, Database, shielded

from .surroundings import Surroundings, surroundings

__all__ = ["APART", "Held", "Table", "hold"]

APART = "rollback"
"""The schema of ledger and archives: dumped apart, and never restored over."""

SHORT_SECONDS = 30.0
COUNT_SECONDS = 86_400.0
LOCK_MILLISECONDS = 2000
ATTEMPTS = 15

TABLES = """
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name,
  format('%%I.%%I', n.nspname, c.relname) AS shown, c.relkind = 'r' AS has_rows
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p')
  AND c.relpersistence <> 't' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' AND d.objid = c.oid
    AND d.classid = 'pg_catalog.pg_class'::regclass)
ORDER BY n.nspname, c.relname
"""
SCHEMAS = "SELECT nspname AS name FROM pg_namespace WHERE nspname = ANY(%(schemas)s)"
BYTES = """
SELECT coalesce(sum(pg_table_size(oid::oid)), 0)::int8 AS bytes
FROM unnest(%(oids)s::int8[]) oid
"""
# The catalogue as the snapshot has it, beside what the server has now.
REWRITTEN = """
SELECT format('%%I.%%I', n.nspname, c.relname) AS shown
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%(oids)s::int8[]::oid[]) AND c.relkind = 'r'
  AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)
ORDER BY 1
"""
BLOCKERS = """
SELECT DISTINCT a.pid, a.application_name AS application, a.usename AS "user", a.state
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.mode = 'AccessExclusiveLock' AND l.relation = ANY(%(oids)s::int8[]::oid[])
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
"""
LEFT_OUT = """
SELECT (SELECT count(*) FROM pg_largeobject_metadata) AS objects, ARRAY(
  SELECT format('%%I.%%I', n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = ANY(%(schemas)s) AND c.relkind = 'f' ORDER BY 1) AS remote
"""
SETTINGS = (
    "statement_timeout = 0",
    "idle_in_transaction_session_timeout = 0",
    # An error instead of a count of the rows that this user may see.
    "row_security = off",
    f"lock_timeout = {LOCK_MILLISECONDS}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that is dumped; one that is partitioned has no rows of its own."""

    oid: int
    schema: str
    name: str
    shown: str
    has_rows: bool


@dataclass(slots=True, kw_only=True)
class Held:
    """A snapshot with its locks, for as long as its connection lives."""

    connection: Connection
    snapshot: str
    schemas: tuple[str, ...]
    tables: tuple[Table, ...]
    bytes: int
    around: Surroundings
    notes: tuple[str, ...]
    counted: dict[Table, int] = field(default_factory=dict)

    @property
    def with_rows(self) -> tuple[Table, ...]:
        """The tables that have rows of their own."""
        return tuple(table for table in self.tables if table.has_rows)

    async def count(self) -> None:
        """Count the rows of each table, as the snapshot has them."""
        for table in self.with_rows:
            name = sql.Identifier(table.schema, table.name)
            query = sql.SQL("SELECT count(*) AS rows FROM ONLY {}").format(name)
            rows = await _fetch(self.connection, query, seconds=COUNT_SECONDS)
            self.counted[table] = rows[0]["rows"]

    def rows(self, *, apart: bool) -> tuple[TableRows, ...]:
        """What was counted, in our own schema or in the others."""
        return tuple(
            TableRows(table=table.shown, rows=rows)
            for table, rows in self.counted.items()
            if (table.schema == APART) is apart
        )

    async def check(self) -> None:
        """Raise what has happened to it: the connection is gone, or a table changed."""
        oids = [table.oid for table in self.tables]
        rewritten = await _fetch(self.connection, sql.SQL(REWRITTEN), oids=oids)
        if rewritten:
            names = ", ".join(row["shown"] for row in rewritten)
            raise BackupFailed(
                f"Rows of {names} were replaced while the backup was taken: "
                "the dump may lack them."
            )


@asynccontextmanager
async def hold(
    database: Database, schemas: Sequence[str], *, attempts: int = ATTEMPTS
) -> AsyncIterator[Held]:
    """Lock all tables of the schemas, then take a snapshot of them, and keep both.

    Raises:
        BackupFailed: a lock could not be had, or a schema is not there.

    """
    async with database.session() as connection:
        await _prepare(connection)
        wanted = await _existing(connection, schemas)
        tables = await _locked(connection, wanted, attempts)
        yield await _held(connection, wanted, tables)


async def _prepare(connection: Connection) -> None:
    for setting in SETTINGS:
        await _run(connection, f"SET {setting}")
    if connection.info.server_version >= 170000:  # noqa: PLR2004 - where it came in
        await _run(connection, "SET transaction_timeout = 0")


async def _existing(connection: Connection, schemas: Sequence[str]) -> tuple[str, ...]:
    """The schemas, and our own where it is in this database."""
    asked = [*dict.fromkeys(name for name in schemas if name != APART), APART]
    found = await _fetch(connection, sql.SQL(SCHEMAS), schemas=asked)
    names = {row["name"] for row in found}
    missing = [name for name in asked if name not in names and name != APART]
    if missing:
        raise BackupFailed(
            f"There is no schema {', '.join(missing)} in the database.",
            mend="Name the application's own schemas in ROLLBACK_SCHEMAS.",
        )
    return tuple(name for name in asked if name in names)


async def _locked(
    connection: Connection, schemas: tuple[str, ...], attempts: int
) -> tuple[Table, ...]:
    """Begin, lock and list until what is locked is what there is."""
    blockers = ""
    for _ in range(attempts):
        tables = await _list(connection, schemas)
        await _run(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            await _lock(connection, tables)
        except (LockNotAvailable, DeadlockDetected):
            await _run(connection, "ROLLBACK")
            blockers = await _blockers(connection, tables)
            continue
        except UndefinedTable:
            await _run(connection, "ROLLBACK")
            continue
        # This is the first query: the snapshot is taken now, under the locks.
        if await _list(connection, schemas) == tables:
            return tables
        await _run(connection, "ROLLBACK")
    if blockers:
        raise BackupFailed(
            f"The tables cannot be locked for reading, as {blockers} has one of them.",
            mend="Wait for that session, or end it; then run it again.",
        )
    raise BackupFailed(
        f"Tables came and went {attempts} times while the backup was to begin.",
        mend="Wait for the migration that is running, and run it again.",
    )


async def _lock(connection: Connection, tables: Sequence[Table]) -> None:
    if not tables:
        return
    names = sql.SQL(", ").join(
        sql.SQL("ONLY {}").format(sql.Identifier(table.schema, table.name))
        for table in tables
    )
    statement = sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names)
    seconds = SHORT_SECONDS + len(tables) * LOCK_MILLISECONDS / 1000
    await shielded(connection, lambda: connection.execute(statement), seconds=seconds)


async def _held(
    connection: Connection, schemas: tuple[str, ...], tables: tuple[Table, ...]
) -> Held:
    snapshot = await _fetch(connection, sql.SQL("SELECT pg_export_snapshot() AS id"))
    oids = [table.oid for table in tables]
    size = await _fetch(connection, sql.SQL(BYTES), oids=oids)
    around = await shielded(
        connection, lambda: surroundings(connection, schemas), seconds=SHORT_SECONDS
    )
    return Held(
        connection=connection,
        snapshot=snapshot[0]["id"],
        schemas=schemas,
        tables=tables,
        bytes=size[0]["bytes"],
        around=around,
        notes=await _notes(connection, schemas),
    )


async def _notes(connection: Connection, schemas: tuple[str, ...]) -> tuple[str, ...]:
    left = (await _fetch(connection, sql.SQL(LEFT_OUT), schemas=list(schemas)))[0]
    notes = []
    if left["objects"]:
        notes.append(f"Large objects are in no schema: {left['objects']} not in it.")
    if left["remote"]:
        names = ", ".join(left["remote"])
        notes.append(f"Rows of foreign tables are elsewhere: {names} without them.")
    return tuple(notes)


async def _list(connection: Connection, schemas: tuple[str, ...]) -> tuple[Table, ...]:
    rows = await _fetch(connection, sql.SQL(TABLES), schemas=list(schemas))
    return tuple(Table(**row) for row in rows)


async def _blockers(connection: Connection, tables: Sequence[Table]) -> str:
    """Sessions that hold or wait for what keeps readers out; not what they run."""
    oids = [table.oid for table in tables]
    rows = await _fetch(connection, sql.SQL(BLOCKERS), oids=oids)
    named = [
        f"process {row['pid']} ({row['application'] or 'unnamed'}, user {row['user']}, "
        f"{row['state']})"
        for row in rows
    ]
    return ", ".join(named) or "another session"


async def _fetch(
    connection: Connection,
    query: sql.SQL | sql.Composed,
    *,
    seconds: float = SHORT_SECONDS,
    **facts: object,
) -> list[dict[str, Any]]:
    async def ask() -> list[dict[str, Any]]:
        return await (await connection.execute(query, facts or None)).fetchall()

    return await shielded(connection, ask, seconds=seconds)


async def _run(connection: Connection, statement: str) -> None:
    text = sql.SQL(statement)
    await shielded(connection, lambda: connection.execute(text), seconds=SHORT_SECONDS)
