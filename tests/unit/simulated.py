"""A small world in memory, on a clock that jumps: the same engine, without waiting."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import anyio
import trio
from trio.testing import MockClock

from rollback.adapters.memory import (
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
from rollback.decide import Limits
from rollback.engine import Engine, Policy
from rollback.model import Answer, Counts, HealthStatus, PlatformDeployment, Signal
from rollback.targets.application import Application

HOST = "wedsync.example"
COMPONENTS = ("api", "database", "redis", "stripe", "auth")
LIMITS = Limits(
    thresholds=(
        (Signal.ERROR_RATE, 0.05),
        (Signal.RESPONSE_TIME, 0.05),
        (Signal.AVAILABILITY, 0.01),
    ),
    critical_errors=("DATABASE_CONNECTION_LOST",),
)


@dataclass
class World:
    """Two releases, v1 and v2, of which v2 is live; `broken` says what is amiss.

    `broken` maps a deployment to the components that it reports as unhealthy; `failing`
    is the share of its requests that fail, in whole requests of ten.
    """

    clock: AnyioClock = field(default_factory=AnyioClock)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    source: MemorySource = field(default_factory=lambda: MemorySource("probes"))
    errors: MemoryErrors = field(default_factory=lambda: MemoryErrors("sentry"))
    channel: MemoryChannel = field(default_factory=lambda: MemoryChannel("slack"))
    broken: dict[str, set[str]] = field(default_factory=dict)
    failing: dict[str, int] = field(default_factory=dict)
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

    def deployment(self, name: str) -> PlatformDeployment:
        """A release as the platform knows it."""
        return PlatformDeployment(
            id=f"dpl_{name}",
            url=f"https://{name}.example",
            git_sha=name * 20,
            created_at=self.clock.now() - timedelta(days=1),
            ready=True,
            candidate=True,
            served=True,
        )

    async def recorded(self) -> None:
        """v1 recorded as passing, v2 as new."""
        for name in ("v1", "v2"):
            await self.engine.record(f"dpl_{name}", git_sha=name * 20, migration="1")
            await anyio.sleep(1)
        await self.ledger.set_health(
            "dpl_v1", "production", HealthStatus.PASSING, self.clock.now()
        )

    async def live(self) -> str:
        """What serves production."""
        return (await self.platform.live())[HOST]

    def answer(self, request: SiteRequest) -> Answer:
        """What the site, or a deployment at its own address, answers."""
        serving = self.platform._hosts[HOST]
        own = request.url.split("/")[2].removesuffix(".example")
        by = f"dpl_{own}" if own in ("v1", "v2") else serving
        if by in self.dead:
            return Answer(status=None, seconds=0.01, problem="connection refused")
        if request.url.endswith("/api/health"):
            return self._health(by)
        return self._flow(request, by)

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

    async def traffic(self) -> None:
        """Ten requests and two probes a second to what is live."""
        while True:
            await anyio.sleep(1)
            if self.silent:
                continue
            live = self.platform._hosts[HOST]
            second = int(self.clock.now().timestamp()) - 1
            bad = self.failing.get(live, 0)
            counts = Counts(second=second, requests=10, failed=bad, probes=2)
            self.source.add(live, counts)


def simulate(scene: Callable[[World], Awaitable[Any]]) -> Any:
    """Play a scene in a new world, on a clock that jumps over every wait."""

    async def play() -> Any:
        world = World()
        async with anyio.create_task_group() as group:
            await world.recorded()
            group.start_soon(world.traffic)
            result = await scene(world)
            group.cancel_scope.cancel()
        return result

    return trio.run(play, clock=MockClock(autojump_threshold=0))
