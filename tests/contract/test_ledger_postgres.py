"""What only the ledger in PostgreSQL has to promise: it leaves nothing behind.

The trap: a cancel scope that fires inside a psycopg call closes the client's side while
the server goes on, and other sessions queue behind the orphan.
"""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime

import anyio
import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from rollback.adapters import database
from rollback.adapters.database import Connection, Database, shielded
from rollback.adapters.postgres import PostgresLedger
from rollback.errors import AlreadyRollingBack, LedgerUnreachable, SettingsInvalid
from rollback.model import DeploymentVersion, Incident, JournalEntry

AT = datetime(2026, 11, 22, 3, tzinfo=UTC)
PASSWORD = "s3cret-word"
SLEEPING = "SELECT pg_sleep(20)"

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def kind() -> str:
    """Only the real adapter."""
    return "real"


class Watcher:
    """Another session that looks at what goes on in the database."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)

    def sleeping(self) -> list[int]:
        """The backends that still execute the long statement."""
        rows = self.connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query = %s",
            [SLEEPING],
        )
        return [row[0] for row in rows]

    def waiting(self) -> int:
        """How many sessions of this database wait for a lock."""
        self.connection.execute("SELECT pg_stat_clear_snapshot()")
        (row,) = self.connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(row[0])

    def gets_the_lock(self) -> bool:
        """Whether the lock is to be had at once."""
        with suppress(psycopg.errors.LockNotAvailable), self.connection.transaction():
            self.connection.execute("LOCK TABLE held NOWAIT")
            return True
        return False

    def terminate(self) -> None:
        """End what was left behind."""
        for pid in self.sleeping():
            self.connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


@pytest.fixture
def watcher(ledger_url: str) -> Iterator[Watcher]:
    """A watcher, and a table to be locked; no schema of the ledger yet."""
    watcher = Watcher(ledger_url)
    with closing(watcher.connection):
        watcher.connection.execute("CREATE TABLE IF NOT EXISTS held ()")
        watcher.connection.execute("DROP SCHEMA IF EXISTS rollback CASCADE")
        yield watcher
        watcher.terminate()


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


async def test_a_server_that_freezes_is_given_up(
    ledger_url: str, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that neither answers nor obeys holds us for a bounded time."""
    monkeypatch.setattr(database, "GRACE_SECONDS", 0.4)
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


async def test_a_busy_ledger_is_unreachable(ledger_url: str, watcher: Watcher) -> None:
    """A table that somebody has locked costs the statement's timeout, not more."""
    ledger = PostgresLedger(ledger_url, statement_timeout_seconds=0.3)
    await ledger.record(a_version())
    with watcher.connection.transaction():
        watcher.connection.execute("LOCK TABLE rollback.deployment_history")
        began = anyio.current_time()
        with pytest.raises(LedgerUnreachable, match="statement timeout"):
            await ledger.find("dpl_good", "production")
        assert anyio.current_time() - began < 5


async def test_claims_that_queued_up_are_decided_one_by_one(
    ledger_url: str, watcher: Watcher
) -> None:
    """Claims that reach the table in the same moment still have one winner."""
    ledger = PostgresLedger(ledger_url)
    assert await ledger.incident("none") is None
    refused: list[AlreadyRollingBack] = []

    async def claim(name: str) -> None:
        try:
            await ledger.open_incident(an_incident(name), lease_seconds=60)
        except AlreadyRollingBack as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        with watcher.connection.transaction():
            watcher.connection.execute("LOCK TABLE rollback.incidents")
            for number in range(4):
                tasks.start_soon(claim, f"inc_{number}")
            with anyio.fail_after(4):
                while watcher.waiting() < 4:  # noqa: ASYNC110 - in another process
                    await anyio.sleep(0.02)
    assert len(refused) == 3
    assert len(await ledger.incidents("production", limit=9)) == 1


async def test_many_first_calls_create_one_schema(
    ledger_url: str, watcher: Watcher
) -> None:
    """Whoever comes first creates the tables, also when all come at once."""
    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(PostgresLedger(ledger_url).record, a_version())
    count = watcher.connection.execute(
        "SELECT count(*) FROM rollback.deployment_history"
    )
    assert count.fetchone() == (1,)


