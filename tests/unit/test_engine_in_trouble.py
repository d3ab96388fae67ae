"""What a bad night brings: things lost in the middle, interruptions, typos."""

import asyncio
from dataclasses import replace
from typing import Any

import anyio
import pytest

from rollback import verify
from rollback.adapters.memory import (
    MemoryChannel,
    MemoryPlatform,
    MemorySite,
    MemorySource,
)
from rollback.engine import Ruling
from rollback.errors import (
    AlreadyRollingBack,
    NotATarget,
    PlatformDenied,
    PlatformUnreachable,
    StepFailed,
    UnknownDeployment,
)
from rollback.model import (
    Answer,
    Counts,
    HealthStatus,
    Incident,
    Judgement,
    Message,
    Outcome,
    PlatformDeployment,
    RollingRelease,
)
from rollback.targets.application import Application
from rollback.testing import HOST, World, simulate

from .test_engine import status_of


def test_a_ledger_lost_during_the_watch_does_not_keep_a_bad_release_live() -> None:
    """What to go back to was found at the start; the site is restored, and told."""

    async def scene(world: World) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(all_at_once, world)
            ruling = await world.engine.gate("dpl_v2", act=True)

        assert ruling.incident
        assert ruling.incident.outcome is Outcome.RESTORED
        assert "not saved" in ruling.incident.detail
        assert await world.live() == "dpl_v1"
        assert world.channel.messages[-1].phase == "restored"

    async def all_at_once(world: World) -> None:
        await anyio.sleep(100)
        world.ledger.down = "connection refused"
        world.failing["dpl_v2"] = 10

    simulate(scene)


def test_a_platform_lost_at_the_verdict_is_escalated_and_told() -> None:
    """Somebody learns that a bad release is live; the record says why."""

    async def scene(world: World) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(all_at_once, world)
            ruling = await world.engine.gate("dpl_v2", act=True)

        assert ruling.incident
        assert ruling.incident.outcome is Outcome.ESCALATED
        assert "no route" in ruling.incident.detail
        assert [m.phase for m in world.channel.messages] == ["escalated"]
        assert await world.ledger.incident(ruling.incident.id)

    async def all_at_once(world: World) -> None:
        await anyio.sleep(100)
        world.failing["dpl_v2"] = 10
        await anyio.sleep(2)
        world.platform.down = "no route to host"

    simulate(scene)


def test_by_hand_a_platform_that_is_down_is_an_error_and_no_incident() -> None:
    """The person who asked is told; nothing was begun."""

    async def scene(world: World) -> None:
        world.platform.down = "no route to host"
        with pytest.raises(PlatformUnreachable):
            await world.engine.roll_back(reason="bad", candidate="dpl_v2")
        assert world.channel.messages == []

    simulate(scene)


def test_two_askers_in_the_same_moment_make_one_rollback() -> None:
    """Not even the same millisecond lets both in."""

    async def scene(world: World) -> None:
        outcomes: list[str] = []

        async def ask() -> None:
            try:
                undone = await world.engine.roll_back(reason="bad", candidate="dpl_v2")
                outcomes.append(str(undone.outcome))
            except AlreadyRollingBack:
                outcomes.append("refused")

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask)

        assert sorted(outcomes) == ["refused"] * 4 + ["restored"]
        assert len(world.platform.asked) == 1

    simulate(scene)


def test_a_gate_that_comes_second_keeps_its_verdict() -> None:
    """It says what it saw, and that somebody else is at it."""

    async def scene(world: World) -> None:
        world.failing["dpl_v2"] = 10
        rulings: list[Ruling] = []

        async def watch() -> None:
            rulings.append(await world.engine.gate("dpl_v2", act=True))

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            group.start_soon(watch)

        assert [r.verdict.judgement for r in rulings] == [Judgement.ROLL_BACK] * 2
        assert sorted(r.refusal is None for r in rulings) == [False, True]

    simulate(scene)


