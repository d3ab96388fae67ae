"""The whole way of a deployment, in memory and without waiting."""

from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from rollback.adapters.memory import MemoryErrors, MemorySite, MemorySource
from rollback.engine import Ruling
from rollback.errors import (
    AlreadyRollingBack,
    NoStableDeployment,
    PlatformDenied,
    UnknownDeployment,
)
from rollback.execute import execute
from rollback.model import (
    Counts,
    CriticalError,
    HealthStatus,
    Incident,
    Judgement,
    Outcome,
    StepStatus,
)
from rollback.testing import World, simulate


def status_of(world: World, deployment: str) -> HealthStatus:
    """What the ledger says of a deployment."""
    recorded = world.ledger._deployments["production", deployment]
    return recorded.health_check_status


def phases(incident: Incident) -> dict[str, float]:
    """Each phase's seconds."""
    return {phase.name.value: phase.seconds for phase in incident.phases}


def test_a_good_release_passes_after_its_window() -> None:
    """Healthy, recorded as passing, nothing moved, nobody disturbed."""

    async def scene(world: World) -> None:
        ruling = await world.engine.gate("dpl_v2", act=True)

        assert ruling.verdict.judgement is Judgement.HEALTHY
        assert (ruling.decided_at - ruling.started_at).total_seconds() >= 300
        assert await world.live() == "dpl_v2"
        assert status_of(world, "dpl_v2") is HealthStatus.PASSING
        assert world.channel.messages == []

    simulate(scene)


def test_a_release_that_fails_after_four_minutes_is_undone() -> None:
    """The whole way: verdict, move, restored, told, on record."""

    async def scene(world: World) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fails_later, world)
            ruling = await world.engine.gate("dpl_v2", act=True)
        undone = ruling.incident

        assert undone
        assert ruling.verdict.row == "evidence"
        assert undone.outcome is Outcome.RESTORED
        assert await world.live() == "dpl_v1"
        assert phases(undone)["identify"] < 15
        assert all(phase.met for phase in undone.phases)
        assert set(phases(undone)) == {
            "identify",
            "initiate",
            "carry_out",
            "verify",
            "communicate",
        }
        assert [m.phase for m in world.channel.messages] == ["initiated", "restored"]
        assert status_of(world, "dpl_v2") is HealthStatus.FAILING
        kept = await world.ledger.incident(undone.id)
        assert kept
        assert kept.outcome is Outcome.RESTORED
        assert [entry.event for entry in kept.journal] == [
            "step_begins",
            "step_accepted",
            "step_done",
        ]

    async def fails_later(world: World) -> None:
        await anyio.sleep(240)
        world.failing["dpl_v2"] = 10

    simulate(scene)


def test_one_look_judges_the_window_that_is_over() -> None:
    """Five minutes of traffic and a moment of probing are enough to say healthy."""

    async def scene(world: World) -> None:
        await anyio.sleep(300)
        good = await world.engine.check("dpl_v2", probe_seconds=13)
        world.failing["dpl_v2"] = 10
        await anyio.sleep(20)
        bad = await world.engine.check("dpl_v2", probe_seconds=13)

        assert good.judgement is Judgement.HEALTHY
        assert bad.judgement is Judgement.ROLL_BACK

    simulate(scene)


def test_a_slow_error_source_delays_no_verdict() -> None:
    """What the counts prove does not wait for Sentry to answer."""

    class Slow(MemoryErrors):
        async def critical_errors(
            self, *_: object, **__: object
        ) -> tuple[CriticalError, ...]:
            await anyio.sleep(60)
            return ()

    async def scene(world: World) -> None:
        slow = replace(world.engine, errors=(Slow("sentry"),))
        world.failing["dpl_v2"] = 10
        ruling = await slow.gate("dpl_v2", act=True)

        assert (ruling.decided_at - ruling.started_at).total_seconds() < 10

    simulate(scene)


def test_an_error_source_that_never_answers_is_no_proof_of_health() -> None:
    """Silence of Sentry is inconclusive too."""

    class Mute(MemoryErrors):
        async def critical_errors(
            self, *_: object, **__: object
        ) -> tuple[CriticalError, ...]:
            await anyio.sleep_forever()
            return ()

    async def scene(world: World) -> Ruling:
        mute = replace(world.engine, errors=(Mute("sentry"),))
        ruling: Ruling = await mute.gate("dpl_v2", act=True)
        return ruling

    verdict = simulate(scene).verdict

    assert verdict.row == "source_silent"
    assert "sentry has been silent" in verdict.reason


def test_a_gate_that_may_only_report_moves_nothing() -> None:
    """The alarm is raised; production stays as it is."""

    async def scene(world: World) -> None:
        world.failing["dpl_v2"] = 10
        ruling = await world.engine.gate("dpl_v2", act=False)

        assert ruling.verdict.judgement is Judgement.ROLL_BACK
        assert ruling.incident is None
        assert await world.live() == "dpl_v2"
        assert [m.phase for m in world.channel.messages] == ["alarm"]

    simulate(scene)


