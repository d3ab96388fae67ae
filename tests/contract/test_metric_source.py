"""The contract of the port `MetricSource`, for sources that others feed."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import anyio
import pytest
from redis import Redis
from redis.exceptions import ResponseError

from rollback.adapters.memory import MemorySource
from rollback.adapters.redis import RedisCounters
from rollback.adapters.sentry_transactions import SentryTransactions
from rollback.errors import SettingsInvalid, SourceDown
from rollback.model import Counts, PlatformDeployment
from rollback.ports import MetricSource
from stack.backends import Stack

from . import tracing
from .conftest import KINDS

pytestmark = [pytest.mark.anyio, pytest.mark.redis]

SECOND = 1_800_000_000
PASSWORD = "s3cret-word"
Feed = Callable[[str, Counts], None]
real_only = pytest.mark.parametrize("kind", ["real"])
NOW = SECOND + 10_000  # for sources that wait for what comes late


def deployment(name: str) -> PlatformDeployment:
    """A deployment of which only the id, here the commit too, matters."""
    return PlatformDeployment(
        id=name,
        url="http://127.0.0.1:1",
        git_sha=name,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ready=True,
        candidate=True,
        served=True,
    )


BAD, GOOD = deployment("dpl_contract_bad"), deployment("dpl_contract_good")


@pytest.fixture(params=[*KINDS, "sentry"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which adapter the test runs on; the real one is Redis."""
    return str(request.param)


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    """The practice stack's Redis, without anything of this suite in it."""
    with Redis.from_url(stack.addresses["redis"], decode_responses=True) as redis:
        for key in redis.scan_iter("requests:dpl_contract_*"):
            redis.delete(key)
        yield redis


@pytest.fixture
def source(kind: str, request: pytest.FixtureRequest) -> MetricSource:
    """A source without any counts."""
    if kind.startswith("memory"):
        return MemorySource()
    stack: Stack = request.getfixturevalue("stack")
    if kind == "sentry":
        tracing.forget(stack.addresses["sentry"])
        return tracing.connect(stack, now=NOW)
    request.getfixturevalue("redis")
    return RedisCounters(stack.addresses["redis"])


@pytest.fixture
def feed(source: MetricSource, request: pytest.FixtureRequest) -> Feed:
    """Counts something, as the application does."""
    if isinstance(source, MemorySource):
        return source.add
    if isinstance(source, SentryTransactions):
        stack: Stack = request.getfixturevalue("stack")
        return tracing.Traced(stack.addresses["sentry"]).count
    redis: Redis = request.getfixturevalue("redis")

    def count(name: str, counts: Counts) -> None:
        for field in ("requests", "failed", "slow"):
            number = asdict(counts)[field]
            redis.hincrby(f"requests:{name}:{counts.second}", field, number)

    return count


async def test_counts_are_read_second_by_second(
    source: MetricSource, feed: Feed
) -> None:
    """The seconds from `since` up to, and without, `until` come in order."""
    for offset in (4, 1, 2, 0, 3):
        feed(BAD.id, Counts(second=SECOND + offset, requests=10 + offset))
    found = await source.counts(BAD, since=SECOND + 1, until=SECOND + 4)
    assert [(c.second - SECOND, c.requests) for c in found] == [
        (1, 11),
        (2, 12),
        (3, 13),
    ]


async def test_every_signal_is_read(source: MetricSource, feed: Feed) -> None:
    """Failed and slow requests are told apart, and what is of one second adds up."""
    feed(BAD.id, Counts(second=SECOND, requests=3, failed=2, slow=1))
    feed(BAD.id, Counts(second=SECOND, requests=1, failed=1))
    found = await source.counts(BAD, since=SECOND, until=SECOND + 1)
    assert found == (Counts(second=SECOND, requests=4, failed=3, slow=1),)


async def test_a_second_without_traffic_is_absent(
    source: MetricSource, feed: Feed
) -> None:
    """Silence is not a second with nothing bad in it."""
    feed(BAD.id, Counts(second=SECOND, requests=1))
    feed(BAD.id, Counts(second=SECOND + 2, requests=1))
    found = await source.counts(BAD, since=SECOND - 5, until=SECOND + 5)
    assert [c.second - SECOND for c in found] == [0, 2]
    assert await source.counts(BAD, since=SECOND, until=SECOND) == ()