def test_a_source_that_was_silent_for_most_of_the_window_is_no_proof() -> None:
    """That it speaks again at the end does not tell what happened meanwhile."""

    async def scene(world: World) -> Ruling:
        counters = MemorySource("redis")
        engine = replace(world.engine, sources=(world.source, counters))

        async def count() -> None:
            while True:
                await anyio.sleep(1)
                second = int(world.clock.now().timestamp()) - 1
                if not counters.down:  # what cannot be read cannot be written either
                    counters.add("dpl_v2", Counts(second=second, requests=5))

        async def outage() -> None:
            await anyio.sleep(20)
            counters.down = "connection refused"
            await anyio.sleep(270)
            counters.down = None

        async with anyio.create_task_group() as group:
            group.start_soon(count)
            group.start_soon(outage)
            ruling: Ruling = await engine.gate("dpl_v2", act=True)
            group.cancel_scope.cancel()
        return ruling

    verdict = simulate(scene).verdict

    assert verdict.row == "source_silent"
    assert "redis was silent for 2" in verdict.reason


def test_a_late_interruption_does_not_undo_what_was_measured() -> None:
    """Once restored is measured it is told and kept, Ctrl-C or not."""
    measured = anyio.Event()

    class Slow(MemoryChannel):
        async def send(self, message: Message) -> None:
            if message.phase == "restored":
                measured.set()
            await anyio.sleep(5)
            await super().send(message)

    async def scene(world: World) -> None:
        slow = Slow("slack")
        engine = replace(world.engine, channels=(slow,))
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def interrupt() -> None:
                    await measured.wait()
                    scope.cancel()

                group.start_soon(interrupt)
                await engine.roll_back(reason="bad")
        (kept,) = await world.ledger.incidents("production", limit=5)

        assert kept.outcome is Outcome.RESTORED
        assert [m.phase for m in slow.messages] == ["initiated", "restored"]

    simulate(scene)


def test_ctrl_c_of_asyncio_does_not_undo_what_was_measured_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It cancels the task itself, which no shield keeps off; on real time."""
    monkeypatch.setattr(verify, "BETWEEN_CHECKS", 0.01)

    tasks: list[asyncio.Task[Incident]] = []

    class Slow(MemoryChannel):
        async def send(self, message: Message) -> None:
            if message.phase == "restored":
                tasks[0].cancel()
                await anyio.sleep(0.2)
            await super().send(message)

    async def scene() -> None:
        world, slow = World(), Slow("slack")
        await world.recorded()
        engine = replace(world.engine, channels=(slow,))
        tasks.append(asyncio.create_task(engine.roll_back(reason="bad")))
        await asyncio.wait(tasks)
        (kept,) = await world.ledger.incidents("production", limit=5)

        assert kept.outcome is Outcome.RESTORED
        assert [m.phase for m in slow.messages] == ["initiated", "restored"]

    asyncio.run(scene())


def test_an_interruption_keeps_what_was_done_so_far() -> None:
    """The journal says where it stopped."""

    async def scene(world: World) -> None:
        with anyio.move_on_after(1):
            await world.engine.roll_back(reason="bad")
        (kept,) = await world.ledger.incidents("production", limit=5)

        assert [entry.event for entry in kept.journal] == [
            "step_begins",
            "step_accepted",
        ]

    simulate(scene)


def test_what_nobody_thought_of_is_an_incident_and_no_traceback() -> None:
    """A mistake of ours in the middle ends as a step that failed, told and kept."""

    class Broken(MemorySite):
        async def request(self, *args: Any, **options: Any) -> Answer:
            if not options.get("protected"):
                raise RuntimeError("a mistake")
            return await super().request(*args, **options)

    async def scene(world: World) -> None:
        engine = replace(world.engine, site=Broken(world.answer))
        with pytest.raises(StepFailed, match="a mistake"):
            await engine.roll_back(reason="bad")
        (kept,) = await world.ledger.incidents("production", limit=5)

        assert kept.outcome is Outcome.ESCALATED
        assert world.channel.messages[-1].phase == "escalated"

    simulate(scene)


@pytest.mark.parametrize(
    ("candidate", "target"), [(None, "dpl_typo"), ("dpl_typo", None)]
)
def test_a_typo_by_hand_is_bad_input_and_disturbs_nobody(
    candidate: str | None, target: str | None
) -> None:
    """No incident, no message, nothing changed."""

    async def scene(world: World) -> None:
        with pytest.raises(UnknownDeployment, match="dpl_typo"):
            await world.engine.roll_back(
                reason="bad", candidate=candidate, target=target
            )
        assert world.channel.messages == []
        assert await world.ledger.incidents("production", limit=5) == ()

    simulate(scene)


def test_going_back_to_what_is_live_is_nothing_to_do() -> None:
    """It says so, and names no incident that is nowhere."""

    async def scene(world: World) -> None:
        undone = await world.engine.roll_back(reason="bad", target="dpl_v2")

        assert undone.outcome is Outcome.NOTHING_TO_DO
        assert undone.detail == "dpl_v2 is live already"
        assert undone.id == ""

    simulate(scene)


def test_what_did_not_pass_is_not_gone_back_to_but_by_override() -> None:
    """Refused, on record; a person's override is journaled."""

    async def scene(world: World) -> None:
        await world.ledger.set_health(
            "dpl_v1", "production", HealthStatus.FAILING, world.clock.now()
        )
        refused = await world.engine.roll_back(reason="bad", target="dpl_v1")
        assert refused.outcome is Outcome.REFUSED
        assert await world.ledger.incident(refused.id)
        assert await world.live() == "dpl_v2"

        forced = await world.engine.roll_back(
            reason="I know", target="dpl_v1", override=True
        )
        assert forced.outcome is Outcome.RESTORED
        assert forced.journal[0].event == "override"
        assert "I know" in forced.journal[0].detail

    simulate(scene)


