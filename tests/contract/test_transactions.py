"""What transactions on PostgreSQL promise: they leave nothing running behind them.

The trap: a cancel scope that fires inside a psycopg call closes the client's side while
the server goes on, and other sessions queue behind the orphan.
"""

import os
import signal
import socket

import anyio
import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from rollback import transactions
from rollback.transactions import Connection, Database, shielded

from .conftest import SLEEPING, Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def kind() -> str:
    """Only the real adapter."""
    return "real"


async def hold_and_sleep(connection: AsyncConnection[tuple[object, ...]]) -> None:
    """Take the lock and execute something long while holding it."""
    async with connection.transaction():
        await connection.execute("LOCK TABLE held")
        await connection.execute(SLEEPING)


async def wait_until_sleeping(watcher: Watcher) -> int:
    """Wait until a backend executes the long statement, and name it."""
    with anyio.fail_after(5):
        while not (pids := watcher.sleeping()):  # noqa: ASYNC110 - in another process
            await anyio.sleep(0.02)
    return pids[0]


async def test_the_naive_way_leaves_an_orphan(
    ledger_url: str, watcher: Watcher
) -> None:
    """Without a shield, the server goes on executing and holds the lock."""
    connection = await AsyncConnection.connect(ledger_url, autocommit=True)
    async with connection, anyio.create_task_group() as tasks:
        tasks.start_soon(hold_and_sleep, connection)
        await wait_until_sleeping(watcher)
        tasks.cancel_scope.cancel()
    await anyio.sleep(0.3)
    assert watcher.sleeping()
    assert not watcher.gets_the_lock()


async def test_a_cancelled_transaction_leaves_no_orphan(
    ledger_url: str, watcher: Watcher
) -> None:
    """When a scope is cancelled, the server has stopped and let go of the lock."""
    ended: list[type[Exception]] = []

    async def work(connection: Connection) -> None:
        await connection.execute("LOCK TABLE held")
        try:
            await connection.execute(SLEEPING)
        except psycopg.errors.QueryCanceled as error:
            ended.append(type(error))
            raise

    target = Database(ledger_url, statement_timeout_seconds=15)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(target.transaction, work)
        await wait_until_sleeping(watcher)
        began = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert tasks.cancel_scope.cancelled_caught
    assert ended == [psycopg.errors.QueryCanceled], "cut, and not ended by the server"
    assert anyio.current_time() - began < 5
    assert watcher.sleeping() == []
    assert watcher.gets_the_lock()


async def test_a_deadline_leaves_no_orphan(ledger_url: str, watcher: Watcher) -> None:
    """A budget that runs out in a transaction is as good as any other cancellation."""

    async def work(connection: Connection) -> None:
        await connection.execute("LOCK TABLE held")
        await connection.execute(SLEEPING)

    target = Database(ledger_url, statement_timeout_seconds=15)
    with anyio.move_on_after(0.5) as budget:
        await target.transaction(work)
    assert budget.cancelled_caught
    assert watcher.sleeping() == []
    assert watcher.gets_the_lock()


async def test_a_cancellation_between_two_statements_is_not_lost(
    ledger_url: str, watcher: Watcher
) -> None:
    """A scope cancelled while nothing executes still stops the next statement."""
    reached, go_on, ended = anyio.Event(), anyio.Event(), anyio.Event()

    async def work(connection: Connection) -> None:
        await connection.execute("LOCK TABLE held")
        reached.set()
        await go_on.wait()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await connection.execute(SLEEPING)
        ended.set()

    target = Database(ledger_url, statement_timeout_seconds=15)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(target.transaction, work)
        await reached.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.2)
            go_on.set()
    assert ended.is_set(), "cut, and not ended by the server"
    assert watcher.sleeping() == []
    assert watcher.gets_the_lock()


async def test_the_server_itself_ends_a_statement(
    ledger_url: str, watcher: Watcher
) -> None:
    """Every statement is under a timeout that the server keeps without us."""
    target = Database(ledger_url, statement_timeout_seconds=0.3)

    async def work(connection: Connection) -> None:
        await connection.execute(SLEEPING)

    began = anyio.current_time()
    with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
        await target.transaction(work)
    assert anyio.current_time() - began < 5
    assert watcher.sleeping() == []


async def test_a_network_that_is_gone_is_noticed(ledger_url: str) -> None:
    """Each connection asks whether the other side is there, and ends when it is not."""
    target = Database(ledger_url, statement_timeout_seconds=15)
    async with target.session() as connection:
        with socket.socket(fileno=os.dup(connection.fileno())) as asked:
            assert asked.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            idle = asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            limit = asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert (idle, limit) == (30, 120_000)


async def test_what_an_address_says_of_it_is_left_alone(ledger_url: str) -> None:
    """Who knows their network better may say so."""
    own = make_conninfo(ledger_url, tcp_user_timeout=7000, keepalives_idle=5)
    target = Database(own, statement_timeout_seconds=15)
    async with target.session() as connection:
        said = connection.info.get_parameters()
    assert (said["tcp_user_timeout"], said["keepalives_idle"]) == ("7000", "5")
    assert said["keepalives_count"] == "9"


async def test_a_server_that_freezes_is_given_up(
    ledger_url: str, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that neither answers nor obeys holds us for a bounded time."""
    monkeypatch.setattr(transactions, "GRACE_SECONDS", 0.4)
    connection = await AsyncConnection.connect(ledger_url, autocommit=True)
    frozen: list[int] = []

    async def freeze() -> None:
        frozen.append(await wait_until_sleeping(watcher))
        os.kill(frozen[0], signal.SIGSTOP)

    try:
        async with connection, anyio.create_task_group() as tasks:
            tasks.start_soon(freeze)
            with anyio.fail_after(5), pytest.raises(TimeoutError):
                await shielded(
                    connection, lambda: hold_and_sleep(connection), seconds=0.6
                )
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
