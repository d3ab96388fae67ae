"""Going forward again: only where nothing else has come live, and made sure of."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rollback.errors import CannotUndo, NotATarget, PlatformDenied, UnknownIncident
from rollback.model import HealthStatus, Incident, Outcome, RollingRelease, StepStatus
from rollback.testing import World, simulate

REASON = "it was the database"
Scene = Callable[[World, Incident], Awaitable[None]]


def play(scene: Scene, before: Callable[[World], None] = lambda _: None) -> None:
    """Play a scene after v2 was rolled back to v1."""

    async def run(world: World) -> None:
        before(world)
        past = await world.engine.roll_back(reason="bad")
        assert past.outcome is Outcome.RESTORED
        await scene(world, past)

    simulate(run)


def test_what_was_rolled_back_goes_live_again() -> None:
    """Promoted once, made sure of from outside, told, and kept as an own incident."""

    async def scene(world: World, past: Incident) -> None:
        undone = await world.engine.forward.undo(past.id, reason=REASON)

        assert undone.outcome is Outcome.RESTORED
        assert (undone.from_deployment, undone.to_deployment) == ("dpl_v1", "dpl_v2")
        assert (undone.undoes, undone.reason) == (past.id, REASON)
        assert undone.id != past.id
        assert [flow.passed for flow in undone.flows] == [True] * 3
        assert await world.live() == "dpl_v2"
        assert ("promote", "dpl_v2", "") in world.platform.asked
        kept = await world.ledger.incident(undone.id)
        assert kept is not None
        assert "step_done" in [entry.event for entry in kept.journal]
        told = world.channel.messages[-2:]
        assert [m.phase for m in told] == ["initiated", "restored"]
        assert "forward" in told[0].title
        assert f"This undoes {past.id}" in told[1].lines

    play(scene)


def test_what_an_undoing_restored_has_passed() -> None:
    """It was measured to be good, and is not the failing one of the rollback now."""

    async def scene(world: World, past: Incident) -> None:
        await world.engine.forward.undo(past.id, reason=REASON)
        recorded = await world.ledger.find("dpl_v2", "production")
        assert recorded
        assert recorded.health_check_status is HealthStatus.PASSING

    play(scene)


def test_what_an_undoing_did_not_restore_has_not_passed() -> None:
    """That it is live again says nothing of its flows."""

    async def scene(world: World, past: Incident) -> None:
        world.flows_fail = True
        undone = await world.engine.forward.undo(past.id, reason=REASON)
        assert undone.outcome is Outcome.ESCALATED
        recorded = await world.ledger.find("dpl_v2", "production")
        assert recorded
        assert recorded.health_check_status is HealthStatus.FAILING

    play(scene)


def test_what_an_undoing_leaves_stays_good() -> None:
    """The deployment that stood in for a while may be gone back to again."""

    async def scene(world: World, past: Incident) -> None:
        await world.engine.forward.undo(past.id, reason=REASON)
        recorded = await world.ledger.find("dpl_v1", "production")
        assert recorded
        assert recorded.health_check_status is HealthStatus.PASSING

    play(scene)


@pytest.mark.parametrize("before", [True, False])
def test_new_builds_do_afterwards_what_they_did_before(before: bool) -> None:
    """A promotion switches auto-assignment on, also where it was off on purpose."""

    def switched(world: World) -> None:
        world.platform.auto_assign = before

    async def scene(world: World, past: Incident) -> None:
        assert past.auto_assign_before is before
        assert past.auto_assign is False
        undone = await world.engine.forward.undo(past.id, reason=REASON)
        assert world.platform.auto_assign is before
        assert undone.auto_assign is before

    play(scene, switched)


def test_that_new_builds_wait_is_told_with_the_way_back() -> None:
    """Whoever reads of the rollback knows why the next build does not go live."""

    async def scene(world: World, past: Incident) -> None:
        lines = " ".join(world.channel.messages[-1].lines)
        assert "New builds of the application do not go live by themselves" in lines
        assert f"rollback undo {past.id}" in lines
        assert "new builds do not go live" in past.steps[0].detail

    play(scene)


def test_a_hotfix_that_went_live_meanwhile_is_not_rolled_over() -> None:
    """What somebody else brought live is named, and nothing is asked."""

    async def scene(world: World, past: Incident) -> None:
        world.platform.taken_over("dpl_v3")
        asked = len(world.platform.asked)
        with pytest.raises(CannotUndo, match="dpl_v3"):
            await world.engine.forward.undo(past.id, reason=REASON)
        assert len(world.platform.asked) == asked

    play(scene)


def test_a_rolling_release_is_something_else_too() -> None:
    """A promotion would be queued behind it, and come when nobody expects it."""

    async def scene(world: World, past: Incident) -> None:
        world.platform.rolling = RollingRelease(base="dpl_v1", canary="dpl_v3")
        with pytest.raises(CannotUndo, match="rolling release of dpl_v3"):
            await world.engine.forward.undo(past.id, reason=REASON)

    play(scene)


def test_undoing_twice_does_nothing_the_second_time() -> None:
    """It is live again already, and no second incident is made of it."""

    async def scene(world: World, past: Incident) -> None:
        await world.engine.forward.undo(past.id, reason=REASON)
        again = await world.engine.forward.undo(past.id, reason=REASON)
        assert (again.outcome, again.id) == (Outcome.NOTHING_TO_DO, "")
        assert await world.engine.forward.plan(past.id, reason=REASON) is None

    play(scene)


def test_what_is_still_sick_is_not_promoted() -> None:
    """Unless a person says that they know better."""

    async def scene(world: World, past: Incident) -> None:
        world.broken["dpl_v2"] = {"redis"}
        with pytest.raises(NotATarget, match="redis"):
            await world.engine.forward.undo(past.id, reason=REASON)
        planned = await world.engine.forward.plan(past.id, reason=REASON, override=True)
        assert planned
        assert planned.steps[0].forward

    play(scene)


def test_only_a_rollback_that_moved_something_can_be_undone() -> None:
    """Not one that is open, refused or empty, not an undoing, and not a stranger's."""

    async def scene(world: World, past: Incident) -> None:
        undone = await world.engine.forward.undo(past.id, reason=REASON)
        skipped = replace(past.steps[0], status=StepStatus.SKIPPED)
        wrong = (
            replace(past, id="inc-open", outcome=None),
            replace(past, id="inc-refused", outcome=Outcome.REFUSED),
            replace(past, id="inc-empty", steps=(skipped,)),
        )
        for incident in wrong:
            await world.ledger.save_incident(incident)
        for name in ("inc-open", "inc-refused", "inc-empty", undone.id):
            with pytest.raises(CannotUndo):
                await world.engine.forward.undo(name, reason=REASON)
        with pytest.raises(UnknownIncident):
            await world.engine.forward.undo("inc-none", reason=REASON)
        await world.ledger.save_incident(
            replace(past, id="inc-staging", environment="staging")
        )
        with pytest.raises(UnknownIncident):
            await world.engine.forward.undo("inc-staging", reason=REASON)

    play(scene)


