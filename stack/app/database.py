"""PostgreSQL: a pool that notices at once what is lost, and at once what is back.

Nothing here costs a round trip that the caller did not ask for: on a slow route each
one is felt. So a pooled connection is looked at (has the other side hung up?), not
asked, and it runs in autocommit: BEGIN and COMMIT are sent only by `transaction`.
"""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, BaseConnection
from psycopg.abc import Params
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from stack.app.errors import (
    AppError,
    DatabaseBusy,
    DatabaseConnectionLost,
    InvalidInput,
)

ACQUIRE_S = 5.0
CONNECT_S = 4  # signing in takes three round trips, also on a slow route
STATEMENT_S = 4
OPERATION_S = 6.0  # a query or a whole transaction; only a silent route takes that long
HEALTH_S = 1.9  # before the limit of a check: see `_hung_up_after`
_KEEP_S = 1.0
_RETRY_S = 0.05  # then the pool gives up, and the next request tries again
_LOST = ("08", "57P")  # SQLSTATE classes: connection exception, server shutting down

Connection = AsyncConnection[DictRow]
Row = dict[str, Any]


class Database:
    """The pool of one deployment. A lost database is `DatabaseConnectionLost`."""

    def __init__(self, url: str, connections: int) -> None:
        self._connections = connections
        self._waiting: set[asyncio.Task[Connection]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo(url),
            kwargs={
                "autocommit": True,
                "prepare_threshold": None,  # preparing is a round trip of its own
                "row_factory": dict_row,
            },
            min_size=connections,
            max_size=connections,
            open=False,
            reconnect_timeout=_RETRY_S,
            reconnect_failed=self._give_up,
        )

    async def open(self) -> None:
        """Start to connect, without waiting for it."""
        await self._pool.open(wait=False)
        self._keeper = asyncio.create_task(self._keep_full())

    async def close(self) -> None:
        """Close every connection."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await self._pool.close(timeout=1.0)

    async def one(self, query: LiteralString, values: Params) -> Row | None:
        """Give the first row of one statement, which is a transaction of its own."""
        async with self._connection() as connection:
            return await (await connection.execute(query, values)).fetchone()

    async def all(self, query: LiteralString) -> list[Row]:
        """Give all rows of one statement."""
        async with self._connection() as connection:
            return await (await connection.execute(query)).fetchall()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Give a connection in a transaction that is committed at the end."""
        async with self._connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with _as_app_errors():
            connection = await self._check_out()
            try:
                with _hung_up_after(connection, OPERATION_S):
                    yield connection
            finally:
                await self._pool.putconn(connection)

    async def _check_out(self) -> Connection:
        deadline = asyncio.get_running_loop().time() + ACQUIRE_S
        while True:
            remaining = deadline - asyncio.get_running_loop().time()
            connection = await self._next(remaining)
            if is_alive(connection):
                return connection
            await connection.close()
            await self._pool.putconn(connection)

    async def _next(self, seconds: float) -> Connection:
        """Wait for the pool's next connection, unless that is in vain."""
        task = asyncio.create_task(self._pool.getconn(seconds))
        self._waiting.add(task)
        try:
            await asyncio.wait([task])
        finally:
            self._waiting.discard(task)
            task.cancel()  # it has ended unless this request was cancelled
        if task.cancelled():
            raise DatabaseConnectionLost
        return task.result()

    def _give_up(self, pool: AsyncConnectionPool[Connection]) -> None:
        """No connection is left, nor on its way: nobody needs to wait for one."""
        if pool.get_stats()["pool_size"] == 0:
            for task in self._waiting:
                task.cancel()

    async def _keep_full(self) -> None:
        """Fill the pool after an outage, or a start before the database's.

        The pool itself would grow when somebody waits, one connection at a time.
        """
        while True:
            await asyncio.sleep(_KEEP_S)
            if self._pool.get_stats()["pool_size"] == self._connections:
                continue
            with contextlib.suppress(AppError):
                async with self._connection():
                    pass  # the database is there
                size = max(1, self._pool.get_stats()["pool_size"])
                await self._pool.resize(size, self._connections)
                await self._pool.resize(self._connections)


class Heartbeat:
    """A connection apart from the pool: a full pool is not a lost database."""

    def __init__(self, url: str) -> None:
        self._conninfo = conninfo(url)
        self._session: asyncio.Task[AsyncConnection] | None = None

    async def check(self) -> None:
        """Read one row: one round trip, on a connection that outlives the check.

        Raises:
            TimeoutError: connecting takes longer than the check may.
            psycopg.Error: there is no database, or it does not answer in time.

        """
        deadline = asyncio.get_running_loop().time() + HEALTH_S
        async with asyncio.timeout_at(deadline):
            connection = await self._connected()
        remaining = deadline - asyncio.get_running_loop().time()
        with _hung_up_after(connection, remaining):
            await connection.execute("SELECT id FROM health_check LIMIT 1")

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            self._session.cancel()
            with contextlib.suppress(asyncio.CancelledError, psycopg.Error):
                await (await self._session).close()

    async def _connected(self) -> AsyncConnection:
        while True:
            begun_before = self._session is not None
            if self._session is None:
                self._session = asyncio.create_task(
                    AsyncConnection.connect(self._conninfo, autocommit=True)
                )
            try:
                connection = await asyncio.shield(self._session)
            except psycopg.Error:
                self._session = None
                if not begun_before:  # an older attempt says nothing about now
                    raise
            else:
                if is_alive(connection):
                    return connection
                self._session = None
                await connection.close()


def conninfo(url: str) -> str:
    """Add the time limits; without TLS, a round trip less on a private network."""
    defaults: dict[str, Any] = {
        "sslmode": "disable",
        "gssencmode": "disable",
        "connect_timeout": CONNECT_S,
        "application_name": "wedsync",
        "options": f"-c statement_timeout={STATEMENT_S}s"
        f" -c idle_in_transaction_session_timeout={STATEMENT_S * 3}s",
    }
    return make_conninfo(**(defaults | conninfo_to_dict(url)))


def is_alive(connection: BaseConnection[Any]) -> bool:
    """See without a round trip whether the other side has hung up."""
    try:
        while not connection.closed and _is_readable(connection.fileno()):
            connection.pgconn.consume_input()
    except psycopg.Error:
        return False
    return not connection.closed


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _hung_up_after(connection: AsyncConnection[Any], seconds: float) -> Iterator[None]:
    """Bound what a silent route may take.

    A query that is cancelled in psycopg waits up to ten seconds more for the server
    to confirm it. With the socket shut down it ends at once, and the connection is
    broken, as it is in truth.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _hang_up, connection)
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(connection: AsyncConnection[Any]) -> None:
    with (
        contextlib.suppress(psycopg.Error, OSError),  # it has ended by itself
        socket.socket(fileno=os.dup(connection.fileno())) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)


@contextmanager
def _as_app_errors() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseBusy from error
    except psycopg.DataError as error:
        raise InvalidInput("A value is one that cannot be stored.") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if error.sqlstate and not error.sqlstate.startswith(_LOST):
            raise DatabaseBusy from error
        raise DatabaseConnectionLost from error
