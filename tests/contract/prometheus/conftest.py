"""A Prometheus that is played, and a clock that can be set."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from rollback.adapters.memory import FixedClock
from tests.contract.answering import Answering, answering

from .played import START, Server


@pytest.fixture
def anyio_backend() -> str:
    """The adapter's own."""
    return "asyncio"


@pytest.fixture
def server() -> Server:
    """Six buckets: 100 requests each, and as many failures as the bucket's number."""
    server = Server()
    for bucket in range(6):
        server.set(bucket, 100, bucket, 2 * bucket)
    return server


@pytest.fixture
def api(server: Server) -> Iterator[Answering]:
    """The server, listening."""
    with answering(server.reply) as api:
        yield api


@pytest.fixture
def clock() -> FixedClock:
    """A clock that has left all six buckets behind."""
    return FixedClock(datetime.fromtimestamp(START + 1000, UTC))