def test_hosts_that_were_moved_by_hand_come_along() -> None:
    """Those that the rollback moved one by one, and no others."""

    def before(world: World) -> None:
        world.platform.by_hand = {"book.example": "dpl_v2", "pinned.example": "dpl_v1"}

    async def scene(world: World, past: Incident) -> None:
        assert past.steps[0].hosts == ("book.example",)
        assert world.platform.by_hand["book.example"] == "dpl_v1"
        await world.engine.forward.undo(past.id, reason=REASON)
        assert world.platform.by_hand == {
            "book.example": "dpl_v2",
            "pinned.example": "dpl_v1",
        }

    play(scene, before)


def test_a_record_from_before_there_were_parts_can_be_undone() -> None:
    """Its steps name no target: they moved the application."""

    async def scene(world: World, past: Incident) -> None:
        bare = replace(
            past.steps[0], target="", from_deployment="", to_deployment="", hosts=()
        )
        await world.ledger.save_incident(replace(past, id="inc-old", steps=(bare,)))
        undone = await world.engine.forward.undo("inc-old", reason=REASON)
        assert undone.outcome is Outcome.RESTORED
        assert await world.live() == "dpl_v2"

    play(scene)


def test_a_hotfix_on_a_host_that_was_moved_by_hand_is_not_rolled_over() -> None:
    """What such a host serves now counts as live too."""

    def before(world: World) -> None:
        world.platform.by_hand = {"book.example": "dpl_v2"}

    async def scene(world: World, past: Incident) -> None:
        world.platform.by_hand = {"book.example": "dpl_v3"}
        fixed = replace(world.deployment("v2"), id="dpl_v3", url="https://v3.example")
        world.platform._deployments["dpl_v3"] = fixed
        asked = len(world.platform.asked)
        with pytest.raises(CannotUndo, match="dpl_v3"):
            await world.engine.forward.undo(past.id, reason=REASON)
        assert len(world.platform.asked) == asked

    play(scene, before)


