"""The database beside the application: its backup, and whether its schema goes back."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio
import pytest

from rollback.adapters.memory import MemoryDatabase
from rollback.compatibility import breaks
from rollback.errors import (
    AlreadyRollingBack,
    CannotUndo,
    LockNotTaken,
    NoSuchPart,
    SchemaRefused,
    UnknownVersion,
)
from rollback.model import (
    DeploymentVersion,
    HealthStatus,
    Incident,
    JournalEntry,
    Outcome,
    StepStatus,
)
from rollback.testing import World, simulate

from .test_parts import Both
from .test_parts import play as play_both

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

    play(scene)


@pytest.mark.parametrize("wanted", ["dpl_v2", "schema:2"])
def test_every_claim_outlasts_a_schema_that_waits_for_its_backup(wanted: str) -> None:
    """Nobody else takes the release or its schema meanwhile, however long it is."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.backup_seconds = 1800
        other = Incident(
            id="inc-other",
            environment="production",
            from_deployment=wanted,
            to_deployment="1",
            reason="x",
            opened_at=world.clock.now(),
        )
        async with anyio.create_task_group() as group:
            group.start_soon(partial(world.engine.roll_back, reason="x"))
            await anyio.sleep(1000)
            with pytest.raises(AlreadyRollingBack):
                await world.ledger.open_incident(other, lease_seconds=30)
        assert await world.live() == "dpl_v1"
        await world.ledger.open_incident(other, lease_seconds=30)

    play(scene, breaks=True)


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
        assert database.applied == ["1", "2"]

    play(scene, breaks=False)


def test_that_nobody_recorded_whether_it_runs_is_said() -> None:
    """Then the schema stays, and the site is measured as always."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        told: list[str] = []
        world.engine = replace(world.engine, notice=told.append)
        await world.engine.roll_back(reason="x")
        assert database.applied == ["1", "2"]
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
        assert database.applied == ["1"]
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
        assert database.applied == ["1"]

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
        assert database.applied == ["1", "2"]
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
        assert database.applied == ["1"]

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
        assert database.applied == ["1"]

    play(scene)


def test_the_schema_alone_that_is_there_already_is_nothing_to_do() -> None:
    """Asked again, nothing changes."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.applied = ["1"]
        undone = await world.engine.roll_back(reason="x", only=("database",))
        assert undone.outcome is Outcome.NOTHING_TO_DO
        assert database.calls == []

    play(scene)


def test_a_version_that_was_never_applied_is_named() -> None:
    """What was recorded of the stable release does not fit the database."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.applied = ["7", "8"]
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
        database.applied.append("2")
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


async def recorded(world: World, name: str, migration: str, **more: object) -> None:
    """A release on record, of the application or of the API."""
    known = await world.engine.record(name, git_sha=name, migration=migration)
    await world.ledger.record(replace(known, **more))  # type: ignore[arg-type]  # fields
    await world.ledger.set_health(
        name, "production", HealthStatus.PASSING, world.clock.now()
    )
    await anyio.sleep(1)


def test_no_part_that_stays_live_loses_the_schema_it_was_built_for() -> None:
    """The API goes back alone; the site beside it needs what is to be taken back."""

    async def scene(both: Both) -> None:
        world, database = both.world, MemoryDatabase("1", "2", clock=both.world.clock)
        world.engine = replace(world.engine, database=database)
        await recorded(world, "dpl_blue", "1")
        await recorded(world, "dpl_green", "2", backward_compatible=False)
        await recorded(world, "dpl_v2", "2")
        with pytest.raises(SchemaRefused, match=r"dpl_v2, which is live as the appl"):
            await world.engine.plan(reason="x", only=("api",))
        verdict = await world.engine.alone("api").check("dpl_green", probe_seconds=1)
        for engine in (world.engine, world.engine.alone("api")):
            refused = await engine.roll_back(
                reason="x", candidate="dpl_green", verdict=verdict
            )
            assert refused.outcome is Outcome.REFUSED
        assert await both.live() == ("dpl_v2", "dpl_green")
        assert database.applied == ["1", "2"]

        whole = await world.engine.plan(reason="x", only=("application", "api"))
        assert whole is not None
        assert [s.target for s in whole.steps] == ["database", "application", "api"]

    play_both(scene)


def test_a_break_that_is_on_record_with_another_part_counts() -> None:
    """The API's release brought the migration that the site cannot run on."""

    async def scene(both: Both) -> None:
        world, database = both.world, MemoryDatabase("1", "2", clock=both.world.clock)
        world.engine = replace(world.engine, database=database)
        await recorded(world, "dpl_v1", "1")
        await recorded(world, "dpl_green", "2", backward_compatible=False)
        await recorded(world, "dpl_blue", "1")
        await recorded(world, "dpl_v2", "2")
        both.api._hosts["api.example"] = "dpl_blue"
        planned = await world.engine.plan(reason="x", only=("application",))
        assert planned is not None
        assert planned.schema is not None

    play_both(scene)


