"""Transactions on PostgreSQL that leave nothing running behind them.

A cancel scope that fires inside a psycopg call closes the client's side, because anyio
delivers the cancellation again to psycopg's own cleaning up; the server goes on, and
other sessions queue behind the orphan. So a call here is shielded: the server is asked
to cancel it, and only then does the cancellation go on. What cannot be asked (the
network is gone) ends by the timeouts that every transaction sets on the server.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from anyio import (
    CancelScope,
    Event,
    create_task_group,
    fail_after,
    get_cancelled_exc_class,
    move_on_after,
)
from anyio.lowlevel import checkpoint_if_cancelled
from psycopg import AsyncConnection, Error, IsolationLevel, ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row

from .errors import SettingsInvalid

__all__ = ["Connection", "Database", "same_database", "shielded", "with_keepalives"]

T = TypeVar("T")
Connection = AsyncConnection[DictRow]

CONNECT_SECONDS = 5
GRACE_SECONDS = 2.0
ASK_AGAIN_SECONDS = 0.05
# After two minutes without any answer the network is gone: also for what may rightly
# take hours, and so has no time-out of ours. Not sooner: a server that is busy writing
# what a restore sends takes nothing for a while, which counts as no answer.
KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "9",
    "tcp_user_timeout": "120000",
}


class Database:
    """One PostgreSQL database, reached anew for each transaction.

    No connection is kept: a rollback makes few calls, minutes apart, and one that died
    in between is the failure that would be met at the worst time.
    """

    def __init__(self, url: str, *, statement_timeout_seconds: float) -> None:
        self._conninfo, facts = _read(url)
        self._statement_seconds = statement_timeout_seconds
        self._password = str(facts.get("password") or "")
        host, port = facts.get("host") or "localhost", facts.get("port") or 5432
        self.name = f"{host}:{port}/{facts.get('dbname') or facts.get('user') or ''}"

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in one transaction and return what it returned.

        Raises:
            psycopg.Error, OSError, TimeoutError: the database did not do it.

        """
        connection = await self._connect()
        try:
            return await shielded(
                connection,
                lambda: self._guarded(connection, work),
                seconds=self._statement_seconds + GRACE_SECONDS,
            )
        finally:
            await connection.close()

    @property
    def statement_seconds(self) -> float:
        """How long one statement may take."""
        return self._statement_seconds

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection outside of a transaction, for what cannot be in one.

        Calls on it are the caller's to shield, and to limit on the server.
        """
        connection = await self._connect()
        try:
            yield connection
        finally:
            await connection.close()

    def explain(self, error: Exception) -> str:
        """The first line of what went wrong, without the password."""
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        return text.replace(self._password, "***") if self._password else text

    async def _connect(self) -> Connection:
        with fail_after(CONNECT_SECONDS + 1):
            connection = await AsyncConnection.connect(
                self._conninfo,
                autocommit=True,
                prepare_threshold=None,
                row_factory=dict_row,
            )
        # Whatever the database's default: what is read once a lock is had must be what
        # was committed until then, and not what there was when the transaction began.
        await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
        return connection

    async def _guarded(
        self, connection: Connection, work: Callable[[Connection], Awaitable[T]]
    ) -> T:
        """SET LOCAL and not a start-up option: those do not pass every pooler."""
        limit = int(self._statement_seconds * 1000)
        async with connection.transaction():
            await connection.execute(
                "SELECT set_config('statement_timeout', %(limit)s, true),"
                " set_config('idle_in_transaction_session_timeout', %(limit)s, true)",
                {"limit": f"{limit}ms"},
            )
            return await work(connection)


async def shielded(
    connection: AsyncConnection[Any],
    call: Callable[[], Awaitable[T]],
    *,
    seconds: float,
) -> T:
    """Run a call on the connection to its end, whatever cancel scope fires meanwhile.

    When one fires, or after `seconds`, the server is asked to cancel; a server that
    does not obey has the connection closed on it. Then the cancellation goes on.
    """
    scope, ended = CancelScope(shield=True), Event()
    failure: Exception | None = TimeoutError(f"no answer within {seconds:g} s")
    async with create_task_group() as tasks:
        tasks.start_soon(_stop, connection, scope, ended, seconds)
        try:
            with scope:
                result = await call()
                failure = None
        except Exception as error:  # noqa: BLE001 - a task group would wrap it; raised below
            failure = error
        finally:
            ended.set()
    await checkpoint_if_cancelled()
    if failure is not None:
        raise failure
    return result


async def _stop(
    connection: AsyncConnection[Any], scope: CancelScope, ended: Event, seconds: float
) -> None:
    """Wait for the call to end; when that may not be waited for, end it."""
    try:
        with move_on_after(seconds):
            await ended.wait()
        await _cancel(connection, scope, ended)
    except get_cancelled_exc_class():
        await _cancel(connection, scope, ended)
        raise


async def _cancel(
    connection: AsyncConnection[Any], scope: CancelScope, ended: Event
) -> None:
    """Ask again: between two statements there is nothing to cancel."""
    with move_on_after(GRACE_SECONDS, shield=True):
        while not ended.is_set():
            await _ask(connection)
            with move_on_after(ASK_AGAIN_SECONDS):
                await ended.wait()
    scope.cancel()


async def _ask(connection: AsyncConnection[Any]) -> None:
    try:
        await connection.cancel_safe(timeout=GRACE_SECONDS)
    except (Error, OSError):
        return


def _read(url: str) -> tuple[str, dict[str, Any]]:
    """Raises without the cause, which would show the password."""
    try:
        facts = conninfo_to_dict(url)
        own = {"connect_timeout": CONNECT_SECONDS, "application_name": "rollback"}
        conninfo = make_conninfo("", **with_keepalives(facts) | own)
    except ProgrammingError as error:
        parameter = str(error).strip()
        known = parameter.startswith("invalid URI query parameter")
        raise _unreadable(f": {parameter}" if known else "") from None
    # An @ or / in a password that was not escaped makes its rest a host or a database.
    shown = ",".join(str(facts.get(name, "")) for name in ("host", "port", "dbname"))
    if "@" in shown or not str(facts.get("port", "0")).replace(",", "").isdigit():
        raise _unreadable("")
    return conninfo, facts


def with_keepalives(facts: dict[str, Any]) -> dict[str, Any]:
    """An address's parameters with ours for a network that is gone; its own stay."""
    return KEEPALIVES | facts


def _unreadable(reason: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"The database's address cannot be read{reason}.",
        mend="Give it as postgresql://user:password@host:port/database, "
        "with %40 for @ and %2F for / in the password.",
    )


def same_database(one: str, other: str) -> bool:
    """Whether two addresses name one database, whoever signs in."""
    names = {Database(url, statement_timeout_seconds=1.0).name for url in (one, other)}
    return len(names) == 1
