"""Each port has one suite, which runs on the adapter in memory and on the real one.

In memory it runs on asyncio and on trio, whose clock jumps over every sleep; the real
adapters run on asyncio against the practice stack.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from trio.testing import MockClock

from stack.backends import Stack

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
