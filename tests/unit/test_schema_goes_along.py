"""The database beside the application: its backup, and whether its schema goes back."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from rollback.adapters.memory import MemoryDatabase
from rollback.errors import (
    CannotUndo,
    LockNotTaken,
    NoSuchPart,
    SchemaRefused,
    UnknownVersion,
)
from rollback.model import Incident, JournalEntry, Outcome, StepStatus
from rollback.testing import World, simulate

Scene = Callable[[World, MemoryDatabase], Awaitable[None]]


def play(scene: Scene, *, breaks: bool | None = None) -> None:
    """v2 is live on schema 2, v1 ran on 1; `breaks`: v1 does not run on 2."""

    async def with_database(world: World) -> None:
        database = MemoryDatabase("1", "2", clock=world.clock)
        world.engine = replace(world.engine, database=database)
        recorded = await world.engine.record("dpl_v2", git_sha="v2", migration="2")
        compatible = None if breaks is None else not breaks
        await world.ledger.record(replace(recorded, backward_compatible=compatible))
        await scene(world, database)

    simulate(with_database)


def events(incident: Incident) -> list[str]:
    """The journal's events."""
    return [entry.event for entry in incident.journal]


def test_a_backup_is_begun_before_anything_changes_and_holds_nothing_up() -> None:
    """It takes ten minutes; the site is restored long before, and it is kept."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.backup_seconds = 600
        told: list[str] = []
        world.engine = replace(world.engine, notice=told.append)

        undone = await world.engine.roll_back(reason="x")

        assert events(undone)[0] == "backup_begins"
        assert undone.outcome is Outcome.RESTORED
        verify = next(p for p in undone.phases if p.name == "verify")
        assert (verify.ended_at - undone.opened_at).total_seconds() < 60
        assert undone.backup is not None
        assert undone.backup.verified
        assert undone.backup.path == f"memory:{undone.id}"
        assert any("nothing else waits" in line for line in told)
        stored = await world.ledger.incident(undone.id)
        assert stored is not None
        assert stored.backup == undone.backup
        assert events(stored).count("backup_goes_on") >= 9, "the claim is renewed"

    play(scene)


@pytest.mark.parametrize("amiss", ["no_backup", "down"])
def test_traffic_moves_without_a_backup_and_that_is_recorded(amiss: str) -> None:
    """A database that is down, or a full disk, leaves the application free to go."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        setattr(database, amiss, "the disk is full")

        undone = await world.engine.roll_back(reason="x")

        assert undone.outcome is Outcome.RESTORED
        assert undone.backup is not None
        assert not undone.backup.verified
        assert undone.backup.problem == "the disk is full"
        assert "backup_failed" in events(undone)
        assert await world.live() == "dpl_v1"

    play(scene)


def test_a_backup_that_breaks_in_no_known_way_stops_nothing() -> None:
    """A mistake of ours in it is recorded as its problem."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        async def broken(label: str, *, notice: object) -> None:
            raise ZeroDivisionError(label, notice)

        database.back_up = broken  # type: ignore[method-assign,assignment]  # to break it
        undone = await world.engine.roll_back(reason="x")
        assert undone.outcome is Outcome.RESTORED
        assert undone.backup is not None
        assert "ZeroDivisionError" in str(undone.backup.problem)

    play(scene)


def test_ctrl_c_while_the_backup_goes_on_takes_nothing_back() -> None:
    """What was measured stays restored; the backup is recorded as cut short."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.backup_seconds = 3600
        undone: list[Incident] = []
        with anyio.move_on_after(600):
            undone.append(await world.engine.roll_back(reason="x"))
        (stored,) = await world.ledger.incidents("production", limit=9)
        assert stored.outcome is Outcome.RESTORED
        assert stored.backup is not None
        assert stored.backup.problem == "it was interrupted"
        assert await world.live() == "dpl_v1"

    play(scene)


def test_a_schema_that_the_stable_release_runs_on_stays() -> None:
    """Taking it back would only risk values."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        undone = await world.engine.roll_back(reason="x")
        assert undone.outcome is Outcome.RESTORED
        assert database.versions == ["1", "2"]

    play(scene, breaks=False)


def test_that_nobody_recorded_whether_it_runs_is_said() -> None:
    """Then the schema stays, and the site is measured as always."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        told: list[str] = []
        world.engine = replace(world.engine, notice=told.append)
        await world.engine.roll_back(reason="x")
        assert database.versions == ["1", "2"]
        assert any("was not recorded: the schema stays" in line for line in told)

    play(scene)


def test_the_schema_goes_first_where_the_stable_release_breaks_on_it() -> None:
    """After the verified backup, and before any traffic moves."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.backup_seconds = 30

        undone = await world.engine.roll_back(reason="x")

        assert undone.outcome is Outcome.RESTORED
        assert database.calls == ["back_up", "backed_up", "roll_back"]
        assert [step.target for step in undone.steps] == ["database", "application"]
        assert database.versions == ["1"]
        assert await world.live() == "dpl_v1"
        assert undone.receipt is not None
        assert undone.receipt.versions == ("2",)
        accepted = undone.journal[events(undone).index("step_accepted")]
        assert (accepted.at - undone.opened_at).total_seconds() >= 30
        assert ("database", "schema:2", "schema:1") in {
            (m.part, m.from_deployment, m.to_deployment) for m in undone.also
        }

    play(scene, breaks=True)


def test_a_gate_takes_the_schema_along_by_itself() -> None:
    """Nobody is there to ask: what was recorded decides."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        world.failing["dpl_v2"] = 10
        ruling = await world.engine.gate("dpl_v2", act=True)
        assert ruling.incident is not None
        assert ruling.incident.outcome is Outcome.RESTORED
        assert database.versions == ["1"]

    play(scene, breaks=True)


