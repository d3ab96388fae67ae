"""A scene of the decision matrix: what is to happen, played by the engine in memory."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from rollback.engine import Ruling
from rollback.model import DeploymentVersion
from rollback.settings import Settings
from rollback.testing import Traffic, World, simulate, spread, steady

__all__ = ["DEFAULTS", "WINDOW", "Change", "Scene", "Seen", "play"]

# What a team has that sets nothing, whatever this machine's environment says.
DEFAULTS = Settings.model_construct()
WINDOW = 300  # the five minutes of the sentences

Change = Callable[[World], None]


@dataclass(slots=True)
class Scene:
    """What is to happen: traffic, changes at a second of the watch, and what was seen.

    `every` is what happens to v2 in a second, `totals` what happens in the window.
    """

    every: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    turns: list[Callable[[Traffic], Traffic]] = field(default_factory=list)
    stable: Traffic | None = None
    changes: list[tuple[int, Change]] = field(default_factory=list)
    seen: "Seen | None" = None

    @property
    def traffic(self) -> Traffic:
        """What happens to v2 in each second."""
        traffic = steady(**self.every)
        if self.totals:
            traffic = spread(WINDOW, **self.totals)
        for turn in self.turns:
            traffic = turn(traffic)
        return traffic

    def at(self, second: int, change: Change) -> None:
        """Let something change in a second of the watch; 0 is before its first look."""
        self.changes.append((second, change))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a watch, and what production and people have of it."""

    ruling: Ruling
    live: str
    asked: list[tuple[str, str, str]]
    told: list[str]
    candidate: DeploymentVersion | None


def play(scene: Scene, watch: Callable[[World], Awaitable[Ruling]]) -> None:
    """Let the engine watch while the scene happens."""

    async def played(world: World) -> Seen:
        world.traffic["dpl_v2"] = scene.traffic
        if scene.stable:
            world.traffic["dpl_v1"] = scene.stable
        async with anyio.create_task_group() as group:
            for second, change in sorted(scene.changes, key=lambda c: c[0]):
                if second == 0:
                    change(world)
                else:
                    group.start_soon(_later, world, second, change)
            ruling = await watch(world)
            group.cancel_scope.cancel()
        return Seen(
            ruling=ruling,
            live=await world.live(),
            asked=world.platform.asked,
            told=[message.phase for message in world.channel.messages],
            candidate=await world.ledger.find("dpl_v2", "production"),
        )

    scene.seen = simulate(played)


async def _later(world: World, second: int, change: Change) -> None:
    # Looks are taken on the second: in between it is certain which one sees it first.
    await anyio.sleep(second + 0.5)
    change(world)
