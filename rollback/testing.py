"""A small world in memory, on a clock that jumps: the engine itself, without waiting.

For projects that want to see what the engine would do, and for the engine's own tests.
`simulate` needs trio, of the extra `test`: pip install wedsync-rollback[test]; and
`stairway`, which takes a project's migrations up, down and up again, a PostgreSQL.

    from rollback.testing import World, down, simulate, steady

    def test_an_outage_is_undone():
        async def scene(world: World):
            world.traffic["dpl_v2"] = down(steady(requests=10, probes=2), 60, 600)
            ruling = await world.engine.gate("dpl_v2", act=True)
            assert ruling.verdict.row == "evidence"
            assert await world.live() == "dpl_v1"

        simulate(scene)

A `Traffic` says what happens in each second of the scene, from 0 on; see the end.
"""

import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

import anyio

from .adapters.memory import (
    AnyioClock,
    CountedTokens,
    MemoryChannel,
    MemoryErrors,
    MemoryLedger,
    MemoryPlatform,
    MemorySite,
    MemorySource,
    SiteRequest,
)
from .decide import Limits
from .engine import Engine, Policy
from .model import Answer, Counts, HealthStatus, PlatformDeployment, Signal
from .targets.application import Application
from .targets.database.stairway import stairway

__all__ = [
    "HOST",
    "LIMITS",
    "Traffic",
    "World",
    "bursty",
    "down",
    "git_sha",
    "silent",
    "simulate",
    "spread",
    "stairway",
    "steady",
    "switched",
]

Traffic = Callable[[int], Counts | None]
"""What happens in a second of the scene; None when nothing is measured in it."""
T = TypeVar("T")

HOST = "wedsync.example"
COMPONENTS = ("api", "database", "redis", "stripe", "auth")
LIMITS = Limits(
    thresholds=(
        (Signal.ERROR_RATE, 0.05),
        (Signal.RESPONSE_TIME, 0.05),
        (Signal.AVAILABILITY, 0.01),
    ),
    critical_errors=(
        "STRIPE_WEBHOOK_FAILED",
        "DATABASE_CONNECTION_LOST",
        "AUTH_SERVICE_DOWN",
    ),
)


def git_sha(name: str) -> str:
    """The commit of a release: v1, v2, or one that the world does not have."""
    return name * 20


@dataclass
class World:
    """Two releases, v1 and v2, of which v2 is live; the fields say what is amiss.

    `traffic` is what happens to a deployment, live or not. One that is not in it has
    ten requests and two probes a second when it is live, else two of each; `failing` is
    how many of ten requests fail. `broken` maps a deployment to the components that it
    reports as unhealthy; a `dead` one does not answer at all. While `silent`, nothing
    is measured.
    """

    clock: AnyioClock = field(default_factory=AnyioClock)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    source: MemorySource = field(default_factory=lambda: MemorySource("probes"))
    errors: MemoryErrors = field(default_factory=lambda: MemoryErrors("sentry"))
    channel: MemoryChannel = field(default_factory=lambda: MemoryChannel("slack"))
    traffic: dict[str, Traffic] = field(default_factory=dict)
    failing: dict[str, int] = field(default_factory=dict)
    broken: dict[str, set[str]] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    flows_fail: bool = False
    silent: bool = False
    token: str = ""

    def __post_init__(self) -> None:
        """Put the two releases on the platform."""
        self.platform = MemoryPlatform(
            clock=self.clock,
            deployments=[self.deployment("v1"), self.deployment("v2")],
            hosts={HOST: "dpl_v2"},
            move_seconds=2.0,
        )
        self.engine = Engine(
            ledger=self.ledger,
            platform=self.platform,
            site=MemorySite(self.answer),
            sources=(self.source,),
            errors=(self.errors,),
            channels=(self.channel,),
            targets={"application": Application(self.platform, timeout_seconds=60)},
            clock=self.clock,
            tokens=CountedTokens(),
            policy=Policy(environment="production", site_url=None, limits=LIMITS),
        )

    def limit(self, limits: Limits) -> None:
        """Judge by these limits from now on."""
        policy = replace(self.engine.policy, limits=limits)
        self.engine = replace(self.engine, policy=policy)

    def deployment(self, name: str) -> PlatformDeployment:
        """A release as the platform knows it."""
        return PlatformDeployment(
            id=f"dpl_{name}",
            url=f"https://{name}.example",
            git_sha=git_sha(name),
            created_at=self.clock.now() - timedelta(days=1),
            ready=True,
            candidate=True,
            served=True,
        )

    async def recorded(self) -> None:
        """v1 recorded as passing, v2 as new."""
        for name in ("v1", "v2"):
            sha = git_sha(name)
            await self.engine.record(f"dpl_{name}", git_sha=sha, migration="1")
            await anyio.sleep(1)
        await self.ledger.set_health(
            "dpl_v1", "production", HealthStatus.PASSING, self.clock.now()
        )

    async def live(self) -> str:
        """What serves production."""
        return (await self.platform.live())[HOST]

    def answer(self, request: SiteRequest) -> Answer:
        """What the site, or a deployment at its own address, answers."""
        own = request.url.split("/")[2].removesuffix(".example")
        by = f"dpl_{own}" if own in ("v1", "v2") else self._serving
        if by in self.dead:
            return Answer(status=None, seconds=0.01, problem="connection refused")
        if request.url.endswith("/api/health"):
            return self._health(by)
        return self._flow(request, by)

    @property
    def _serving(self) -> str:
        return self.platform._hosts[HOST]  # noqa: SLF001 - our own double, read without asking

    def _health(self, by: str) -> Answer:
        sick = self.broken.get(by, set())
        states = {c: "unhealthy" if c in sick else "healthy" for c in COMPONENTS}
        return Answer(
            status=503 if sick else 200,
            seconds=0.01,
            body=json.dumps(states).encode(),
            deployment=by,
        )

    def _flow(self, request: SiteRequest, by: str) -> Answer:
        if self.flows_fail:
            return Answer(status=500, seconds=0.01, deployment=by)
        said = dict(request.json or {})
        if request.method == "GET":
            token = said.get("token") or self.token
            said = {"answers": {"token": token}, "status": "paid"}
        elif "submissions" in request.url:
            self.token = said["answers"]["token"]
        body = json.dumps(said | {"id": "1"}).encode()
        status = 201 if request.method == "POST" else 200
        return Answer(status=status, seconds=0.01, body=body, deployment=by)

    async def count(self) -> None:
        """Count what happens to both releases, second by second, for ever."""
        began = self._now()
        while True:
            await anyio.sleep(1)
            second = self._now() - 1
            for deployment in ("dpl_v1", "dpl_v2"):
                traffic = self.traffic.get(deployment) or self._usual(deployment)
                counts = None if self.silent else traffic(second - began)
                if counts:
                    self.source.add(deployment, replace(counts, second=second))

    def _now(self) -> int:
        return int(self.clock.now().timestamp())

    def _usual(self, deployment: str) -> Traffic:
        requests = 10 if deployment == self._serving else 2
        failed = requests * self.failing.get(deployment, 0) // 10
        return steady(requests=requests, probes=2, failed=failed)


