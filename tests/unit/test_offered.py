"""What the platform offers, and what it rolls out, decides what is planned."""

from dataclasses import replace

import pytest

from rollback.adapters.memory import MemoryPlatform
from rollback.errors import NotATarget
from rollback.model import Outcome, PlatformDeployment, RollingRelease
from rollback.testing import HOST, World, simulate


def test_a_release_that_only_some_visitors_see_is_rolled_back() -> None:
    """Every host names the release before it, and the bad one is live all the same."""

    async def scene(world: World) -> None:
        world.platform.taken_over("dpl_v1")
        world.platform.rolling = RollingRelease(base="dpl_v1", canary="dpl_v2")
        undone = await world.engine.roll_back(reason="bad", candidate="dpl_v2")

        assert undone.outcome is Outcome.RESTORED
        assert undone.to_deployment == "dpl_v1"
        assert world.platform.rolling is None

    simulate(scene)


def test_what_is_not_on_the_platform_s_list_is_refused() -> None:
    """A deployment may be there and have served, and not be offered any more."""

    class Strict(MemoryPlatform):
        """A platform whose plan offers nothing."""

        async def candidates(self) -> tuple[PlatformDeployment, ...]:
            """None."""
            return ()

    async def scene(world: World) -> None:
        strict = Strict(
            clock=world.clock,
            deployments=[world.deployment("v1"), world.deployment("v2")],
            hosts={HOST: "dpl_v2"},
        )
        world.engine = replace(world.engine, platform=strict)
        with pytest.raises(NotATarget, match="not on its list"):
            await world.engine.plan(reason="bad")
        assert await world.engine.plan(reason="bad", target="dpl_v1", override=True)

    simulate(scene)