@pytest.mark.parametrize("why", ["refused", "no backup"])
def test_traffic_stays_when_the_schema_that_must_go_first_does_not(why: str) -> None:
    """The stable release would break on it: a person is called instead."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        if why == "refused":
            database.refusal = LockNotTaken("held by 77")
            database.plan = planned(database)  # type: ignore[method-assign,assignment]
        else:
            database.no_backup = "the disk is full"

        undone = await world.engine.roll_back(reason="x")

        assert undone.outcome is Outcome.ESCALATED
        assert [step.status for step in undone.steps] == [
            StepStatus.FAILED,
            StepStatus.SKIPPED,
        ]
        assert database.versions == ["1", "2"]
        assert await world.live() == "dpl_v2"

    play(scene, breaks=True)


def planned(database: MemoryDatabase) -> Callable[..., Awaitable[object]]:
    """Plan as if nothing refused: it turns up when it is done."""
    plan = database.plan

    async def without_refusal(to: str, *, accept: frozenset[str]) -> object:
        refusal, database.refusal = database.refusal, None
        try:
            return await plan(to, accept=accept)
        finally:
            database.refusal = refusal

    return without_refusal


def test_a_schema_that_cannot_be_planned_back_refuses_the_whole() -> None:
    """Moving the application alone would break it; a gate calls for help."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.refusal = SchemaRefused("rollback_2.sql is missing")
        world.failing["dpl_v2"] = 10
        ruling = await world.engine.gate("dpl_v2", act=True)
        assert ruling.incident is not None
        assert ruling.incident.outcome is Outcome.REFUSED
        assert "rollback_2.sql is missing" in ruling.incident.detail
        assert await world.live() == "dpl_v2"
        assert database.calls == []

    play(scene, breaks=True)


def test_a_database_that_is_down_keeps_its_schema_and_no_traffic() -> None:
    """That the stable release needs another schema cannot be mended now."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.down = "no answer"
        undone = await world.engine.roll_back(reason="x")
        assert undone.outcome is Outcome.RESTORED
        assert await world.live() == "dpl_v1"

    play(scene, breaks=True)


def test_asked_for_it_goes_after_the_application_that_runs_on_both() -> None:
    """No visitor meets a release without its schema."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        undone = await world.engine.roll_back(
            reason="x", only=("application", "database")
        )
        assert [step.target for step in undone.steps] == ["application", "database"]
        assert undone.outcome is Outcome.RESTORED
        assert database.versions == ["1"]

    play(scene, breaks=False)


def test_the_schema_alone_goes_back_and_the_site_is_measured() -> None:
    """The release that is live stays, and has to be healthy on it."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        undone = await world.engine.roll_back(reason="x", only=("database",))
        assert undone.outcome is Outcome.RESTORED
        assert undone.part == "database"
        assert (undone.from_deployment, undone.to_deployment) == (
            "schema:2",
            "schema:1",
        )
        assert undone.flows, "the flows were tried"
        assert await world.live() == "dpl_v2"
        assert database.versions == ["1"]

    play(scene)


def test_the_schema_alone_that_is_there_already_is_nothing_to_do() -> None:
    """Asked again, nothing changes."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.versions = ["1"]
        undone = await world.engine.roll_back(reason="x", only=("database",))
        assert undone.outcome is Outcome.NOTHING_TO_DO
        assert database.calls == []

    play(scene)


def test_a_version_that_was_never_applied_is_named() -> None:
    """What was recorded of the stable release does not fit the database."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.versions = ["7", "8"]
        with pytest.raises(UnknownVersion, match="1 was never applied"):
            await world.engine.plan(reason="x", only=("database",))

    play(scene)


def test_without_a_database_there_is_no_such_part() -> None:
    """It is said, before anything is done."""

    async def scene(world: World, _: MemoryDatabase) -> None:
        world.engine = replace(world.engine, database=None)
        with pytest.raises(NoSuchPart, match="database"):
            await world.engine.roll_back(reason="x", only=("database",))
        undone = await world.engine.roll_back(reason="x")
        assert undone.backup is None

    play(scene)


def test_undoing_waits_for_the_migrations_to_be_applied_again() -> None:
    """The release that would be promoted needs the schema that was taken back."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        undone = await world.engine.roll_back(reason="x")
        with pytest.raises(CannotUndo, match="took the schema back to 1"):
            await world.engine.forward.undo(undone.id, reason="y")
        assert await world.live() == "dpl_v1"
        database.versions.append("2")
        again = await world.engine.forward.undo(undone.id, reason="y")
        assert again.outcome is Outcome.RESTORED
        assert await world.live() == "dpl_v2"

    play(scene, breaks=True)


def test_the_claim_on_the_schema_is_one_of_its_own() -> None:
    """Somebody who rolls the same schema back meanwhile is told so."""

    async def scene(world: World, _: MemoryDatabase) -> None:
        other = Incident(
            id="inc-other",
            environment="production",
            from_deployment="schema:2",
            to_deployment="schema:1",
            reason="x",
            opened_at=world.clock.now(),
            part="database",
            journal=(JournalEntry(at=world.clock.now(), event="opened"),),
        )
        await world.ledger.open_incident(other, lease_seconds=900)
        with pytest.raises(Exception, match="inc-other"):
            await world.engine.roll_back(reason="x")
        assert await world.live() == "dpl_v2"

    play(scene, breaks=True)