def simulate(scene: Callable[[World], Awaitable[T]]) -> T:
    """Play a scene in a new world, on a clock that jumps over every wait."""
    import trio.testing  # noqa: PLC0415 - the stairway is to be had without it

    async def play() -> T:
        world = World()
        async with anyio.create_task_group() as group:
            await world.recorded()
            group.start_soon(world.count)
            result = await scene(world)
            group.cancel_scope.cancel()
        return result

    return trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


# -- traffic --------------------------------------------------------------------


def steady(**counts: int) -> Traffic:
    """The same counts in every second, by their names in `Counts`."""
    return lambda second: Counts(second=second, **counts)


def spread(seconds: int, *, requests: int, probes: int = 0, **bad: int) -> Traffic:
    """So many in so many seconds, as evenly as whole numbers can be; then nothing.

    The last bad one comes in the last second: a total that is one over a limit is over
    it at the very end.
    """
    good = {"requests": requests, "probes": probes}

    def by(end: int) -> dict[str, int]:
        early = {name: max(n - 1, 0) * end // seconds for name, n in bad.items()}
        late = bad if end == seconds else early
        return {name: n * end // seconds for name, n in good.items()} | late

    def traffic(second: int) -> Counts | None:
        before, after = by(second), by(second + 1)
        each = {name: after[name] - before[name] for name in after}
        some = second < seconds and any(each.values())
        return Counts(second=second, **each) if some else None

    return traffic


def bursty(seed: int, *, requests: int = 20, bursts: float = 0.015) -> Traffic:
    """A healthy service whose failures come in bursts, and its visitors in waves.

    In a share of the seconds half of the requests fail, and are slow.
    """

    def traffic(second: int) -> Counts:
        chance = random.Random(f"{seed} {second}")  # noqa: S311 - to be the same again
        n = chance.randint(requests // 2, requests * 3 // 2)
        bad = n // 2 if chance.random() < bursts else int(chance.random() < bursts)
        return Counts(second=second, requests=n, failed=bad, slow=bad, probes=2)

    return traffic


def switched(at: int, before: Traffic, after: Traffic) -> Traffic:
    """One kind of traffic up to a second, another from there on."""
    return lambda second: (before if second < at else after)(second)


def down(usual: Traffic, since: int, until: int) -> Traffic:
    """The same traffic, of which in [since, until) nothing is answered."""

    def refused(second: int) -> Counts | None:
        seen = usual(second)
        return seen and replace(seen, failed=seen.requests, unavailable=seen.probes)

    return switched(since, usual, switched(until, refused, usual))


def silent(usual: Traffic, since: int, until: int) -> Traffic:
    """The same traffic, not measured in [since, until)."""
    return switched(since, usual, switched(until, lambda _: None, usual))
