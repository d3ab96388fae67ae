"""A backup restored into a new database, which then takes the place of the old one.

The old database is renamed and stays. The two names change in one transaction, while
nobody can connect: renaming waits for the sessions of others with the database locked,
and they are ended meanwhile. So there is no moment without a database of that name, and
who is killed at any point leaves the old one where it was.

From the first moment to the last, nobody else rolls the schema back: what they had
committed would be gone with the old database, and not be in the new one.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from anyio import CancelScope
from psycopg import Error, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rollback.errors import BackupFailed, DatabaseUnreachable
from rollback.ports import Notice
from rollback.schema import Backup
from rollback.transactions import Connection, Database, shielded

from .likeness import like
from .locks import claim
from .programs import Programs
from .replacing import MARKS, counted, kept_name, mark
from .scratch import own_entries
from .surroundings import (
    Surroundings,
    ensure_extensions,
    ensure_grants,
    ensure_publications,
    recorded,
    surroundings,
    with_grants_of,
)

__all__ = ["obstacle", "swap"]

PREFIX = "rollback_restoring_"
SECONDS = 60.0
COPY_SECONDS = 600.0
AGAIN_SECONDS = 0.1
MAY = """
SELECT (r.rolcreatedb OR r.rolsuper) AND pg_has_role(d.datdba, 'MEMBER') AS may
FROM pg_roles r, pg_database d
WHERE r.rolname = current_user AND d.datname = current_database()
"""
OTHERS = """
SELECT nspname AS name FROM pg_namespace n
WHERE nspname <> ALL(%(schemas)s) AND nspname <> 'information_schema'
AND nspname !~ '^pg_' AND nspname !~ '_before_[0-9]{8}_[0-9]{6}$'
AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r')
ORDER BY 1
"""
TABLES = """
SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
WHERE schemaname = 'rollback' ORDER BY 1
"""
END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = ANY(%(names)s) AND pid <> pg_backend_pid()
"""


async def obstacle(connection: Connection, schemas: tuple[str, ...]) -> str | None:
    """Why the database cannot be replaced by one that holds these schemas alone."""
    row = await (await connection.execute(MAY)).fetchone()
    if row is None or not row["may"]:
        return "The database's user may not make and rename databases."
    kept = {"schemas": [*schemas, "rollback"]}
    others = await (await connection.execute(OTHERS, kept)).fetchall()
    if others:
        named = ", ".join(other["name"] for other in others)
        return f"The backup does not hold these schemas of the database: {named}."
    return None


async def swap(
    programs: Programs,
    url: str,
    folder: Path,
    backup: Backup,
    *,
    token: str,
    at: datetime,
    notice: Notice,
) -> str:
    """Restore into a new database, and let it take the old one's place."""
    new = PREFIX + secrets.token_hex(6)
    name = str(conninfo_to_dict(url)["dbname"])
    new_url = make_conninfo(url, dbname=new)
    with _in_words(url):
        async with _claimed(url) as holder, _made(url, new, backup.schemas) as now:
            notice(f"restoring {backup.name} into the new database {new}")
            around = with_grants_of(now, await recorded(folder))
            await _fill(programs, new_url, folder, backup, around)
            notice("the rows agree with the backup's; the databases change their names")
            kept = kept_name(name, at)
            await _lock(holder)
            await _carry_over(programs, url, new_url)
            target = Database(new_url, statement_timeout_seconds=SECONDS)
            await target.transaction(lambda c: _mark(c, token, backup, kept))
            await _rename(url, ((name, kept), (new, name)))
    return (
        f"{backup.name} is restored; the database that was there before is {kept}, to "
        "be dropped when nobody needs it any more"
    )


class _in_words:  # noqa: N801 - used as a function
    def __init__(self, url: str) -> None:
        self._database = Database(url, statement_timeout_seconds=SECONDS)

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Raise what is known instead of the database's own error."""
        if isinstance(error, Error | OSError | TimeoutError):
            raise DatabaseUnreachable(
                f"The databases at {self._database.name} were not swapped: "
                f"{self._database.explain(error)}.",
                mend="Nothing has changed; look at what is named, and run it again.",
            ) from error


@asynccontextmanager
async def _made(
    url: str, name: str, schemas: tuple[str, ...]
) -> AsyncIterator[Surroundings]:
    """A new database with the old one's properties; dropped where it is not used.

    Under its own name it is of no use to anybody; renamed, it is not found here.
    """
    old = Database(url, statement_timeout_seconds=SECONDS)
    statements = await old.transaction(lambda c: like(c, name))
    around = await old.transaction(lambda c: surroundings(c, schemas))
    try:
        async with old.session() as connection:
            for statement in statements:
                await _do(connection, statement)
        yield around
    finally:
        with CancelScope(shield=True):
            async with _beside(url) as connection:
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                await _do(connection, drop.format(sql.Identifier(name)))


