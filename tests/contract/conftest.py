"""Each port has one suite, which runs on the adapter in memory and on the real one.

In memory it runs on asyncio and on trio, whose clock jumps over every sleep; the real
adapters run on asyncio against the practice stack.
"""

from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from trio.testing import MockClock

from rollback.adapters.memory import MemoryLedger
from rollback.adapters.postgres import PostgresLedger
from rollback.ports import Ledger
from stack.backends import Stack

SLEEPING = "SELECT pg_sleep(20)"
KINDS = ("memory", "memory-trio", "real")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which adapter the test runs on."""
    return str(request.param)


@pytest.fixture
def anyio_backend(kind: str) -> Any:
    """Real adapters need asyncio."""
    if kind == "memory-trio":
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return "asyncio"


@pytest.fixture(scope="session")
def ledger_url(stack: Stack) -> Iterator[str]:
    """A database of the suite's own, on the practice stack's server."""
    server = stack.addresses["postgres"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS contract WITH (FORCE)")
        connection.execute("CREATE DATABASE contract")
    yield make_conninfo(server, dbname="contract")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS contract WITH (FORCE)")


@pytest.fixture
def control() -> Iterator[httpx.Client]:
    """A client for the stand-ins' controls."""
    with httpx.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def ledger(kind: str, request: pytest.FixtureRequest) -> Ledger:
    """An empty ledger."""
    if kind != "real":
        return MemoryLedger()
    url = request.getfixturevalue("ledger_url")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS rollback CASCADE")
    return PostgresLedger(url)


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
