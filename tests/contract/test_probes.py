"""What the active source of the port `MetricSource` promises: an open loop."""

from collections.abc import Callable
from datetime import UTC, datetime

import anyio
import pytest

from rollback.adapters.clock import SystemClock
from rollback.adapters.memory import AnyioClock, MemorySite, SiteRequest
from rollback.adapters.probes import HttpSite, Probes
from rollback.errors import BadInput, SourceDown
from rollback.model import Answer, Counts, PlatformDeployment
from rollback.ports import Clock, Site
from stack.backends import Stack

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = int(START.timestamp())
TIMEOUT = 5.0
NEVER = 99.0


@pytest.fixture
def kind() -> str:
    """On trio, whose clock jumps; where a real site is probed, on asyncio."""
    return "memory-trio"


def deployment(url: str = "http://v2.test") -> PlatformDeployment:
    """A deployment of which the address matters."""
    return PlatformDeployment(
        id="dpl_v2",
        url=url,
        git_sha="a" * 40,
        created_at=START,
        ready=True,
        candidate=True,
        served=True,
    )


V2 = deployment()


def answering(
    *, health: Answer | None = None, page: Answer | None = None
) -> Callable[[SiteRequest], Answer]:
    """A site that is well but for what is given."""
    good = Answer(status=200, seconds=0.05)

    def answer(request: SiteRequest) -> Answer:
        assert request.protected
        if request.url == "http://v2.test/api/health":
            return health or good
        assert request.url == "http://v2.test/page"
        return page or good

    return answer


def probes(site: Site, clock: Clock, *, rate: float = 2.0) -> Probes:
    """Probes as they are by default."""
    return Probes(
        site,
        clock=clock,
        rate=rate,
        path="/page",
        slow_ms=3000,
        timeout_seconds=TIMEOUT,
    )


async def watched(
    answer: Callable[[SiteRequest], Answer], seconds: float, *, rate: float = 2.0
) -> list[Counts]:
    """What was counted until then."""
    source = probes(MemorySite(answer), AnyioClock(START), rate=rate)
    async with source.watching(V2):
        await anyio.sleep(seconds)
        found = await source.counts(V2, since=SECOND, until=SECOND + 3600)
    return list(found)


async def test_a_healthy_site_is_counted_steadily() -> None:
    """Each second holds `rate` requests and `rate` probes, and nothing bad."""
    found = await watched(answering(), 10)
    assert found == [Counts(second=SECOND + n, requests=2, probes=2) for n in range(10)]


async def test_a_slow_site_is_asked_as_often() -> None:
    """Answers that take long do not thin the sample: the loop is open."""
    site = MemorySite(answering(page=Answer(status=200, seconds=4.0)))
    source = probes(site, AnyioClock(START), rate=4)
    async with source.watching(V2):
        await anyio.sleep(9.9)
    pages = [each for each in site.asked if each.url.endswith("/page")]
    assert len(pages) == 40


async def test_an_outcome_counts_when_it_is_known() -> None:
    """A slow answer is of the second in which it came, with its badness."""
    found = await watched(answering(page=Answer(status=200, seconds=4.0)), 6)
    assert [(c.second - SECOND, c.requests, c.slow, c.failed) for c in found] == [
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (2, 0, 0, 0),
        (3, 0, 0, 0),
        (4, 2, 2, 0),
        (5, 2, 2, 0),
    ]
    assert all((c.probes, c.unavailable) == (2, 0) for c in found)


@pytest.mark.parametrize(
    ("page", "failed", "slow"),
    [
        (Answer(status=500, seconds=0.1), 1, 0),
        (Answer(status=502, seconds=3.1), 1, 1),
        (Answer(status=200, seconds=3.1), 0, 1),
        (Answer(status=200, seconds=2.9), 0, 0),
        (Answer(status=404, seconds=0.1), 0, 0),
        (Answer(status=None, seconds=0.1, problem="refused"), 1, 0),
        (Answer(status=200, seconds=NEVER), 1, 1),
    ],
)
async def test_a_page_is_judged(page: Answer, failed: int, slow: int) -> None:
    """Failed is 500 and above or no answer; slow is too long or not finished."""
    found = await watched(answering(page=page), 10, rate=1)
    requests = sum(c.requests for c in found)
    assert requests >= 5
    assert sum(c.failed for c in found) == failed * requests
    assert sum(c.slow for c in found) == slow * requests
    assert sum(c.unavailable for c in found) == 0


@pytest.mark.parametrize(
    "health",
    [
        Answer(status=503, seconds=0.1),
        Answer(status=404, seconds=0.1),
        Answer(status=None, seconds=0.1, problem="refused"),
        Answer(status=200, seconds=NEVER),
    ],
)
async def test_only_a_timely_200_is_available(health: Answer) -> None:
    """Whatever else the health check does, the site counts as unavailable."""
    found = await watched(answering(health=health), 10, rate=1)
    assert sum(c.probes for c in found) >= 5
    assert [c.unavailable for c in found] == [c.probes for c in found]
    assert sum(c.failed + c.slow for c in found) == 0


