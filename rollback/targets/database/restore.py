"""Putting a backup into an empty database: all of it, or an error."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg import sql

from rollback.errors import BackupFailed
from rollback.schema import Backup, TableRows
from rollback.transactions import Connection, Database

from .complaints import speaking
from .dumping import jobs_that_help
from .programs import Programs
from .scratch import own_entries, require_room
from .surroundings import (
    ensure_extensions,
    ensure_grants,
    ensure_publications,
    recorded,
)
from .verification import DUMP

__all__ = ["count_rows", "restore"]

LONG_SECONDS = 3600.0
EXTENSIONS = "SELECT extname AS name FROM pg_extension WHERE extname <> 'plpgsql'"


async def restore(
    folder: Path, backup: Backup, url: str, *, programs: Programs, jobs: int
) -> None:
    """Restore into the empty database at `url`, analyse it, and count its rows.

    `folder` is what `Backups.fetched` gives, which has compared the files with their
    hashes. The schema `rollback` is not restored.

    Raises:
        BackupFailed: it is not all there now.
        DatabaseUnreachable: the database does not answer.

    """
    database = Database(url, statement_timeout_seconds=LONG_SECONDS)
    around = await recorded(folder)
    with speaking(database):
        await database.transaction(partial(_require_room, schemas=backup.schemas))
        await database.transaction(partial(ensure_extensions, wanted=around))
    await _run(folder / DUMP, backup, url, programs=programs, jobs=jobs)
    with speaking(database):
        await database.transaction(
            partial(ensure_grants, wanted=around, schemas=backup.schemas)
        )
        await database.transaction(partial(ensure_publications, wanted=around))
        await database.transaction(_analyse)
        found = await database.transaction(partial(count_rows, tables=backup.tables))
    if found != backup.tables:
        there = {table.table: table.rows for table in found}
        wrong = [
            f"{table.table} has {there[table.table]} rows and had {table.rows}"
            for table in backup.tables
            if there[table.table] != table.rows
        ]
        raise BackupFailed(f"Not all was restored: {'; '.join(wrong)}.")


async def _require_room(connection: Connection, schemas: tuple[str, ...]) -> None:
    """What is there may be extensions, which the backup's are made as anyway."""
    async with connection.transaction(force_rollback=True):
        found = await connection.execute(EXTENSIONS)
        for row in await found.fetchall():
            name = sql.Identifier(row["name"])
            await connection.execute(
                sql.SQL("DROP EXTENSION IF EXISTS {} CASCADE").format(name)
            )
        await require_room(connection, schemas)


async def count_rows(
    connection: Connection, tables: Sequence[TableRows]
) -> tuple[TableRows, ...]:
    """How many rows the tables of a backup have now."""
    counted = []
    for table in tables:
        name = sql.SQL(table.table)  # quoted by the server, for the manifest
        query = sql.SQL("SELECT count(*) AS rows FROM ONLY {}").format(name)
        row = await (await connection.execute(query)).fetchone()
        counted.append(TableRows(table=table.table, rows=row["rows"] if row else 0))
    return tuple(counted)


async def _run(
    dump: Path, backup: Backup, url: str, *, programs: Programs, jobs: int
) -> None:
    """In parallel where that helps, else in one transaction; both end at an error."""
    with TemporaryDirectory(prefix="rollback-") as place:
        entries = await own_entries(programs, dump, url, Path(place))
        helping = jobs_that_help(jobs, len(backup.tables), backup.bytes)
        how = f"--jobs={helping}" if helping > 1 else "--single-transaction"
        await programs.run(
            "pg_restore", "--exit-on-error", how, entries, str(dump), url=url
        )


async def _analyse(connection: Connection) -> None:
    """A dump has no statistics, and plans without them are no measure of anything."""
    await connection.execute("ANALYZE")
