"""What only the ledger in PostgreSQL has to promise: its tables, its errors."""

import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest
from psycopg.conninfo import make_conninfo

from rollback import transactions
from rollback.adapters.postgres import PostgresLedger
from rollback.errors import (
    AlreadyRollingBack,
    BadInput,
    LedgerOutdated,
    LedgerUnreachable,
    SettingsInvalid,
)
from rollback.model import HealthStatus, JournalEntry

from .conftest import Watcher
from .examples import AT, an_incident, later, version

PASSWORD = "s3cret-word"

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def kind() -> str:
    """Only the real adapter."""
    return "real"


async def test_a_busy_ledger_is_unreachable(ledger_url: str, watcher: Watcher) -> None:
    """A table that somebody has locked costs the statement's timeout, not more."""
    ledger = PostgresLedger(ledger_url, statement_timeout_seconds=0.3)
    await ledger.record(version())
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
            tasks.start_soon(PostgresLedger(ledger_url).record, version())
    count = watcher.connection.execute(
        "SELECT count(*) FROM rollback.deployment_history"
    )
    assert count.fetchone() == (1,)


async def test_the_tables_are_the_spec_s(ledger_url: str, watcher: Watcher) -> None:
    """`deployment_history` has the spec's fields, so that anybody can query them."""
    await PostgresLedger(ledger_url).record(version())
    (row,) = watcher.connection.execute(
        """SELECT id, "timestamp", git_sha, vercel_deployment_id, db_migration_version,
        environment_variables, health_check_status FROM rollback.deployment_history"""
    )
    known = version()
    variables = {"DATABASE_URL": None, "SITE": "f00d"}
    facts = (known.id, AT, known.git_sha, "dpl_good", "003", variables, "unknown")
    assert row == facts


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
    await ledger.save_incident(replace(an_incident(), detail="a\0b \\u0000"))
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
    monkeypatch.setattr(transactions, "CONNECT_SECONDS", 0)
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


def _everything(error: BaseException | None) -> str:
    """All that a traceback would show of an error and its causes."""
    shown = ""
    while error is not None:
        shown += f"{error!r} {error}\n"
        error = error.__cause__ or (
            None if error.__suppress_context__ else error.__context__
        )
    return shown


async def test_a_ledger_from_before_the_api_had_a_part_is_brought_up_to_date(
    ledger_url: str, watcher: Watcher
) -> None:
    """Old records are the application's; bringing it up to date twice is no change."""
    await PostgresLedger(ledger_url).record(version())
    watcher.connection.execute(
        "ALTER TABLE rollback.deployment_history DROP COLUMN part"
    )
    for _ in range(2):
        ledger = PostgresLedger(ledger_url)
        found = await ledger.history("production", limit=9, part="application")
        assert found == (version(),)
    assert await ledger.history("production", limit=9, part="api") == ()


@pytest.fixture
async def clerk_url(ledger_url: str, watcher: Watcher) -> AsyncIterator[str]:
    """A whole ledger, for a user who has the rights on its rows and no others."""
    await PostgresLedger(ledger_url).record(version())
    run = watcher.connection.execute
    run(f"CREATE ROLE clerk LOGIN PASSWORD '{PASSWORD}'")
    run("GRANT USAGE ON SCHEMA rollback TO clerk")
    run(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rollback TO clerk"
    )
    yield make_conninfo(ledger_url, user="clerk", password=PASSWORD)
    run("DROP OWNED BY clerk")
    run("DROP ROLE clerk")


async def test_who_may_not_create_goes_on_without_an_index(
    clerk_url: str, watcher: Watcher
) -> None:
    """What only makes it quick is no reason to do without the ledger."""
    watcher.connection.execute("DROP INDEX rollback.deployment_history_of_part")
    ledger = PostgresLedger(clerk_url)
    await ledger.record(version("dpl_new", at=later(1)))
    await ledger.set_health("dpl_new", "production", HealthStatus.PASSING, AT)
    await ledger.open_incident(an_incident(), lease_seconds=60)
    found = await ledger.history("production", limit=9)
    assert [d.deployment_id for d in found] == ["dpl_new", "dpl_good"]


@pytest.mark.parametrize(
    "older",
    [
        "ALTER TABLE rollback.deployment_history DROP COLUMN part",
        "ALTER TABLE rollback.deployment_history DROP COLUMN backward_compatible",
        "DROP TABLE rollback.schema_versions",
        "DROP TABLE rollback.journal",
        "DROP SCHEMA rollback CASCADE",
    ],
)
async def test_who_may_not_bring_it_up_to_date_is_told_who_may(
    older: str, clerk_url: str, ledger_url: str, watcher: Watcher
) -> None:
    """It is not down: waiting helps nobody. Once its owner came by, it goes on."""
    watcher.connection.execute(older)
    with pytest.raises(LedgerOutdated, match="missing or outdated") as caught:
        await PostgresLedger(clerk_url).history("production", limit=9)
    assert isinstance(caught.value, BadInput)
    assert "rollback doctor" in caught.value.mend

    await PostgresLedger(ledger_url).writable()
    watcher.connection.execute("GRANT USAGE ON SCHEMA rollback TO clerk")
    watcher.connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA rollback TO clerk")
    await PostgresLedger(clerk_url).history("production", limit=9)