async def _fill(
    programs: Programs, url: str, folder: Path, backup: Backup, around: Surroundings
) -> None:
    """The backup whole, and its rows counted."""
    new = Database(url, statement_timeout_seconds=COPY_SECONDS)

    async def check(connection: Connection) -> None:
        for each in backup.tables:
            await connection.execute(counted(each.table, each.rows))
        await ensure_grants(connection, around, backup.schemas)
        await ensure_publications(connection, around)

    await new.transaction(lambda c: ensure_extensions(c, around))
    dump = folder / "database"
    with TemporaryDirectory(prefix="rollback-") as place:
        await programs.run(
            "pg_restore",
            *("--exit-on-error", "--single-transaction"),
            await own_entries(programs, dump, url, Path(place)),
            str(dump),
            url=url,
        )
    await new.transaction(check)


@asynccontextmanager
async def _claimed(url: str) -> AsyncIterator[Connection]:
    """A transaction in the old database that has the claim, however long it takes.

    It reads nothing, so no row is kept for it. Where it is ended, so is the swap.
    """
    old = Database(url, statement_timeout_seconds=COPY_SECONDS)
    async with old.session() as holder:
        await _do(holder, sql.SQL("BEGIN"))
        await _do(holder, sql.SQL("SET LOCAL idle_in_transaction_session_timeout = 0"))
        if holder.info.server_version >= 170000:  # noqa: PLR2004 - where it came in
            await _do(holder, sql.SQL("SET LOCAL transaction_timeout = 0"))
        await shielded(holder, lambda: claim(holder), seconds=SECONDS)
        yield holder


async def _lock(holder: Connection) -> None:
    """Nobody writes the ledger until the holder's session ends; it is carried over.

    What our own run writes meanwhile waits for its time-out, and is kept for later.
    """
    found = await holder.execute(TABLES)
    names = [sql.SQL(row["name"]) for row in await found.fetchall()]
    if names:
        lock = sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE")
        await _do(holder, lock.format(sql.SQL(", ").join(names)))


async def _carry_over(programs: Programs, source: str, target: str) -> None:
    """The schema `rollback`, of which the backup holds an older one."""
    with TemporaryDirectory(prefix="rollback-") as folder:
        dump = str(Path(folder) / "ledger")
        options = ("--format=custom", "--schema=rollback", f"--file={dump}")
        try:
            await programs.run("pg_dump", *options, url=source)
        except BackupFailed as error:
            if "no matching schemas" in error.message:
                return
            raise
        await programs.run(
            "pg_restore",
            *("--exit-on-error", "--single-transaction"),
            dump,
            url=target,
        )


async def _mark(connection: Connection, token: str, backup: Backup, kept: str) -> None:
    await connection.execute(MARKS)
    await connection.execute(mark(token, backup.name, f"database {kept}"))


async def _rename(url: str, names: tuple[tuple[str, str], ...]) -> None:
    """Both names in one transaction, while the sessions of others are ended."""
    async with _beside(url) as renaming, _beside(url) as ending:
        await _do(renaming, sql.SQL("BEGIN"))
        async with anyio.create_task_group() as group:
            group.start_soon(_end_others, ending, [before for before, _ in names])
            for before, after in names:
                statement = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(before), sql.Identifier(after)
                )
                await _do(renaming, statement)
            await _do(renaming, sql.SQL("COMMIT"))
            group.cancel_scope.cancel()


async def _end_others(connection: Connection, names: list[str]) -> None:
    """Again and again, until the names have changed."""
    while True:
        ended = connection.execute(END, {"names": names})
        await shielded(connection, lambda: ended, seconds=SECONDS)  # noqa: B023 - awaited before the next
        await anyio.sleep(AGAIN_SECONDS)


@asynccontextmanager
async def _beside(url: str) -> AsyncIterator[Connection]:
    """A session on the same server, in neither of the two databases."""
    name = conninfo_to_dict(url)["dbname"]
    other = "template1" if name == "postgres" else "postgres"
    server = Database(
        make_conninfo(url, dbname=other), statement_timeout_seconds=SECONDS
    )
    async with server.session() as connection:
        yield connection


async def _do(connection: Connection, statement: sql.SQL | sql.Composed) -> None:
    await shielded(
        connection, lambda: connection.execute(statement), seconds=COPY_SECONDS
    )
