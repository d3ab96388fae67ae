"""Counts from a real Prometheus, which scrapes a real exporter."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from rollback.adapters.clock import SystemClock
from rollback.adapters.prometheus import Prometheus, Queries
from rollback.errors import SourceDown
from rollback.model import Counts, PlatformDeployment
from rollback.observe import Observer

from .prometheus_server import Exporter, free_port, running

pytestmark = pytest.mark.anyio

STEP = 2
PATIENCE_S = 20.0


@pytest.fixture
def anyio_backend() -> str:
    """The adapter's own."""
    return "asyncio"


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    """Something to scrape."""
    exporter = Exporter(free_port())
    exporter.start()
    yield exporter
    exporter.stop()


@pytest.fixture(scope="module")
def url(exporter: Exporter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus."""
    folder: Path = tmp_path_factory.mktemp("prometheus")
    with running(folder, exporter=exporter.port) as url:
        exporter.wait_for_scrape()
        yield url


def deployment(name: str) -> PlatformDeployment:
    """A deployment of which only the id and the commit matter here."""
    return PlatformDeployment(
        id=name,
        url="http://127.0.0.1:1",
        git_sha="a" * 40,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ready=True,
        candidate=True,
        served=True,
    )


def connect(url: str, **changed: Any) -> Prometheus:
    """An adapter that need not wait long."""
    settings: dict[str, Any] = {
        "clock": SystemClock(),
        "step_seconds": STEP,
        "delay_seconds": 1,
        "timeout_seconds": 15.0,  # nothing here is about a machine that is busy
    }
    return Prometheus(url, **{**settings, **changed})


class Looks:
    """Looks at a deployment as the engine does, and keeps what it was told."""

    def __init__(self, source: Prometheus, name: str, *, back_seconds: int = 4) -> None:
        self.began = math.floor(SystemClock().now().timestamp()) - back_seconds
        self.counts: list[Counts] = []
        self._observer = Observer(
            deployment(name),
            None,
            sources=[source],
            errors=[],
            clock=SystemClock(),
            environment="production",
            codes=(),
            since=SystemClock().now(),
            back_seconds=back_seconds,
            window_seconds=300,
            silence_seconds=30,
            error_poll_seconds=1,
        )
        self.problem: str | None = None
        self.until = 0

    def total(self) -> tuple[int, int, int]:
        """All requests, and how many failed and were slow."""
        return (
            sum(c.requests for c in self.counts),
            sum(c.failed for c in self.counts),
            sum(c.slow for c in self.counts),
        )

    async def look(self) -> None:
        """Take in what is new."""
        async with self._observer.watching():
            seen = await self._observer.look()
        self.counts.extend(seen.counts)
        (state,) = seen.sources
        self.problem, self.until = state.problem, seen.until
        await anyio.sleep(0.2)

    async def find(self, *total: int) -> None:
        """Look until so much was counted, and then for a bucket more."""
        with anyio.fail_after(PATIENCE_S):
            while self.total() != total:
                await self.look()
                assert self.total() <= total, self.counts
            await self.past(self.until + STEP)
        assert self.total() == total

    async def past(self, second: int) -> None:
        """Look until a second has been asked for."""
        with anyio.fail_after(PATIENCE_S):
            while self.until <= second:
                await self.look()


async def test_counts_add_up_to_what_was_exposed(url: str, exporter: Exporter) -> None:
    """All requests are counted once, of this deployment alone, failed and slow ones."""
    looks = Looks(connect(url), "dpl_bad")
    exporter.request("dpl_bad", times=1)
    for _ in range(3):
        exporter.request("dpl_bad", times=7)
        exporter.request("dpl_bad", code=503, times=2)
        exporter.request("dpl_bad", code=404, seconds=4, times=3)
        exporter.request("dpl_good", times=1000)
        await anyio.to_thread.run_sync(exporter.wait_for_scrape)
        await looks.look()
    await looks.find(37, 6, 9)


async def test_a_bucket_is_one_batch(url: str, exporter: Exporter) -> None:
    """What is counted stands on buckets' last seconds, and each second comes once."""
    looks = Looks(connect(url, step_seconds=3), "dpl_batch")
    for _ in range(8):
        exporter.request("dpl_batch", times=3)
        await anyio.to_thread.run_sync(exporter.wait_for_scrape)
        await looks.look()
    await looks.past(looks.until + 4)
    seconds = [counts.second for counts in looks.counts]
    assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
    filled = [counts.second for counts in looks.counts if counts.requests]
    assert filled
    assert {second % 3 for second in filled} == {2}


async def test_the_first_failures_of_a_release_count(
    url: str, exporter: Exporter
) -> None:
    """A series that has just appeared counts from zero, which `increase()` does not."""
    looks = Looks(connect(url), "dpl_first")
    exporter.request("dpl_first", times=5)
    await anyio.to_thread.run_sync(exporter.wait_for_scrape)
    exporter.request("dpl_first", code=500, times=4)
    await looks.find(9, 4, 0)


async def test_a_restarted_app_counts_on(url: str, exporter: Exporter) -> None:
    """A counter that begins again loses nothing that was scraped and adds nothing."""
    looks = Looks(connect(url), "dpl_restarted")
    exporter.request("dpl_restarted", times=50)
    exporter.request("dpl_restarted", code=500, times=5)
    await anyio.to_thread.run_sync(exporter.wait_for_scrape)
    exporter.stop()
    exporter.start()
    exporter.request("dpl_restarted", times=20)
    exporter.request("dpl_restarted", code=500, seconds=9, times=1)
    await looks.find(76, 6, 1)


async def test_no_traffic_is_zero(url: str, exporter: Exporter) -> None:
    """While the app is scraped and gets no request, seconds are there and empty."""
    exporter.request("dpl_idle")
    exporter.wait_for_scrape()
    looks = Looks(connect(url), "dpl_idle", back_seconds=0)
    await looks.past(looks.began + 3 * STEP)
    assert looks.problem is None
    last = looks.counts[-1]
    assert last == Counts(second=last.second)
    assert last.second >= looks.until - 5


async def test_an_app_that_is_gone_is_silent(url: str, exporter: Exporter) -> None:
    """When nothing is scraped any more, the seconds are absent, and it is not down."""
    looks = Looks(connect(url), "dpl_gone")
    exporter.request("dpl_gone", times=3)
    await looks.find(3, 0, 0)
    exporter.stop()
    stopped = math.floor(SystemClock().now().timestamp())
    try:
        await looks.past(stopped + 2 * STEP)
    finally:
        exporter.start()
    assert looks.counts[-1].second < stopped + STEP
    assert looks.problem is None


async def test_an_unknown_deployment_is_silent(url: str) -> None:
    """A deployment without a series has no seconds, and its name widens no query."""
    now = math.floor(SystemClock().now().timestamp())
    for name in ("dpl_nobody", 'x"} or vector(1) or up{job="shop', "a\\", "'\n`é"):
        found = await connect(url).counts(deployment(name), since=now - 60, until=now)
        assert found == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"failed": 'sum(x{d="{{deployment}}"}'}, "ROLLBACK_PROMETHEUS_FAILED"),
        ({"requests": 'http_requests_total{deployment="{{deployment}}"}'}, r"sum\("),
        ({"failed": 'sum(nothing{d="{{ deployment }}"})'}, "how many of them failed"),
        ({"slow": 'sum(nothing{d="{{git_sha}}"})'}, "how many of them slow"),
    ],
)
async def test_a_wrong_query_is_told(
    url: str, exporter: Exporter, wrong: dict[str, str], said: str
) -> None:
    """A query that is refused, is no sum or says nothing is down, and never healthy."""
    looks = Looks(connect(url, queries=Queries(**wrong)), "dpl_asked")
    exporter.request("dpl_asked", times=2)
    exporter.request("dpl_asked", code=500, times=2)
    with anyio.fail_after(PATIENCE_S):
        while looks.problem is None:
            await looks.look()
    assert looks.total() == (0, 0, 0)
    assert re.search(said, looks.problem)


