"""The counters in Redis: silent apart from zero, with the app on the practice stack."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime

import anyio
import pytest
from redis import Redis

from rollback.adapters.memory import FixedClock
from rollback.adapters.probes import HttpSite
from rollback.adapters.redis import RedisCounters
from rollback.model import Counts, Observation, PlatformDeployment
from rollback.observe import Observer
from stack.backends import Stack
from tests.integration.processes import until

pytestmark = [pytest.mark.anyio, pytest.mark.redis]

SECRET = "VERCEL_AUTOMATION_BYPASS_SECRET"
SILENCE = 30
DEADLINE = 20


@pytest.fixture
def anyio_backend() -> str:
    """Real adapters need asyncio."""
    return "asyncio"


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    """Redis, directly."""
    with closing(Redis.from_url(stack.addresses["redis"])) as client:
        yield client


@pytest.fixture
def source(stack: Stack) -> RedisCounters:
    """The engine's reader."""
    return RedisCounters(stack.addresses["redis"])


@pytest.fixture
def site(stack: Stack) -> HttpSite:
    """The engine's way to the app: its requests are the engine's probes."""
    return HttpSite(bypass_secret=stack.environment[SECRET])


def deployment(stack: Stack, release: str) -> PlatformDeployment:
    """A release of the practice stack."""
    return PlatformDeployment(
        id=stack.deployments[release],
        url=stack.deployment_urls[release],
        git_sha=stack.git_shas[release],
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ready=True,
        candidate=True,
        served=True,
    )


async def probe(site: HttpSite, which: PlatformDeployment, path: str) -> None:
    """Send one probe, which is answered whatever is the matter with the counters."""
    answer = await site.request(
        "GET", f"{which.url}{path}", timeout_seconds=DEADLINE, protected=True
    )
    assert answer.status is not None


async def spoken(
    source: RedisCounters, which: PlatformDeployment, since: int
) -> tuple[Counts, ...]:
    """What the deployment has said since then, once it has spoken."""
    with anyio.fail_after(DEADLINE):
        while True:
            until_now = int(time.time()) + 1
            found = await source.counts(which, since=since, until=until_now)
            if found:
                return found
            await anyio.sleep(0.02)


async def look(
    source: RedisCounters,
    which: PlatformDeployment,
    *,
    since: int,
    after: int,
    done: Callable[[Observation], bool] = lambda _: True,
) -> Observation:
    """What an observer that began at one second sees when another is just over."""
    clock = FixedClock(datetime.fromtimestamp(since, UTC))
    observer = Observer(
        which,
        None,
        sources=[source],
        errors=[],
        clock=clock,
        environment="production",
        codes=(),
        since=clock.at,
        window_seconds=10 * SILENCE,
        silence_seconds=SILENCE,
        error_poll_seconds=1,
    )
    clock.at = datetime.fromtimestamp(after + source.lag_seconds + 1, UTC)
    async with observer.watching():
        with anyio.fail_after(DEADLINE):
            while not done(seen := await observer.look()):
                pass  # a busy machine may not have read it within a look's patience
    return seen


@pytest.mark.parametrize("path", ["/", "/api/health"])
async def test_with_probes_alone_the_source_speaks_and_counts_zero(
    fresh: Stack, source: RedisCounters, site: HttpSite, path: str
) -> None:
    """Nobody came, and the observer knows that the counter would have said so."""
    which, began = deployment(fresh, "v1"), int(time.time())
    await probe(site, which, path)

    found = await spoken(source, which, began)

    assert all(each == Counts(second=each.second) for each in found)
    last = found[-1].second
    seen = await look(
        source,
        which,
        since=last - SILENCE,
        after=last,
        done=lambda seen: bool(seen.counts),
    )
    # Without this second it would have been silent for one second too many.
    assert [state.problem for state in seen.sources] == [None]
    assert seen.counts[-1] == Counts(second=last)


async def test_without_any_request_the_source_is_silent(
    fresh: Stack, source: RedisCounters
) -> None:
    """No probe, no visitor: no second is there, and the observer says for how long."""
    which, now = deployment(fresh, "v1"), int(time.time())

    seen = await look(source, which, since=now, after=now + 2 * SILENCE)

    assert await source.counts(which, since=now, until=now + 2 * SILENCE) == ()
    assert seen.counts == ()
    (state,) = seen.sources
    assert state.problem is not None
    assert "has been silent" in state.problem


async def test_an_app_that_has_lost_redis_is_silent(
    fresh: Stack, source: RedisCounters, site: HttpSite
) -> None:
    """It answers its probes and can say nothing: that is not zero."""
    which, began = deployment(fresh, "v2"), int(time.time())
    fault = fresh.faults.inject("refused", "v2", "redis")
    try:
        fault.prove()
        while (answered := int(time.time())) < began + 2:  # in more seconds than one
            await probe(site, which, "/")
        # What could not be written for a second is dropped, so that it is no late news.
        await anyio.to_thread.run_sync(
            until, lambda: time.time() > answered + 2, "its counts are dropped"
        )
    finally:
        fault.heal()
    await probe(site, which, "/")

    found = await spoken(source, which, began)

    assert found[0].second > answered
    seen = await look(source, which, since=answered - SILENCE, after=answered)
    assert seen.counts == ()
    (state,) = seen.sources
    assert state.problem is not None
    assert "has been silent" in state.problem


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"requests": 0}, (Counts(second=0),)),
        ({"requests": 0, "failed": 0, "slow": 0}, (Counts(second=0),)),
        ({"requests": 2}, (Counts(second=0, requests=2),)),
        ({"another": 1}, ()),
    ],
)
async def test_a_zero_has_spoken_and_a_missing_field_is_zero(
    source: RedisCounters,
    redis: Redis,
    fields: dict[str, int],
    expected: tuple[Counts, ...],
) -> None:
    """A writer may leave out what is zero, but for `requests`."""
    which = PlatformDeployment(
        id="dpl_contract_zero",
        url="http://127.0.0.1:1",
        git_sha="a" * 40,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ready=True,
        candidate=True,
        served=True,
    )
    redis.delete(f"requests:{which.id}:0")
    for field, value in fields.items():
        redis.hincrby(f"requests:{which.id}:0", field, value)

    assert await source.counts(which, since=0, until=1) == expected
