"""A bad release while the ledger cannot be reached: the platform names the target."""

from dataclasses import replace

import pytest

from rollback.engine import Ruling
from rollback.errors import NoStableDeployment, NotATarget
from rollback.model import AliasRequest, Incident, Judgement, Outcome
from rollback.testing import World, simulate


def test_a_gate_without_the_ledger_goes_back_to_what_served_before() -> None:
    """The platform names it, its whole health check passes, and that was said."""
    said: list[str] = []

    async def scene(world: World) -> Ruling:
        world.ledger.down = "connection refused"
        world.failing["dpl_v2"] = 10
        engine = replace(world.engine, notice=said.append)
        return await engine.gate("dpl_v2", act=True)

    ruling = simulate(scene)

    assert ruling.incident
    assert ruling.incident.outcome is Outcome.RESTORED
    assert ruling.incident.to_deployment == "dpl_v1"
    assert any("newest one that served before" in line for line in said)


def test_without_the_ledger_what_is_not_wholly_healthy_is_refused() -> None:
    """Though it fails on something else than the candidate; production stays."""

    async def scene(world: World) -> tuple[Ruling, str]:
        world.ledger.down = "connection refused"
        world.failing["dpl_v2"] = 10
        world.broken = {"dpl_v2": {"database"}, "dpl_v1": {"redis"}}
        ruling = await world.engine.gate("dpl_v2", act=True)
        return ruling, await world.live()

    ruling, live = simulate(scene)

    assert ruling.incident
    assert ruling.incident.outcome is Outcome.REFUSED
    assert "not known without the ledger" in ruling.incident.detail
    assert live == "dpl_v2"


def test_without_the_ledger_what_was_rolled_back_last_is_passed_over() -> None:
    """What the platform's own last rollback went away from is nothing to go back to."""

    async def scene(world: World) -> None:
        world.ledger.down = "connection refused"
        world.platform.note(
            AliasRequest(
                kind="rollback",
                from_deployment="dpl_v1",
                to_deployment="dpl_v0",
                status="succeeded",
                requested_at=world.clock.now(),
            )
        )
        with pytest.raises(NoStableDeployment, match="ledger cannot be reached"):
            await world.engine.stable()

    simulate(scene)


def test_a_watch_without_the_ledger_only_tells() -> None:
    """What is live may be what a rollback went back to: that is never undone again."""

    async def scene(world: World) -> tuple[Ruling, ...]:
        world.ledger.down = "connection refused"
        world.failing["dpl_v2"] = 10
        return await world.engine.watch(seconds=300, act=True)

    (ruling,) = simulate(scene)

    assert ruling.verdict.judgement is Judgement.ROLL_BACK
    assert ruling.incident is None


def test_a_person_is_believed_without_the_ledger_where_the_target_is_healthy() -> None:
    """Whom they name is probed all the same."""

    async def scene(world: World) -> Incident:
        world.ledger.down = "connection refused"
        return await world.engine.roll_back(reason="x", target="dpl_v1")

    assert simulate(scene).outcome is Outcome.RESTORED


def test_a_person_who_names_what_is_ill_is_refused_unless_they_override() -> None:
    """The reason that they give is journaled with the override."""

    async def scene(world: World) -> Incident:
        world.ledger.down = "connection refused"
        world.broken = {"dpl_v1": {"redis"}}
        with pytest.raises(NotATarget, match="unhealthy: redis"):
            await world.engine.plan(reason="x", target="dpl_v1")
        world.broken = {"dpl_v1": {"redis"}, "dpl_v2": {"redis"}}
        return await world.engine.roll_back(
            reason="redis is known", target="dpl_v1", override=True
        )

    undone = simulate(scene)

    assert any("redis is known" in entry.detail for entry in undone.journal)