@pytest.mark.parametrize(
    ("said", "applied", "broken"),
    [
        ({"2": False}, "12", True),
        ({"2": True}, "12", False),
        ({"2": None}, "12", None),
        ({}, "12", None),
        ({"2": True, "3": True}, "123", False),
        ({"2": True}, "123", None),
        ({"3": True}, "123", False),
        ({"2": False, "3": True}, "13", False),
        ({"2": False, "3": True}, "123", True),
        ({"2": False}, "1", None),
        ({"2": False}, "", None),
    ],
)
def test_what_is_applied_now_decides_whether_a_release_runs_on_it(
    said: dict[str, bool | None], applied: str, broken: bool | None
) -> None:
    """What was taken back long ago, or was never applied, breaks nothing."""
    releases = [
        DeploymentVersion(
            id=version,
            deployment_id=version,
            environment="production",
            timestamp=datetime(2026, 1, 1, tzinfo=UTC),
            git_sha="a",
            db_migration_version=version,
            backward_compatible=compatible,
        )
        for version, compatible in said.items()
    ]
    assert breaks(releases, tuple(applied), "1") is broken


def test_a_pipeline_that_records_the_old_release_again_hides_no_break() -> None:
    """The order of the records says nothing; the migrations applied do."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        again = await world.engine.record("dpl_v1", git_sha="v1", migration="1")
        assert again.timestamp > world.clock.now() - timedelta(seconds=1)
        await world.engine.roll_back(reason="x")
        assert database.applied == ["1"]

    play(scene, breaks=True)


def test_a_gate_may_be_kept_from_taking_the_schema_back() -> None:
    """Then a person is called, and may do it."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        policy = replace(world.engine.policy, schema_unattended=False)
        world.engine = replace(world.engine, policy=policy)
        world.failing["dpl_v2"] = 10
        ruling = await world.engine.gate("dpl_v2", act=True)
        assert ruling.incident is not None
        assert ruling.incident.outcome is Outcome.REFUSED
        assert "a gate may not take that back" in ruling.incident.detail
        assert database.applied == ["1", "2"]
        undone = await world.engine.roll_back(reason="x")
        assert undone.outcome is Outcome.RESTORED

    play(scene, breaks=True)


def test_a_database_that_hangs_holds_up_no_traffic() -> None:
    """Whether the schema has to go back is asked for five seconds, and not longer."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        async def hangs() -> tuple[str, ...]:
            await anyio.sleep(3600)
            return ()

        database.versions = hangs  # type: ignore[method-assign]  # it does not answer
        undone = await world.engine.roll_back(reason="x")
        assert undone.outcome is Outcome.RESTORED
        accepted = undone.journal[events(undone).index("step_accepted")]
        assert (accepted.at - undone.opened_at).total_seconds() < 10
        noted = undone.journal[events(undone).index("note")]
        assert "the schema stays as it is" in noted.detail

    play(scene, breaks=True)


def test_undoing_asks_for_every_migration_that_was_taken_back() -> None:
    """One of two that is applied again is not enough; without the database none is."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        database.applied = ["1", "2", "3"]
        v2 = await world.engine.record("dpl_v2", git_sha="v2", migration="3")
        await world.ledger.record(replace(v2, backward_compatible=False))
        undone = await world.engine.roll_back(reason="x")
        assert database.applied == ["1"]
        database.applied = ["1", "2"]
        with pytest.raises(CannotUndo, match="ran on 3"):
            await world.engine.forward.undo(undone.id, reason="y")
        database.down = "no answer"
        with pytest.raises(CannotUndo, match="is not known"):
            await world.engine.forward.undo(undone.id, reason="y")
        again = await world.engine.forward.undo(undone.id, reason="y", override=True)
        assert again.outcome is Outcome.RESTORED

    play(scene, breaks=True)


def test_a_schema_step_that_was_cut_short_after_its_commit_counts_as_done() -> None:
    """Its receipt says that the schema went back, whatever the step says."""

    async def scene(world: World, _: MemoryDatabase) -> None:
        undone = await world.engine.roll_back(reason="x")
        steps = [
            replace(s, status=StepStatus.FAILED) if s.target == "database" else s
            for s in undone.steps
        ]
        await world.ledger.save_incident(replace(undone, steps=tuple(steps)))
        with pytest.raises(CannotUndo, match="ran on 2"):
            await world.engine.forward.undo(undone.id, reason="y")

    play(scene, breaks=True)