def test_a_silent_source_never_passes() -> None:
    """Inconclusive, not healthy, and nothing is recorded as passing."""

    async def scene(world: World) -> Ruling:
        world.silent = True
        ruling: Ruling = await world.engine.gate("dpl_v2", act=True)
        assert status_of(world, "dpl_v2") is HealthStatus.UNKNOWN
        return ruling

    verdict = simulate(scene).verdict

    assert (verdict.judgement, verdict.row) == (
        Judgement.INCONCLUSIVE,
        "source_silent",
    )


def test_a_critical_error_of_the_candidate_is_enough() -> None:
    """One authenticated event of its release rolls it back at once."""

    async def scene(world: World) -> Ruling:
        world.errors.add("v2" * 20, "DATABASE_CONNECTION_LOST", world.clock.now())
        ruling: Ruling = await world.engine.gate("dpl_v2", act=True)
        return ruling

    assert simulate(scene).verdict.row == "critical_error"


def test_a_critical_error_that_the_stable_one_has_too_is_not_the_candidates() -> None:
    """What both see is nobody's release's fault."""

    async def scene(world: World) -> Ruling:
        for sha in ("v1" * 20, "v2" * 20):
            world.errors.add(sha, "DATABASE_CONNECTION_LOST", world.clock.now())
        ruling: Ruling = await world.engine.gate("dpl_v2", act=True)
        return ruling

    assert simulate(scene).verdict.judgement is Judgement.HEALTHY


def test_a_shared_outage_is_refused_and_told() -> None:
    """Both fail on the database: traffic stays, a person is called."""

    async def scene(world: World) -> None:
        world.broken = {"dpl_v1": {"database"}, "dpl_v2": {"database"}}
        undone = await world.engine.roll_back(reason="down")

        assert undone.outcome is Outcome.REFUSED
        assert await world.live() == "dpl_v2"
        assert world.platform.asked == []
        assert [m.phase for m in world.channel.messages] == ["refused"]

    simulate(scene)


def test_what_is_not_live_is_left_alone() -> None:
    """A rollback of something that is no longer live does nothing and says so."""

    async def scene(world: World) -> None:
        world.platform.taken_over("dpl_v1")
        undone = await world.engine.roll_back(reason="late", candidate="dpl_v2")

        assert undone.outcome is Outcome.NOTHING_TO_DO
        assert world.platform.asked == []

    simulate(scene)


def test_two_askers_make_one_rollback() -> None:
    """The second is refused while the first is at it."""

    async def scene(world: World) -> None:
        outcomes: list[object] = []

        async def ask() -> None:
            try:
                undone = await world.engine.roll_back(reason="bad", candidate="dpl_v2")
                outcomes.append(undone.outcome)
            except AlreadyRollingBack:
                outcomes.append("refused")

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.sleep(1)
            group.start_soon(ask)

        assert sorted(map(str, outcomes)) == ["refused", "restored"]
        assert len(world.platform.asked) == 1

    simulate(scene)


def test_an_unhealthy_site_after_the_move_is_escalated() -> None:
    """Restored is measured; without a measurement it is not claimed."""

    async def scene(world: World) -> None:
        world.flows_fail = True
        undone = await world.engine.roll_back(reason="bad")

        assert undone.outcome is Outcome.ESCALATED
        assert "supplier signup" in undone.detail
        assert "verify" not in phases(undone)
        assert world.channel.messages[-1].phase == "escalated"

    simulate(scene)


def test_a_move_that_hangs_is_escalated_with_the_step_that_failed() -> None:
    """The step says what is still elsewhere; nothing is claimed."""

    async def scene(world: World) -> None:
        world.platform.hang = True
        undone = await world.engine.roll_back(reason="bad")

        assert undone.outcome is Outcome.ESCALATED
        (step,) = undone.steps
        assert step.status is StepStatus.FAILED
        assert "wedsync.example" in step.detail

    simulate(scene)


def test_a_lost_reply_is_looked_into_and_not_repeated() -> None:
    """The request was taken: one request, restored."""

    async def scene(world: World) -> None:
        world.platform.lose_reply = True
        undone = await world.engine.roll_back(reason="bad")

        assert undone.outcome is Outcome.RESTORED
        assert len(world.platform.asked) == 1

    simulate(scene)


def test_a_token_that_is_refused_ends_escalated() -> None:
    """The step failed, the reason is kept, the next steps did not run."""

    async def scene(world: World) -> None:
        world.platform.refuse = PlatformDenied("Not authorized.")
        undone = await world.engine.roll_back(reason="bad")

        assert undone.outcome is Outcome.ESCALATED
        assert "Not authorized" in undone.steps[0].detail

    simulate(scene)


