"""Keeping watch over what is live, and over several deployments at once."""

from dataclasses import replace

import anyio
import pytest

from rollback.errors import Refused, UnknownDeployment
from rollback.model import HealthStatus, Judgement, Outcome, Verdict
from rollback.testing import HOST, World, down, simulate, steady, switched

USUAL = steady(requests=10, probes=2)
HALF_AN_HOUR = 1800.0


def test_what_stays_well_is_healthy_at_the_end() -> None:
    """Half an hour without trouble: one verdict, and nothing moves."""

    async def scene(world: World) -> None:
        began = anyio.current_time()
        (ruling,) = await world.engine.watch(seconds=HALF_AN_HOUR, act=True)

        assert anyio.current_time() - began == pytest.approx(HALF_AN_HOUR, abs=5)
        assert ruling.verdict.judgement is Judgement.HEALTHY
        assert ruling.verdict.deployment == await world.live() == "dpl_v2"

    simulate(scene)


def test_trouble_after_twenty_minutes_is_undone() -> None:
    """A total outage is seen within ten seconds, and the site goes back."""

    async def scene(world: World) -> None:
        world.traffic["dpl_v2"] = down(USUAL, 1200, 3600)
        began = anyio.current_time()
        (ruling,) = await world.engine.watch(seconds=HALF_AN_HOUR, act=True)

        assert ruling.incident
        assert ruling.incident.outcome is Outcome.RESTORED
        took = (ruling.decided_at - ruling.started_at).total_seconds()
        assert 1200 < took <= 1211
        assert anyio.current_time() - began < 1300
        assert await world.live() == "dpl_v1"

    simulate(scene)


def test_what_goes_live_meanwhile_is_watched_from_there_on() -> None:
    """A deploy in the middle: the new one is judged, for the time that is left."""

    async def scene(world: World) -> None:
        world.platform._hosts[HOST] = "dpl_v1"
        said: list[str] = []
        engine = replace(world.engine, notice=said.append)
        seen: list[str] = []

        def progress(verdict: Verdict, _: float) -> None:
            seen.append(verdict.deployment)
            if len(seen) == 100:
                world.platform._hosts[HOST] = "dpl_v2"

        began = anyio.current_time()
        (ruling,) = await engine.watch(seconds=900, act=True, progress=progress)

        assert list(dict.fromkeys(seen)) == ["dpl_v1", "dpl_v2"]
        assert ruling.verdict.deployment == "dpl_v2"
        assert ruling.verdict.judgement is Judgement.HEALTHY
        assert anyio.current_time() - began == pytest.approx(900, abs=5)
        assert "dpl_v1 is no longer live" in said

    simulate(scene)


def test_what_is_live_and_not_recorded_yet_is_waited_for() -> None:
    """A pipeline records after the deploy; until then the watch says what it lacks."""

    async def scene(world: World) -> None:
        said: list[str] = []
        engine = replace(world.engine, notice=said.append)
        recorded = await world.ledger.find("dpl_v2", "production")
        assert recorded
        world.platform._hosts[HOST] = "dpl_v1"
        del world.ledger._deployments["production", "dpl_v2"]

        async def deploy() -> None:
            await anyio.sleep(60)
            world.platform._hosts[HOST] = "dpl_v2"
            await anyio.sleep(60)
            await world.ledger.record(recorded)

        async with anyio.create_task_group() as group:
            group.start_soon(deploy)
            (ruling,) = await engine.watch(seconds=900, act=True)

        assert ruling.verdict.deployment == "dpl_v2"
        assert ruling.verdict.judgement is Judgement.HEALTHY
        assert any("dpl_v2 is not known to the ledger" in one for one in said)

    simulate(scene)


def test_what_is_never_recorded_ends_the_watch_with_that() -> None:
    """At the end of its time the watch says what was in the way."""

    async def scene(world: World) -> None:
        world.platform._hosts[HOST] = "dpl_v1"

        async def deploy() -> None:
            await anyio.sleep(60)
            world.platform._hosts[HOST] = "dpl_unknown"

        async with anyio.create_task_group() as group:
            group.start_soon(deploy)
            with pytest.raises(UnknownDeployment, match="dpl_unknown"):
                await world.engine.watch(seconds=300, act=True)

    simulate(scene)


def test_trouble_of_what_a_rollback_went_back_to_is_told_and_not_undone() -> None:
    """No flapping: v2 was undone, v1 fails now, and nothing goes to v2 again."""

    async def scene(world: World) -> None:
        undone = await world.engine.roll_back(reason="a person said so")
        assert undone.outcome is Outcome.RESTORED
        await world.ledger.set_health(
            "dpl_v2", "production", HealthStatus.PASSING, world.clock.now()
        )
        world.traffic["dpl_v1"] = down(USUAL, 0, 3600)
        told = len(world.channel.messages)
        (ruling,) = await world.engine.watch(seconds=HALF_AN_HOUR, act=True)

        assert ruling.verdict.judgement is Judgement.ROLL_BACK
        assert ruling.incident is None
        assert await world.live() == "dpl_v1"
        assert [m.phase for m in world.channel.messages[told:]] == ["alarm"]

    simulate(scene)