async def test_a_closed_second_never_changes() -> None:
    """What was read of a second once is what is read of it for ever."""
    slowly = iter(range(10_000))

    def answer(request: SiteRequest) -> Answer:
        status = 500 if request.url.endswith("/page") else 200
        return Answer(status=status, seconds=(next(slowly) * 0.37) % 6)

    source = probes(MemorySite(answer), AnyioClock(START), rate=7)
    seen: dict[int, Counts] = {}
    async with source.watching(V2):
        for _ in range(100):
            await anyio.sleep(0.13)
            for counts in await source.counts(V2, since=SECOND, until=SECOND + 99):
                assert seen.setdefault(counts.second, counts) == counts
    assert len(seen) > 5


async def test_the_running_second_is_not_told() -> None:
    """A second is told when it is over."""
    found = await watched(answering(), 2.9)
    assert [c.second - SECOND for c in found] == [0, 1]


async def test_the_end_of_the_context_is_the_end() -> None:
    """When the context closes, nothing is sent and nothing waited for any more."""
    site = MemorySite(answering(page=Answer(status=200, seconds=4.0)))
    source = probes(site, AnyioClock(START))
    began = anyio.current_time()
    async with source.watching(V2):
        await anyio.sleep(1.9)
    assert anyio.current_time() - began == pytest.approx(1.9)
    asked = len(site.asked)
    await anyio.sleep(10)
    assert len(site.asked) == asked


async def test_an_error_passes_through() -> None:
    """What is raised inside the context comes out as it was."""
    source = probes(MemorySite(answering()), AnyioClock(START))
    with pytest.raises(BadInput, match="as it was"):  # noqa: PT012 - that is the claim
        async with source.watching(V2):
            await anyio.sleep(1)
            raise BadInput("as it was")


async def test_a_collector_that_breaks_is_no_bad_health() -> None:
    """A probe that crashes makes the source down, and counts as nothing."""

    def crash(request: SiteRequest) -> Answer:
        raise RuntimeError(f"a bug, at {request.url}")

    source = probes(MemorySite(crash), AnyioClock(START))
    async with source.watching(V2):
        await anyio.sleep(3)
        with pytest.raises(SourceDown, match="a bug"):
            await source.counts(V2, since=SECOND, until=SECOND + 99)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("paths", [("/api/health",), ("/api/health", "/page")])
async def test_a_locked_address_is_no_bad_health(
    status: int, paths: tuple[str, ...]
) -> None:
    """An address that the secret does not open counts as nothing, and says why."""

    def locked(request: SiteRequest) -> Answer:
        shut = request.url.endswith(paths)
        return Answer(status=status if shut else 200, seconds=0.05)

    source = probes(MemorySite(locked), AnyioClock(START))
    async with source.watching(V2):
        await anyio.sleep(3)
        with pytest.raises(SourceDown, match=f"answered {status}: .*_SECRET"):
            await source.counts(V2, since=SECOND, until=SECOND + 99)


async def test_an_address_that_opens_again_is_counted_again() -> None:
    """Once the secret is right the source is up; the locked seconds stay silent."""

    def opens(request: SiteRequest) -> Answer:
        assert request.protected
        return Answer(status=401 if anyio.current_time() < 2.9 else 200, seconds=0.01)

    found = await watched(opens, 6)
    assert [c.second - SECOND for c in found] == [3, 4, 5]
    assert all((c.failed, c.unavailable) == (0, 0) for c in found)


async def test_no_answer_does_not_prove_that_the_address_is_open() -> None:
    """What times out after a locked answer leaves the source down."""

    def locked(_: SiteRequest) -> Answer:
        late = anyio.current_time() > 2
        return Answer(status=None if late else 401, seconds=0.01)

    source = probes(MemorySite(locked), AnyioClock(START))
    async with source.watching(V2):
        await anyio.sleep(4)
        with pytest.raises(SourceDown, match="answered 401"):
            await source.counts(V2, since=SECOND, until=SECOND + 99)


async def test_a_page_of_the_apps_own_that_is_forbidden_hides_no_bad_health() -> None:
    """Where the health check opens, the secret is right: 403 is an ordinary answer."""
    found = await watched(
        answering(
            health=Answer(status=503, seconds=0.05),
            page=Answer(status=403, seconds=0.1),
        ),
        10,
    )
    total = sum(found, start=Counts(second=0))
    assert (total.probes, total.unavailable) == (20, 20)
    assert total.requests >= 19
    assert total.failed == 0


async def test_what_was_not_watched_is_silent() -> None:
    """A deployment that nobody watched has no counts, which is not a good sign."""
    source = probes(MemorySite(answering()), AnyioClock(START))
    assert await source.counts(V2, since=SECOND, until=SECOND + 99) == ()
    assert (source.name, source.lag_seconds) == ("probes", 1)


@pytest.mark.parametrize("kind", ["real"])
async def test_a_real_deployment_is_probed(stack: Stack) -> None:
    """A deployment of the practice stack is measured at its own address."""
    secret = stack.environment["VERCEL_AUTOMATION_BYPASS_SECRET"]
    source = Probes(
        HttpSite(bypass_secret=secret),
        clock=SystemClock(),
        rate=5,
        path="/",
        slow_ms=3000,
        timeout_seconds=TIMEOUT,
    )
    target = deployment(stack.deployment_urls["v1"])
    since = int(SystemClock().now().timestamp())
    async with source.watching(target):
        await anyio.sleep(2.5)
        found = await source.counts(target, since=since, until=since + 60)
    total = sum(found, start=Counts(second=0))
    assert total.requests >= 5
    assert total.probes >= 5
    assert (total.failed, total.unavailable) == (0, 0)
