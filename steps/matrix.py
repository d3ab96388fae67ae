"""Steps of the decision matrix that set the scene and let the engine watch.

The engine is the product's own; its world is in memory, and its clock jumps.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from pytest_bdd import given, parsers, when

from rollback.adapters.memory import MemorySite, MemorySource, SiteRequest
from rollback.adapters.probes import Probes
from rollback.engine import Ruling
from rollback.model import Answer, Counts
from rollback.testing import (
    Traffic,
    World,
    bursty,
    down,
    git_sha,
    silent,
    steady,
    switched,
)
from rollback.wiring import limits

from .matrix_scene import DEFAULTS, WINDOW, Scene, play

FOR_EVER = 10**9


@pytest.fixture
def case() -> Scene:
    """A scene in which nothing happens yet; the fixture `scene` is the schema's."""
    return Scene()


# -- given: traffic ---------------------------------------------------------------


@given(
    parsers.parse("{requests:d} requests and {probes:d} probes come to v2 in 5 minutes")
)
def come_in_all(case: Scene, requests: int, probes: int) -> None:
    """Spread evenly over the window."""
    case.totals = {"requests": requests, "probes": probes}


@given(parsers.parse("{bad:d} requests fail"))
def so_many_fail(case: Scene, bad: int) -> None:
    """Of those in all."""
    case.totals["failed"] = bad


@given(parsers.parse("{bad:d} requests are slow"))
def so_many_slow(case: Scene, bad: int) -> None:
    """Of those in all."""
    case.totals["slow"] = bad


@given(parsers.parse("{bad:d} probes go unanswered"))
def so_many_unanswered(case: Scene, bad: int) -> None:
    """Of those in all."""
    case.totals["unavailable"] = bad


@given(parsers.parse("{requests:d} requests and {probes:d} probes a second come to v2"))
def come_every_second(case: Scene, requests: int, probes: int) -> None:
    """The same in every second."""
    case.every = {"requests": requests, "probes": probes}


@given(parsers.parse("of every 10 requests {failed:d} fail and {slow:d} are slow"))
def requests_go_wrong(case: Scene, failed: int, slow: int) -> None:
    """In every second."""
    tens = case.every["requests"] // 10
    case.every |= {"failed": failed * tens, "slow": slow * tens}


@given(parsers.parse("of every 10 probes {bad:d} go unanswered"))
def probes_go_wrong(case: Scene, bad: int) -> None:
    """In every second."""
    case.every["unavailable"] = bad * case.every["probes"] // 10


@given(parsers.parse("of every 10 requests to v1 {bad:d} fail too"))
def stable_fails(case: Scene, bad: int) -> None:
    """v1 has no visitors any more: these are the probes' requests."""
    case.stable = steady(requests=10, probes=2, failed=bad)


@given(
    parsers.parse(
        "v2 is healthy, and its few failures come in bursts, by seed {seed:d}"
    )
)
def in_bursts(case: Scene, seed: int) -> None:
    """About one request in a hundred, half of a second's at a time."""
    case.turns.append(lambda _: bursty(seed))


@given(parsers.parse("every request fails from second {second:d} on"))
def all_fail(case: Scene, second: int) -> None:
    """The probes are answered as before."""

    def failing(usual: Traffic) -> Traffic:
        def failed(at: int) -> Counts | None:
            seen = usual(at)
            return seen and replace(seen, failed=seen.requests)

        return switched(second, usual, failed)

    case.turns.append(failing)


@given(parsers.parse("v2 is down from minute {minute:d} on"))
def down_from(case: Scene, minute: int) -> None:
    """Neither requests nor probes are answered any more."""
    case.turns.append(lambda usual: down(usual, minute * 60, FOR_EVER))


@given(parsers.parse("v2 is down for {seconds:d} seconds after {minutes:d} minutes"))
def down_for(case: Scene, seconds: int, minutes: int) -> None:
    """Neither requests nor probes are answered meanwhile."""
    since = minutes * 60
    case.turns.append(lambda usual: down(usual, since, since + seconds))


@given(
    parsers.parse("nothing is measured from second {begin:d} to second {end:d}"),
)
def not_measured(case: Scene, begin: int, end: int) -> None:
    """What happens there leaves no count."""
    case.turns.append(lambda usual: silent(usual, begin, end))