async def test_the_tables_are_the_spec_s(ledger_url: str, watcher: Watcher) -> None:
    """`deployment_history` has the spec's fields, so that anybody can query them."""
    await PostgresLedger(ledger_url).record(a_version())
    (row,) = watcher.connection.execute(
        """SELECT id, "timestamp", git_sha, vercel_deployment_id, db_migration_version,
        environment_variables, health_check_status FROM rollback.deployment_history"""
    )
    sha = "a" * 40
    assert row == ("record", AT, sha, "dpl_good", "003", {}, "unknown")


async def test_a_journal_entry_is_durable(ledger_url: str, watcher: Watcher) -> None:
    """An entry can be seen by others as soon as `append` has returned."""
    ledger = PostgresLedger(ledger_url)
    await ledger.open_incident(an_incident(), lease_seconds=60)
    entry = JournalEntry(at=AT, event="begun", detail="a \0 in a vendor's answer")
    await ledger.append("inc_1", entry)
    (row,) = watcher.connection.execute("SELECT event, detail FROM rollback.journal")
    assert row == ("begun", "a  in a vendor's answer")


async def test_a_nul_does_not_lose_an_incident(
    ledger_url: str, watcher: Watcher
) -> None:
    """PostgreSQL holds no NUL; an incident that quotes one is saved without it."""
    del watcher  # for its empty schema
    ledger = PostgresLedger(ledger_url)
    await ledger.save_incident(an_incident(detail="a\0b \\u0000"))
    found = await ledger.incident("inc_1")
    assert found is not None
    assert found.detail == "ab \\u0000"


async def test_nobody_at_the_address_is_unreachable() -> None:
    """The error names server and database, and no password."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/wedsync"
    with pytest.raises(LedgerUnreachable) as caught:
        await PostgresLedger(url).find("dpl_good", "production")
    assert f"127.0.0.1:{port}/wedsync" in caught.value.message
    assert PASSWORD not in _everything(caught.value)


async def test_a_wrong_password_is_unreachable(ledger_url: str) -> None:
    """A refused login is told as the server words it, without what was tried."""
    url = make_conninfo(ledger_url, password=PASSWORD)
    with pytest.raises(LedgerUnreachable, match="authentication") as caught:
        await PostgresLedger(url).find("dpl_good", "production")
    assert PASSWORD not in _everything(caught.value)


async def test_a_silent_server_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes connections and says nothing is given up in time."""
    monkeypatch.setattr(database, "CONNECT_SECONDS", 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        ledger = PostgresLedger(f"postgresql://me@127.0.0.1:{port}/wedsync")
        with anyio.fail_after(5), pytest.raises(LedgerUnreachable):
            await ledger.find("dpl_good", "production")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{PASSWORD}@host:port/x",
        f"postgresql://me:p@{PASSWORD}@host/x",
        f"postgresql://me:{PASSWORD}/more@host/x",
        f"postgresql://me:{PASSWORD}%zz@host/x",
        f"me:{PASSWORD}@host",
        f"postgresql://me:{PASSWORD}@host/x?pgbouncer=true",
    ],
)
async def test_an_unreadable_address_is_not_repeated(url: str) -> None:
    """An address that cannot be read is refused without showing its password."""
    with pytest.raises(SettingsInvalid) as caught:
        PostgresLedger(url)
    assert PASSWORD not in _everything(caught.value)


def a_version() -> DeploymentVersion:
    """A deployment without anything special."""
    return DeploymentVersion(
        id="record",
        deployment_id="dpl_good",
        environment="production",
        timestamp=AT,
        git_sha="a" * 40,
        db_migration_version="003",
    )


def an_incident(name: str = "inc_1", *, detail: str = "") -> Incident:
    """An incident as it is opened."""
    return Incident(
        id=name,
        environment="production",
        from_deployment="dpl_bad",
        to_deployment="dpl_good",
        reason="error rate",
        opened_at=AT,
        detail=detail,
    )


def _everything(error: BaseException | None) -> str:
    """All that a traceback would show of an error and its causes."""
    shown = ""
    while error is not None:
        shown += f"{error!r} {error}\n"
        error = error.__cause__ or (
            None if error.__suppress_context__ else error.__context__
        )
    return shown