def test_trouble_with_nothing_to_go_back_to_is_told() -> None:
    """The first release there ever was can be watched too."""

    async def scene(world: World) -> None:
        await world.ledger.set_health(
            "dpl_v1", "production", HealthStatus.FAILING, world.clock.now()
        )
        world.traffic["dpl_v2"] = down(USUAL, 30, 3600)
        (ruling,) = await world.engine.watch(seconds=HALF_AN_HOUR, act=True)

        assert ruling.verdict.judgement is Judgement.ROLL_BACK
        assert ruling.incident is None
        assert [m.phase for m in world.channel.messages] == ["alarm"]

    simulate(scene)


def test_several_deployments_are_watched_side_by_side() -> None:
    """One is undone while the other goes on to the end; each has its own verdict."""

    async def scene(world: World) -> None:
        world.traffic["dpl_v1"] = USUAL
        world.traffic["dpl_v2"] = switched(60, USUAL, steady(requests=10, failed=10))
        began = anyio.current_time()
        bad, good = await world.engine.watch(
            ("dpl_v2", "dpl_v1"), seconds=600, act=True
        )

        assert bad.incident
        assert bad.incident.outcome is Outcome.RESTORED
        assert (bad.decided_at - bad.started_at).total_seconds() < 75
        assert good.verdict.judgement is Judgement.HEALTHY
        assert good.verdict.signals[0].bad == 0
        assert anyio.current_time() - began == pytest.approx(600, abs=5)

    simulate(scene)


def test_a_deployment_that_is_not_known_starts_no_watch() -> None:
    """All names are looked up before any of them is watched."""

    async def scene(world: World) -> None:
        began = anyio.current_time()
        with pytest.raises(UnknownDeployment, match="dpl_v3"):
            await world.engine.watch(("dpl_v2", "dpl_v3"), seconds=600, act=True)

        assert anyio.current_time() == began

    simulate(scene)


def test_hosts_that_differ_at_the_start_are_said_at_once() -> None:
    """What is live must be one deployment to begin with."""

    async def scene(world: World) -> None:
        world.platform._hosts["www.wedsync.example"] = "dpl_v1"
        with pytest.raises(Refused, match="2 deployments"):
            await world.engine.watch(seconds=600, act=True)

    simulate(scene)


def test_trouble_that_going_back_cannot_cure_is_refused_and_told() -> None:
    """Both answer with errors while their health checks are fine: nothing moves."""

    async def scene(world: World) -> None:
        world.failing = {"dpl_v1": 10, "dpl_v2": 10}
        (ruling,) = await world.engine.watch(seconds=HALF_AN_HOUR, act=True)

        assert ruling.verdict.shared == ("error_rate",)
        assert ruling.incident
        assert ruling.incident.outcome is Outcome.REFUSED
        assert "dpl_v1 does as badly as the candidate" in ruling.incident.detail
        assert await world.live() == "dpl_v2"
        assert [m.phase for m in world.channel.messages] == ["refused"]

    simulate(scene)


def test_what_was_gone_back_to_meanwhile_is_not_undone_either() -> None:
    """v2 is undone; when v1 fails later nothing goes to v2, in the same watch."""

    async def scene(world: World) -> None:
        await world.ledger.set_health(
            "dpl_v2", "production", HealthStatus.PASSING, world.clock.now()
        )
        world.traffic["dpl_v2"] = down(USUAL, 60, 3600)
        world.traffic["dpl_v1"] = down(USUAL, 200, 3600)
        first, second = await world.engine.watch(
            ("dpl_v2", "dpl_v1"), seconds=600, act=True
        )

        assert first.incident
        assert first.incident.outcome is Outcome.RESTORED
        assert second.verdict.judgement is Judgement.ROLL_BACK
        assert second.incident is None
        assert await world.live() == "dpl_v1"

    simulate(scene)


def test_a_gate_does_not_go_back_to_what_was_rolled_back_meanwhile() -> None:
    """What was passing when the gate began may have failed since."""

    async def scene(world: World) -> None:
        world.traffic["dpl_v2"] = down(USUAL, 200, 3600)

        async def fail() -> None:
            await anyio.sleep(100)
            await world.ledger.set_health(
                "dpl_v1", "production", HealthStatus.FAILING, world.clock.now()
            )

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            ruling = await world.engine.gate("dpl_v2", act=True)

        assert ruling.incident
        assert ruling.incident.outcome is Outcome.REFUSED
        assert "dpl_v1 is not recorded as passing" in ruling.incident.detail
        assert await world.live() == "dpl_v2"

    simulate(scene)


def test_a_deploy_near_the_end_is_not_called_healthy() -> None:
    """Forty seconds are no five minutes, and nothing to go back to."""

    async def scene(world: World) -> None:
        world.platform._hosts[HOST] = "dpl_v1"

        async def deploy() -> None:
            await anyio.sleep(550)
            world.platform._hosts[HOST] = "dpl_v2"

        async with anyio.create_task_group() as group:
            group.start_soon(deploy)
            (ruling,) = await world.engine.watch(seconds=600, act=True)

        assert ruling.verdict.deployment == "dpl_v2"
        assert ruling.verdict.judgement is Judgement.INCONCLUSIVE
        assert "of 300 seconds were watched" in ruling.verdict.reason
        recorded = await world.ledger.find("dpl_v2", "production")
        assert recorded
        assert recorded.health_check_status is HealthStatus.UNKNOWN

    simulate(scene)