@given(parsers.parse("every page of v2 takes {ms:d} ms"))
def pages_take(case: Scene, ms: int) -> None:
    """Measured by the product's own probes, from outside."""

    def probed(world: World) -> None:
        def answer(request: SiteRequest) -> Answer:
            said = world.answer(request)
            slow = request.url == f"https://v2.example{DEFAULTS.probe_path}"
            return replace(said, seconds=ms / 1000) if slow else said

        probes = Probes(
            MemorySite(answer),
            clock=world.clock,
            rate=DEFAULTS.probe_rate,
            path=DEFAULTS.probe_path,
            slow_ms=DEFAULTS.response_time_ms,
            timeout_seconds=DEFAULTS.probe_timeout_seconds,
        )
        world.engine = replace(world.engine, sources=(probes,))

    case.at(0, probed)


# -- given: sources and releases --------------------------------------------------


@given(parsers.parse("v2 reports a {code:w} to Sentry after {second:d} seconds"))
def reports(case: Scene, code: str, second: int) -> None:
    """One event of its own commit, in production."""
    case.at(second, lambda w: w.errors.add(git_sha("v2"), code, w.clock.now()))


@given(
    parsers.re(
        r"Sentry holds (?P<count>\d+) (?P<code>\w+) of "
        r"(?P<origin>v1|v2|another release|v2 in staging|v2 from before its deploy)"
    ),
    converters={"count": int},
)
def sentry_holds(case: Scene, count: int, code: str, origin: str) -> None:
    """Events that are there when the watch begins."""
    release = {"v1": "v1", "another release": "v0"}.get(origin, "v2")
    environment = "staging" if "staging" in origin else "production"
    age = timedelta(seconds=60 if "before" in origin else 0)

    def hold(world: World) -> None:
        for _ in range(count):
            at = world.clock.now() - age
            world.errors.add(git_sha(release), code, at, environment=environment)

    case.at(0, hold)


@given(parsers.parse("Sentry is down from second {begin:d} to second {end:d}"))
def sentry_down(case: Scene, begin: int, end: int) -> None:
    """It cannot be asked meanwhile."""
    case.at(begin, lambda world: setattr(world.errors, "down", "connection lost"))
    case.at(end, lambda world: setattr(world.errors, "down", None))


@given(parsers.parse("Redis is down from second {begin:d} to second {end:d}"))
def redis_down(case: Scene, begin: int, end: int) -> None:
    """The app's counters cannot be read meanwhile."""
    redis = _redis(case, requests=5)
    case.at(begin, lambda _: setattr(redis, "down", "connection lost"))
    case.at(end, lambda _: setattr(redis, "down", None))


@given(
    parsers.parse(
        "Redis counts {requests:d} requests of users a second, of which {bad:d} fail"
    )
)
def redis_counts(case: Scene, requests: int, bad: int) -> None:
    """Beside what the probes see."""
    _redis(case, requests=requests, failed=bad)


def _redis(case: Scene, **counts: int) -> MemorySource:
    """The app's counters, which are read beside the probes."""
    redis = MemorySource("redis")

    def beside(world: World) -> None:
        world.engine = replace(world.engine, sources=(world.source, redis))
        now = int(world.clock.now().timestamp())
        for second in range(now, now + WINDOW):
            redis.add("dpl_v2", Counts(second=second, **counts))

    case.at(0, beside)
    return redis


@given("v1 and v2 report their database as unhealthy")
def both_lost_database(case: Scene) -> None:
    """Each at its own address."""
    both = {"dpl_v1": {"database"}, "dpl_v2": {"database"}}
    case.at(0, lambda world: world.broken.update(both))


# -- when -------------------------------------------------------------------------


@when(parsers.parse("the gate watches v2 for {minutes:d} minutes"))
def gate(case: Scene, minutes: int) -> None:
    """From the deploy on, with the product's own limits."""

    async def watch(world: World) -> Ruling:
        world.limit(replace(limits(DEFAULTS), window_seconds=minutes * 60))
        return await world.engine.gate("dpl_v2", act=True)

    play(case, watch)


@when(parsers.parse("v2 is watched for {minutes:d} minutes"))
def watched(case: Scene, minutes: int) -> None:
    """Longer than a window, which moves along."""

    async def watch(world: World) -> Ruling:
        world.limit(limits(DEFAULTS))
        (ruling,) = await world.engine.watch(
            ("dpl_v2",), seconds=minutes * 60, act=True
        )
        return ruling

    play(case, watch)
