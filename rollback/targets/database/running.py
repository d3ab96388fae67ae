"""One script, run so that it cannot end the transaction or leave a setting behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

from anyio import current_time
from psycopg import Error, InterfaceError, OperationalError, sql
from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled
from psycopg.pq import TransactionStatus

from rollback.errors import SchemaRefused, StepFailed
from rollback.schema import Script
from rollback.transactions import Connection

__all__ = ["AGAIN", "Footing", "afresh", "failed", "footing", "lost", "run"]

AGAIN = (LockNotAvailable, DeadlockDetected)
_LOST = ("08", "57P01", "57P02", "57P03", "25P03", "25P04")
_READ = """
SELECT pg_catalog.pg_current_xact_id()::text AS transaction,
       (SELECT setting::int8 FROM pg_catalog.pg_settings
         WHERE name = 'statement_timeout') AS statement_timeout,
       (SELECT setting::int8 FROM pg_catalog.pg_settings
         WHERE name = 'idle_in_transaction_session_timeout') AS idle
"""
_AFRESH = """
RESET ALL; RESET SESSION AUTHORIZATION; RESET ROLE;
SELECT pg_catalog.set_config('lock_timeout', {lock}, true),
       pg_catalog.set_config('statement_timeout', {statement}, true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', {idle}, true),
       pg_catalog.pg_current_xact_id()::text AS transaction
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """What every script stands on: one transaction, and its limits.

    Timeouts are milliseconds, 0 for none; `ends` is when all of it has to be over.
    """

    transaction: str
    lock_timeout: str
    statement_timeout: int
    idle: int
    ends: float

    def left(self, timeout: int) -> str:
        """What a timeout may be now, so that it does not go beyond the end."""
        rest = self.ends - current_time()
        if rest == inf:
            return f"{timeout}ms"
        milliseconds = max(1, ceil(rest * 1000))
        return f"{min(timeout or milliseconds, milliseconds)}ms"


async def footing(
    connection: Connection, *, lock_timeout_ms: int, seconds: float = inf
) -> Footing:
    """Read it, at the beginning of the transaction, and hold it to so many seconds."""
    ends = current_time() + seconds
    row = await (await connection.execute(_READ)).fetchone()
    facts = row or {}
    ground = Footing(**facts, lock_timeout=f"{lock_timeout_ms}ms", ends=ends)
    await afresh(connection, ground)
    return ground


async def afresh(connection: Connection, ground: Footing) -> None:
    """Put back settings and role, and see that the transaction is still the same one.

    Raises:
        StepFailed: it is not: something in between has committed.

    """
    await _afresh(connection, ground, ())


async def _afresh(
    connection: Connection, ground: Footing, first: Sequence[sql.Composable]
) -> None:
    """In one round trip with what is to be done first: locks are held meanwhile."""
    if connection.info.transaction_status is TransactionStatus.INTRANS:
        query = sql.SQL(";").join((*first, _put_back(ground)))
        cursor = await connection.execute(query)
        while cursor.nextset():
            pass
        row = await cursor.fetchone()
        if row and row["transaction"] == ground.transaction:
            return
    raise StepFailed(
        "A script ended the transaction: what it did until then is committed, and the "
        "history still names its version.",
        mend="Compare the schema with the script, and finish by hand.",
    )


def _put_back(ground: Footing) -> sql.Composed:
    return sql.SQL(_AFRESH).format(
        lock=sql.Literal(ground.lock_timeout),
        statement=sql.Literal(ground.left(ground.statement_timeout)),
        idle=sql.Literal(ground.left(ground.idle)),
    )


async def run(connection: Connection, script: Script, ground: Footing) -> None:
    """Run it whole. Inside of a DO block the server itself refuses COMMIT and its like.

    Raises:
        SchemaRefused: it failed.

    """
    body = sql.SQL("BEGIN EXECUTE {}; END").format(sql.Literal(script.text))
    block = sql.SQL("DO {}").format(sql.Literal(body.as_string(connection)))
    try:
        await _afresh(connection, ground, (_put_back(ground), block))
    except AGAIN:
        raise
    except Error as error:
        if lost(error):
            raise
        raise failed(script, error) from error


def failed(script: Script, error: Error) -> SchemaRefused:
    """Only the server's own sentence: its detail may hold values."""
    reason = (error.diag.message_primary or str(error)).rstrip(".")
    if isinstance(error, QueryCanceled):
        reason = f"it was stopped ({reason})"
    return SchemaRefused(
        f"The script {script.path.name} failed: {reason}. Nothing was committed.",
        mend="Mend the script, and look again with `rollback db --plan`.",
    )


def lost(error: BaseException) -> bool:
    """Whether the server or the way to it is gone, and not the statement refused."""
    if isinstance(error, Error) and error.sqlstate:
        return error.sqlstate.startswith(_LOST)
    gone = (OperationalError, InterfaceError, OSError, TimeoutError)
    return isinstance(error, gone)