async def test_queries_of_one_s_own_are_asked(url: str, exporter: Exporter) -> None:
    """`increase()` serves as well: it guesses, so that its sums are near and whole."""
    own = Queries(
        requests='sum(increase(http_requests_total{deployment="{{deployment}}"}[2s]))',
        failed='0 * sum(http_requests_total{deployment="{{deployment}}"})',
        slow='2 * sum(http_requests_total{deployment="{{deployment}}"})',
    )
    exporter.request("dpl_own", times=100)
    exporter.wait_for_scrape()
    looks = Looks(connect(url, queries=own), "dpl_own", back_seconds=0)
    exporter.request("dpl_own", times=100)
    with anyio.fail_after(PATIENCE_S):
        while not looks.total()[0]:
            await looks.look()
    requests, failed, slow = looks.total()
    assert failed == 0
    assert slow == requests


async def test_an_address_of_something_else_is_told(exporter: Exporter) -> None:
    """An HTTP server that is no Prometheus is down, with what to set right."""
    now = math.floor(SystemClock().now().timestamp())
    source = connect(f"http://user:s3cret@127.0.0.1:{exporter.port}/path")
    with pytest.raises(SourceDown, match="PROMETHEUS_URL") as caught:
        await source.counts(deployment("dpl"), since=now - 60, until=now)
    assert "s3cret" not in caught.value.message