def test_a_host_that_went_to_another_project_stays_there() -> None:
    """It was moved by hand once, and is nobody's to move now; the rest goes forward."""
    said: list[str] = []

    def before(world: World) -> None:
        world.engine = replace(world.engine, notice=said.append)
        world.platform.by_hand = {"book.example": "dpl_v2"}

    async def scene(world: World, past: Incident) -> None:
        world.platform.foreign = {"book.example"}
        undone = await world.engine.forward.undo(past.id, reason=REASON)
        assert undone.outcome is Outcome.RESTORED
        assert world.platform.by_hand == {"book.example": "dpl_v1"}

    play(scene, before)
    assert any("book.example" in line for line in said)


def test_a_token_that_may_not_see_what_rolls_out_undoes_all_the_same() -> None:
    """As it rolled back; that it is not known is said."""
    said: list[str] = []

    def before(world: World) -> None:
        async def denied() -> RollingRelease | None:
            raise PlatformDenied("Not in your plan.")

        world.engine = replace(world.engine, notice=said.append)
        world.platform.rolling_release = denied  # type: ignore[method-assign]

    async def scene(world: World, past: Incident) -> None:
        said.clear()
        undone = await world.engine.forward.undo(past.id, reason=REASON)
        assert undone.outcome is Outcome.RESTORED
        assert "what rolls out is not known: Not in your plan." in said

    play(scene, before)


@pytest.mark.parametrize("ended", [Outcome.RESTORED, Outcome.ESCALATED, None])
def test_only_the_last_rollback_of_a_part_is_undone(ended: Outcome | None) -> None:
    """What went back later went back from there; a person may know better."""

    async def scene(world: World, past: Incident) -> None:
        later = replace(
            past,
            id="inc-later",
            from_deployment="dpl_v0",
            opened_at=past.opened_at + timedelta(seconds=60),
            outcome=ended,
        )
        await world.ledger.save_incident(later)
        forward = world.engine.forward
        with pytest.raises(CannotUndo, match="inc-later moved"):
            await forward.undo(past.id, reason=REASON)
        assert await forward.plan(past.id, reason=REASON, override=True)

    play(scene)


def test_a_later_incident_that_moved_nothing_of_the_part_is_no_hindrance() -> None:
    """One that was refused, one of another part, one that was denied before it began.

    Nor is an earlier undoing of the same rollback that did not come to its end.
    """

    async def scene(world: World, past: Incident) -> None:
        base = replace(past, opened_at=past.opened_at + timedelta(seconds=60))
        (step,) = past.steps
        refused = Outcome.REFUSED
        failed = replace(step, status=StepStatus.FAILED)
        for later in (
            replace(base, id="1", outcome=refused, steps=(), phases=(), journal=()),
            replace(base, id="2", part="api", steps=(replace(step, target="api"),)),
            replace(base, id="3", steps=(failed,), phases=(), journal=()),
            replace(base, id="4", outcome=Outcome.ESCALATED, undoes=past.id),
        ):
            await world.ledger.save_incident(later)
        undone = await world.engine.forward.undo(past.id, reason=REASON)
        assert undone.outcome is Outcome.RESTORED

    play(scene)


@pytest.mark.parametrize("together", [False, True])
def test_a_later_rollback_that_was_undone_is_no_hindrance(together: bool) -> None:
    """One after the other, the last one first, each can be undone."""

    async def scene(world: World, past: Incident) -> None:
        other = "inc-later-application" if together else "inc-later"
        later = replace(
            past, id=other, opened_at=past.opened_at + timedelta(seconds=60)
        )
        undoing = replace(
            later,
            id="inc-undoing",
            undoes="inc-later",
            opened_at=past.opened_at + timedelta(seconds=90),
        )
        first = replace(later, id="inc-later", steps=())
        for each in (first, later, undoing):
            await world.ledger.save_incident(each)
        undone = await world.engine.forward.undo(past.id, reason=REASON)
        assert undone.outcome is Outcome.RESTORED

    play(scene)