def test_a_ledger_lost_before_a_good_verdict_does_not_spoil_it() -> None:
    """Healthy is healthy; that it was not recorded is said."""

    async def scene(world: World) -> None:
        said: list[str] = []

        async def lose() -> None:
            await anyio.sleep(100)
            world.ledger.down = "connection refused"

        engine = replace(world.engine, notice=said.append)
        async with anyio.create_task_group() as group:
            group.start_soon(lose)
            ruling = await engine.gate("dpl_v2", act=True)

        assert ruling.verdict.judgement is Judgement.HEALTHY
        assert any("not recorded as passing" in line for line in said)

    simulate(scene)


@pytest.mark.parametrize(
    ("sick", "status"),
    [(set(), HealthStatus.PASSING), ({"redis"}, HealthStatus.FAILING)],
)
def test_health_records_what_it_saw(sick: set[str], status: HealthStatus) -> None:
    """Passing only when every component is healthy."""

    async def scene(world: World) -> None:
        world.broken["dpl_v2"] = sick
        await world.engine.health("dpl_v2")
        assert status_of(world, "dpl_v2") is status

    simulate(scene)


def test_a_dry_run_that_fails_does_not_keep_a_bad_release_live() -> None:
    """Which hosts would move is good to know, and no reason to stay."""

    class Blind(MemoryPlatform):
        async def moves(self, deployment_id: str) -> tuple[str, ...]:
            raise PlatformUnreachable(f"The aliases of {deployment_id} are hidden.")

    async def scene(world: World) -> None:
        blind = Blind(
            clock=world.clock,
            deployments=[world.deployment("v1"), world.deployment("v2")],
            hosts={HOST: "dpl_v2"},
        )
        world.platform = blind
        targets = {"application": Application(blind, timeout_seconds=60)}
        engine = replace(world.engine, platform=blind, targets=targets)
        undone = await engine.roll_back(reason="bad")

        assert undone.outcome is Outcome.RESTORED
        assert await world.live() == "dpl_v1"

    simulate(scene)


def test_what_is_good_to_know_keeps_nobody_from_rolling_back() -> None:
    """A platform that moves production, and tells nothing else, is enough."""

    class Terse(MemoryPlatform):
        """Refuses, in one way or the other, all that is asked beside the move."""

        async def rolling_release(self) -> RollingRelease | None:
            """Not in this plan."""
            raise PlatformDenied("Not in this plan.")

        async def candidates(self) -> tuple[PlatformDeployment, ...]:
            """No list."""
            raise PlatformUnreachable("No list.")

        async def other_hosts(self, deployment_id: str) -> tuple[str, ...]:
            """Gone."""
            raise NotATarget(f"{deployment_id} is gone.")

        async def auto_assigns(self) -> bool | None:
            """Gone."""
            raise NotATarget("The project has moved.")

    async def scene(world: World) -> None:
        platform = Terse(
            clock=world.clock,
            deployments=[world.deployment("v1"), world.deployment("v2")],
            hosts={HOST: "dpl_v2"},
        )
        world.platform = platform
        world.engine = replace(
            world.engine,
            platform=platform,
            targets={"application": Application(platform, timeout_seconds=60)},
        )
        undone = await world.engine.roll_back(reason="bad")

        assert undone.outcome is Outcome.RESTORED
        assert undone.auto_assign is None
        assert "is not known" in undone.steps[0].detail
        assert await world.live() == "dpl_v1"

    simulate(scene)