async def test_deployments_are_counted_apart(source: MetricSource, feed: Feed) -> None:
    """The good deployment's traffic does not thin the bad one's errors."""
    feed(GOOD.id, Counts(second=SECOND, requests=100))
    feed(BAD.id, Counts(second=SECOND, requests=1, failed=1))
    found = await source.counts(BAD, since=SECOND, until=SECOND + 1)
    assert found == (Counts(second=SECOND, requests=1, failed=1),)


async def test_a_passive_source_can_be_watched(source: MetricSource) -> None:
    """To open the context is right for every source, and says who measures."""
    async with source.watching(BAD):
        assert await source.counts(BAD, since=SECOND, until=SECOND + 1) == ()
    assert source.name
    assert source.lag_seconds >= 0


async def test_a_source_that_is_down_says_so(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """A source that cannot be read is an error, and never looks like silence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    source: MetricSource
    if kind == "real":
        source = RedisCounters(f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
    elif kind == "sentry":
        stack: Stack = request.getfixturevalue("stack")
        url = f"http://127.0.0.1:{port}"
        source = tracing.connect(stack, now=NOW, url=url, token=PASSWORD)
    else:
        source = memory = MemorySource()
        memory.down = "127.0.0.1 is gone"
    with pytest.raises(SourceDown, match=r"127\.0\.0\.1") as caught:
        await source.counts(BAD, since=SECOND, until=SECOND + 1)
    assert PASSWORD not in caught.value.message


@real_only
async def test_a_silent_redis_is_given_up() -> None:
    """A server that takes the connection and says nothing costs the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        source = RedisCounters(url, timeout_seconds=0.3)
        with anyio.fail_after(3), pytest.raises(SourceDown):
            await source.counts(BAD, since=SECOND, until=SECOND + 1)


@real_only
@pytest.mark.parametrize("value", ["many", "1.5"])
async def test_what_is_no_number_is_not_read(
    source: MetricSource, redis: Redis, value: str
) -> None:
    """A counter that holds something else is told, not guessed at."""
    redis.hset(f"requests:{BAD.id}:{SECOND}", "requests", value)
    with pytest.raises(SourceDown):
        await source.counts(BAD, since=SECOND, until=SECOND + 1)


@real_only
async def test_a_key_of_another_kind_is_not_read(
    source: MetricSource, redis: Redis
) -> None:
    """A key that is no hash is told as Redis tells it."""
    redis.set(f"requests:{BAD.id}:{SECOND}", "1")
    with pytest.raises(SourceDown, match="WRONGTYPE"):
        await source.counts(BAD, since=SECOND, until=SECOND + 1)


@real_only
async def test_a_whole_window_is_one_round_trip(
    source: MetricSource, redis: Redis, feed: Feed
) -> None:
    """Half an hour of seconds is read at once, and no connection stays behind."""
    for offset in (0, 1799):
        feed(BAD.id, Counts(second=SECOND + offset, requests=1))
    before = connected(redis)
    found = await source.counts(BAD, since=SECOND, until=SECOND + 1800)
    assert len(found) == 2
    with anyio.fail_after(2):
        while connected(redis) > before:  # noqa: ASYNC110 - elsewhere
            await anyio.sleep(0.02)


def connected(redis: Redis) -> int:
    """How many clients the server has; skips where it has no way to say."""
    try:
        return int(redis.info("clients")["connected_clients"])
    except ResponseError as error:
        if "unknown command" not in str(error):
            raise
        pytest.skip("fakeredis cannot count its clients")


@real_only
@pytest.mark.parametrize(
    "url",
    [f"https://:{PASSWORD}@eu.upstash.io", f"redis://:{PASSWORD}/more@host:6379"],
)
async def test_an_unreadable_address_is_not_repeated(url: str) -> None:
    """An address that cannot be read is refused without showing its password."""
    with pytest.raises(SettingsInvalid) as caught:
        RedisCounters(url)
    assert PASSWORD not in caught.value.message
    assert caught.value.__suppress_context__