def test_a_channel_that_is_down_stops_nothing_and_is_recorded() -> None:
    """Being told is not what restores the site."""

    async def scene(world: World) -> None:
        world.channel.down = "no_service"
        undone = await world.engine.roll_back(reason="bad")

        assert undone.outcome is Outcome.RESTORED
        assert [d.problem for d in undone.deliveries] == ["no_service"] * 2
        assert "communicate" not in phases(undone)

    simulate(scene)


def test_a_ledger_lost_in_the_middle_does_not_stop_the_traffic_moving() -> None:
    """The site is restored; that the incident was not saved is said."""

    async def scene(world: World) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(lose_the_ledger, world)
            undone = await world.engine.roll_back(reason="bad")

        assert undone.outcome is Outcome.RESTORED
        assert "not saved" in undone.detail
        assert await world.live() == "dpl_v1"

    async def lose_the_ledger(world: World) -> None:
        await anyio.sleep(0.5)
        world.ledger.down = "connection refused"

    simulate(scene)


def test_an_interrupted_rollback_leaves_word() -> None:
    """It ends as one that needs a person, on record and told."""

    async def scene(world: World) -> None:
        with anyio.move_on_after(1):
            await world.engine.roll_back(reason="bad")
        (kept,) = await world.ledger.incidents("production", limit=5)

        assert kept.outcome is Outcome.ESCALATED
        assert "interrupted" in kept.detail
        assert world.channel.messages[-1].phase == "escalated"

    simulate(scene)


@pytest.mark.parametrize(
    ("verb", "extra"),
    [("gate", {"act": True}), ("check", {"probe_seconds": 1}), ("health", {})],
)
def test_an_unknown_deployment_is_named(verb: str, extra: dict[str, float]) -> None:
    """One clear error, nothing changed."""

    async def scene(world: World) -> None:
        with pytest.raises(UnknownDeployment, match="dpl_v9"):
            await getattr(world.engine, verb)("dpl_v9", **extra)
        assert world.platform.asked == []

    simulate(scene)


def test_a_gate_without_anything_to_go_back_to_says_so_at_once() -> None:
    """Not at the moment when it would be needed."""

    async def scene(world: World) -> None:
        await world.ledger.set_health(
            "dpl_v1", "production", HealthStatus.FAILING, world.clock.now()
        )
        with pytest.raises(NoStableDeployment):
            await world.engine.gate("dpl_v2", act=True)

    simulate(scene)


def test_a_source_that_is_down_at_the_end_is_no_proof() -> None:
    """Ten seconds without it are too few to be silent, and enough to say so."""

    async def scene(world: World) -> Ruling:
        other = MemorySource("redis")
        engine = replace(world.engine, sources=(world.source, other))

        async def count() -> None:
            for passed in range(320):
                await anyio.sleep(1)
                second = int(world.clock.now().timestamp()) - 1
                other.add("dpl_v2", Counts(second=second, requests=5))
                other.down = "connection refused" if passed >= 290 else None

        async with anyio.create_task_group() as group:
            group.start_soon(count)
            ruling: Ruling = await engine.gate("dpl_v2", act=True)
            group.cancel_scope.cancel()
        return ruling

    verdict = simulate(scene).verdict

    assert verdict.row == "source_silent"
    assert verdict.reason == "redis is down: connection refused"


def test_errors_from_before_the_deploy_are_not_the_candidates() -> None:
    """A test run of the same commit an hour ago rolls nothing back."""

    async def scene(world: World) -> Ruling:
        before = world.clock.now() - timedelta(seconds=60)
        world.errors.add("v2" * 20, "DATABASE_CONNECTION_LOST", before)
        ruling: Ruling = await world.engine.gate("dpl_v2", act=True)
        return ruling

    assert simulate(scene).verdict.judgement is Judgement.HEALTHY


def test_the_address_of_the_settings_is_where_it_is_made_sure() -> None:
    """Where visitors come in need not be the platform's first host."""

    async def scene(world: World) -> None:
        policy = replace(world.engine.policy, site_url="https://www.wedsync.example")
        site = MemorySite(world.answer)
        undone = await replace(world.engine, policy=policy, site=site).roll_back(
            reason="bad"
        )

        assert undone.outcome is Outcome.RESTORED
        asked = {r.url for r in site.asked if not r.protected}
        assert asked
        assert all(url.startswith("https://www.wedsync.example/") for url in asked)

    simulate(scene)


def test_what_is_in_place_already_is_not_done_again() -> None:
    """A plan that is carried out twice asks the platform once."""

    async def scene(world: World) -> None:
        planned = await world.engine.plan(reason="bad")
        assert planned
        world.platform.taken_over("dpl_v1")

        async def forget(_: object) -> None:
            """Nobody reads this journal."""

        done = await execute(
            planned, world.engine.targets, clock=world.clock, journal=forget
        )

        assert [step.status for step in done.steps] == [StepStatus.ALREADY]
        assert done.accepted_at is None
        assert world.platform.asked == []

    simulate(scene)
