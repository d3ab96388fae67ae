"""Finding out a transaction pooler: snapshots and session locks do not pass one."""

from contextlib import AsyncExitStack

from psycopg import sql

from rollback.errors import BackupFailed, RollbackError
from rollback.transactions import Connection, Database, shielded

from .complaints import speaking

__all__ = ["require_session"]

SECONDS = 10.0
# Other clients of the pooler may come in between: one look can miss it.
LOOKS = 3


async def require_session(
    url: str, *, failure: type[RollbackError] = BackupFailed
) -> None:
    """Raise `failure` where a connection is not one session of the server's.

    Told by the server's process: a transaction pooler lends the one of an idle client
    to the next, and gives the first another one afterwards.
    """
    database = Database(url, statement_timeout_seconds=SECONDS)
    with speaking(database, failure):
        pooled = await _pooled(database)
    if pooled:
        raise failure(
            f"{database.name} is a transaction pooler: it gives one session to several "
            "clients, so a snapshot and its locks would not stay.",
            mend="Give a direct or session address in DATABASE_DIRECT_URL.",
        )


async def _pooled(database: Database) -> bool:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(database.session())
        if await _process(one) == one.info.backend_pid:
            return False  # no pooler at all: it would have told a number of its own
        other = await stack.enter_async_context(database.session())
        for _ in range(LOOKS):
            before = await _process(one)
            await _run(other, "BEGIN")
            between = await _process(other)
            after = await _process(one)
            await _run(other, "ROLLBACK")
            if between == before or before != after:
                return True
    return False


async def _process(connection: Connection) -> int:
    call = connection.execute
    found = await shielded(
        connection, lambda: call("SELECT pg_backend_pid() AS pid"), seconds=SECONDS
    )
    row = await found.fetchone()
    return int(row["pid"]) if row else 0


async def _run(connection: Connection, statement: str) -> None:
    text = sql.SQL(statement)
    await shielded(connection, lambda: connection.execute(text), seconds=SECONDS)
