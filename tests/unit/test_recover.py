"""State recovery in memory, on a clock that jumps."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio
import pytest

from rollback.adapters.memory import (
    MemoryCache,
    MemoryDatabase,
    MemoryKeys,
    MemoryRestores,
)
from rollback.errors import (
    AlreadyRollingBack,
    BackupFailed,
    Refused,
    SchemaRefused,
    SettingsInvalid,
    UnknownBackup,
)
from rollback.model import HealthStatus, Incident, Outcome
from rollback.ports import Notice
from rollback.recover import Recovery
from rollback.recovery_plan import Ask
from rollback.schema import Backup, TableRows
from rollback.targets.state import require_prefixes
from rollback.testing import World, simulate

WITH = Ask(reason="v2 spoilt it", with_database=True)
WITHOUT = Ask(reason="v2 spoilt it")
AGAIN = replace(WITHOUT, redeploy=True)
GOOD, BAD = (TableRows(table="couples", rows=2),), (TableRows(table="couples", rows=0),)


class Listed(MemoryDatabase):
    """A database whose backups are listed with the others."""

    def __init__(self, restores: MemoryRestores) -> None:
        super().__init__("1", clock=restores.clock)
        self.restores = restores

    async def back_up(self, label: str, *, notice: Notice) -> Backup:
        """Take it, and list it as the newest."""
        taken = await super().back_up(label, notice=notice)
        taken = replace(taken, name=f"{label}-{len(self.calls)}", tables=BAD)
        self.restores.known.insert(0, taken)
        return taken


@dataclass
class Ruin:
    """v2 is live and has spoilt the data, of which a good backup was taken."""

    world: World
    notices: list[str] = field(default_factory=list)
    on_notice: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        """Put everything in its place."""
        self.restores = MemoryRestores(clock=self.world.clock)
        self.restores.now = BAD
        self.database = Listed(self.restores)
        self.keys = MemoryKeys("page:1", "page:2", "feature_flags", "queue")
        self.cache = MemoryCache()

    @property
    def recovery(self) -> Recovery:
        """What puts it right."""
        return Recovery(
            engine=replace(
                self.world.engine, database=self.database, notice=self._notice
            ),
            restores=self.restores,
            keys=self.keys,
            cache=self.cache,
            prefixes=("page:",),
            tags=("feature:timeline",),
        )

    async def backed_up(self, name: str = "nightly", version: str = "1") -> Backup:
        """A backup of the time when all was well."""
        taken = await MemoryDatabase("1", clock=self.world.clock).back_up(
            name, notice=print
        )
        before = taken.taken_at - timedelta(hours=1)
        taken = replace(taken, tables=GOOD, version=version, taken_at=before)
        self.restores.known.insert(0, taken)
        await anyio.sleep(60)
        return taken

    async def recover(self, ask: Ask) -> Incident:
        """Plan it, and do it."""
        return await self.recovery.carry_out(await self.recovery.plan(ask))

    def statuses(self, ended: Incident) -> dict[str, str]:
        """How each step ended."""
        return {step.target: step.status.value for step in ended.steps}

    def _notice(self, text: str) -> None:
        self.notices.append(text)
        self.on_notice(text)


def play(scene: Callable[[Ruin], Awaitable[None]]) -> None:
    """Play a scene on such a ruin."""
    simulate(lambda world: scene(Ruin(world)))


def test_without_the_database_all_else_is_put_right() -> None:
    """Backup first, v1 live, the caches empty, and no row touched."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()

        ended = await ruin.recover(WITHOUT)

        assert ended.outcome is Outcome.RESTORED
        assert ruin.statuses(ended) == {
            "last-good": "done",
            "caches": "done",
            "edge": "done",
        }
        assert await ruin.world.live() == "dpl_v1"
        assert ruin.keys.held == {"feature_flags", "queue"}
        assert ruin.cache.purged == [("feature:timeline",)]
        assert (ruin.restores.done, ruin.restores.now) == ([], BAD)
        assert ended.backup is not None
        assert ended.backup.verified
        assert ruin.database.calls.count("back_up") == 1, "one backup serves all"

    play(scene)


def test_with_the_database_the_last_good_backup_comes_back() -> None:
    """Not the one that was taken a moment ago, of what is wrong."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()

        ended = await ruin.recover(WITH)

        assert ended.outcome is Outcome.RESTORED
        assert ruin.restores.done == ["nightly"]
        assert ruin.restores.now == GOOD
        order = [step.target for step in ended.steps]
        assert order == ["last-good", "restore", "caches", "edge"]

    play(scene)


def test_traffic_moves_while_the_backup_goes_on() -> None:
    """Neither production nor the caches wait for ten minutes of a dump."""

    async def scene(ruin: Ruin) -> None:
        ruin.database.backup_seconds = 600

        async with anyio.create_task_group() as group:
            group.start_soon(ruin.recover, WITHOUT)
            await anyio.sleep(120)
            assert ruin.database.calls == ["back_up"], "it still goes on"
            assert await ruin.world.live() == "dpl_v1"
            assert ruin.keys.held == {"feature_flags", "queue"}

        (_, ended) = await ruin.world.ledger.incidents("production", limit=2)
        assert ended.outcome is Outcome.RESTORED
        assert ended.backup is not None
        assert ended.backup.verified

    play(scene)


def test_the_restore_waits_for_the_backup() -> None:
    """And nothing is put back before it is verified."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.database.backup_seconds = 600
        ruin.restores.on_restore = lambda _: ruin.database.calls.append("restored")

        ended = await ruin.recover(WITH)

        assert ended.outcome is Outcome.RESTORED
        assert ruin.database.calls == ["back_up", "backed_up", "restored"]

    play(scene)


def test_where_the_schema_goes_back_too_it_waits_for_the_one_backup() -> None:
    """The engine takes no second one."""

    async def scene(ruin: Ruin) -> None:
        ruin.database.applied = ["1", "2"]
        ruin.database.backup_seconds = 60
        ledger = ruin.world.ledger
        v2 = await ledger.find("dpl_v2", "production")
        assert v2 is not None
        v2 = replace(v2, db_migration_version="2", backward_compatible=False)
        await ledger.record(replace(v2, timestamp=v2.timestamp + timedelta(seconds=1)))

        ended = await ruin.recover(WITHOUT)

        assert ended.outcome is Outcome.RESTORED, ended.detail
        assert ruin.database.calls == ["back_up", "backed_up", "roll_back"]
        assert ruin.database.applied == ["1"]
        assert await ruin.world.live() == "dpl_v1"

    play(scene)


def test_a_rollback_before_it_leaves_the_good_backup_chosen() -> None:
    """The usual night: the gate rolled back, and took a backup of the damage."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        undone = await ruin.recovery.engine.roll_back(reason="v2 deletes rows")
        assert undone.backup is not None
        await anyio.sleep(60)

        planned = await ruin.recovery.plan(WITH)
        ended = await ruin.recovery.carry_out(planned)

        assert "newest one from before dpl_v2 went live" in str(planned.says)
        assert ended.outcome is Outcome.RESTORED
        assert ruin.restores.now == GOOD

    play(scene)


def test_a_backup_from_after_it_went_live_is_not_chosen() -> None:
    """Also where the release was recorded once more since."""

    async def scene(ruin: Ruin) -> None:
        world = ruin.world
        await ruin.backed_up()
        await world.ledger.set_health(
            "dpl_v2", "production", HealthStatus.FAILING, world.clock.now()
        )
        await anyio.sleep(60)
        await ruin.database.back_up("nightly-of-v2", notice=print)
        await anyio.sleep(60)
        await world.engine.record("dpl_v2", git_sha="v2" * 20, migration="1")

        planned = await ruin.recovery.plan(WITH)

        assert planned.restoring is not None
        assert planned.restoring.backup.name == "nightly"

    play(scene)


def test_where_no_release_is_left_a_backup_has_to_be_named() -> None:
    """What passed may have spoilt it at any time: the newest ones are named."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        world = ruin.world
        await world.ledger.set_health(
            "dpl_v2", "production", HealthStatus.PASSING, world.clock.now()
        )

        with pytest.raises(UnknownBackup, match="not known") as refusal:
            await ruin.recovery.plan(WITH)

        assert "--backup" in refusal.value.mend
        assert "nightly, taken 2025-12-31 23:00:02 UTC" in refusal.value.mend

    play(scene)


def test_without_a_backup_from_before_it_one_has_to_be_named() -> None:
    """What was taken since is of the time of the bad release."""

    async def scene(ruin: Ruin) -> None:
        await anyio.sleep(60)
        await ruin.database.back_up("late", notice=print)

        with pytest.raises(UnknownBackup, match="from before dpl_v2 went") as refusal:
            await ruin.recovery.plan(WITH)

        assert "late-" in refusal.value.mend

    play(scene)


def test_what_a_recovery_backed_up_is_not_restored_by_the_next() -> None:
    """Unless it is named: it was taken of what was wrong."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        await ruin.recover(WITHOUT)
        taken = ruin.restores.known[0].name

        planned = await ruin.recovery.plan(WITH)
        named = await ruin.recovery.plan(replace(WITH, backup=taken))

        assert planned.restoring is not None
        assert planned.restoring.backup.name == "nightly"
        assert named.restoring is not None
        assert named.restoring.backup.name == taken
        with pytest.raises(UnknownBackup):
            await ruin.recovery.plan(replace(WITH, backup="nobody's"))

    play(scene)


def test_what_is_live_and_has_passed_is_left_there() -> None:
    """Its data and caches are put right all the same."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        world = ruin.world
        await world.ledger.set_health(
            "dpl_v2", "production", HealthStatus.PASSING, world.clock.now()
        )

        ended = await ruin.recover(replace(WITH, backup="nightly"))

        assert ended.outcome is Outcome.RESTORED
        assert ruin.statuses(ended)["last-good"] == "already"
        assert await world.live() == "dpl_v2"
        assert world.platform.asked == []

    play(scene)


def test_where_both_releases_need_the_rows_they_come_first() -> None:
    """A rollback cannot help as long as both fail on the database."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        world = ruin.world
        world.broken = {"dpl_v1": {"database"}, "dpl_v2": {"database"}}
        ruin.restores.on_restore = lambda _: world.broken.clear()

        ended = await ruin.recover(WITH)

        assert ended.outcome is Outcome.RESTORED
        order = [step.target for step in ended.steps]
        assert order.index("restore") < order.index("last-good")
        assert await world.live() == "dpl_v1"

    play(scene)


def test_without_a_backup_of_now_nothing_is_restored_over_it() -> None:
    """The rest goes on, and a person is called."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.database.no_backup = "the disk is full"

        ended = await ruin.recover(WITH)

        assert ended.outcome is Outcome.ESCALATED
        assert ruin.restores.done == []
        assert ruin.statuses(ended)["restore"] == "failed"
        assert await ruin.world.live() == "dpl_v1"
        assert ruin.keys.held == {"feature_flags", "queue"}
        assert "nothing is restored over it" in ended.detail

    play(scene)


def test_a_database_that_is_down_is_told_in_the_plan() -> None:
    """And what can be done without it is done."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.restores.down = ruin.database.down = "no answer"

        planned = await ruin.recovery.plan(WITH)
        ended = await ruin.recovery.carry_out(planned)

        assert any("nothing will be restored" in note for note in planned.notes)
        assert ended.outcome is Outcome.ESCALATED
        assert ruin.statuses(ended)["caches"] == "done"

    play(scene)


def test_a_restore_that_failed_is_done_when_it_is_run_again() -> None:
    """With the backup that was chosen first, and the one that was taken first."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.restores.breaks = "the disk is full"
        first = await ruin.recover(WITH)
        assert first.outcome is Outcome.ESCALATED
        ruin.restores.breaks = None

        second = await ruin.recover(WITH)

        assert second.outcome is Outcome.RESTORED
        assert ruin.restores.done == ["nightly"]
        assert list(ruin.restores.marks) == [first.id]
        assert ruin.database.calls.count("back_up") == 1
        assert ruin.statuses(second) == {
            "last-good": "already",
            "restore": "done",
            "caches": "already",
            "edge": "done",
        }

    play(scene)


def test_what_has_ended_and_restored_is_not_taken_for_cut_short() -> None:
    """A new disaster an hour later: neither left out nor done again unasked."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.world.flows_fail = True
        first = await ruin.recover(WITH)
        assert first.outcome is Outcome.ESCALATED
        ruin.world.flows_fail = False
        await anyio.sleep(3600)
        ruin.restores.now = BAD

        with pytest.raises(Refused, match=f"{first.id} has ended") as refusal:
            await ruin.recovery.plan(WITH)
        assert "--anew" in refusal.value.mend
        assert ruin.restores.now == BAD

        ended = await ruin.recover(replace(WITH, anew=True))
        assert ended.outcome is Outcome.RESTORED
        assert ruin.restores.now == GOOD

    play(scene)


def test_what_failed_beside_a_restore_is_done_without_it() -> None:
    """The rows that came since are not put aside for the sake of a cache."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.cache.down = "no answer"
        await ruin.recover(WITH)
        ruin.cache.down = None

        with pytest.raises(Refused, match="no answer"):
            await ruin.recovery.plan(WITH)
        ended = await ruin.recover(WITHOUT)

        assert ended.outcome is Outcome.RESTORED
        assert ruin.statuses(ended)["edge"] == "done"
        assert ruin.restores.done == ["nightly"]

    play(scene)


def test_two_prompts_restore_once() -> None:
    """What the second one said yes to is not what is there any more."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        one, two = await ruin.recovery.plan(WITH), await ruin.recovery.plan(WITH)
        first = await ruin.recovery.carry_out(one)
        ruin.restores.now = (TableRows(table="couples", rows=3),)

        with pytest.raises(Refused, match=f"{first.id}, was at it"):
            await ruin.recovery.carry_out(two)

        assert ruin.restores.done == ["nightly"]
        known = await ruin.world.ledger.incidents("production", limit=9)
        assert all(one.outcome is not None for one in known)

    play(scene)


def test_a_second_prompt_that_waited_for_the_first_restores_nothing() -> None:
    """It saw the first one under way, and finds that it has ended well."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.database.backup_seconds = 10
        ended = anyio.Event()

        async def first() -> None:
            await ruin.recover(WITH)
            ended.set()

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await anyio.sleep(5)
            planned = await ruin.recovery.plan(WITH)
            assert planned.resumes
            with pytest.raises(Refused, match="was at it since"):
                await ruin.recovery.carry_out(planned)
            assert ended.is_set()
        assert ruin.restores.done == ["nightly"]

    play(scene)


def test_what_was_put_right_can_be_restored_again() -> None:
    """A recovery that ended well is over; the next one is another."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        await ruin.recover(WITH)

        await ruin.recover(WITH)

        assert ruin.restores.done == ["nightly", "nightly"]

    play(scene)


def test_anew_goes_on_with_nothing() -> None:
    """Somebody who wants the restore again can have it."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.cache.down = "no answer"
        await ruin.recover(WITH)

        await ruin.recover(replace(WITH, anew=True))

        assert ruin.restores.done == ["nightly", "nightly"]

    play(scene)


@pytest.mark.parametrize("last_words", [True, False])
@pytest.mark.parametrize("at", range(1, 40, 2))
def test_cut_short_anywhere_and_run_again_it_ends_the_same(
    at: int, *, last_words: bool
) -> None:
    """At whichever word it is ended, and whether or not it could still say so."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        with anyio.CancelScope() as scope:

            def kill(_: str) -> None:
                if len(ruin.notices) == at:
                    scope.cancel()
                    ruin.world.ledger.down = None if last_words else "killed"

            ruin.on_notice = kill
            await ruin.recover(WITH)
        ruin.world.ledger.down, ruin.on_notice = None, lambda _: None

        ended = await ruin.recover(WITH)

        assert ended.outcome is Outcome.RESTORED, ended.detail
        whole = not scope.cancelled_caught
        assert ruin.restores.done == ["nightly"] * (2 if whole else 1)
        assert ruin.restores.now == GOOD
        assert await ruin.world.live() == "dpl_v1"
        assert ruin.keys.held == {"feature_flags", "queue"}

    play(scene)


def test_a_second_one_is_refused_while_the_first_lives() -> None:
    """It waits for as long as a dead one's claim would last, and no longer."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.database.backup_seconds = 120
        planned = await ruin.recovery.plan(WITH)
        async with anyio.create_task_group() as group:
            group.start_soon(ruin.recovery.carry_out, planned)
            await anyio.sleep(5)
            with pytest.raises(AlreadyRollingBack):
                await ruin.recovery.carry_out(planned)
        assert ruin.restores.done == ["nightly"]

    play(scene)


def test_a_damaged_backup_is_refused_before_anything_is_done() -> None:
    """Also where nobody has asked for more than the plan."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.restores.damaged = {"nightly"}

        with pytest.raises(BackupFailed, match="damaged"):
            await ruin.recovery.plan(WITH)

        assert ruin.database.calls == []
        assert await ruin.world.ledger.incidents("production", limit=9) == ()

    play(scene)


def test_a_backup_that_cannot_be_restored_in_this_way_is_refused() -> None:
    """What is in the way is said before, and not when half of it is done."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.restores.refusal = "it is not the owner's"

        with pytest.raises(BackupFailed, match="not the owner's"):
            await ruin.recovery.plan(WITH)

    play(scene)


@pytest.mark.parametrize(
    ("version", "compatible", "refused"),
    [
        ("1", None, False),
        ("0", None, True),
        ("2", None, False),
        ("2", True, False),
        ("2", False, True),
        ("other", None, True),
    ],
)
def test_the_release_has_to_run_on_the_schema_that_comes_back(
    version: str, *, compatible: bool | None, refused: bool
) -> None:
    """v1 needs 1: an older schema is refused, and a newer one that breaks it."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up(version=version)
        ledger = ruin.world.ledger
        v2 = await ledger.find("dpl_v2", "production")
        assert v2 is not None
        v2 = replace(v2, db_migration_version="2", backward_compatible=compatible)
        await ledger.record(replace(v2, timestamp=v2.timestamp + timedelta(seconds=1)))

        if refused:
            with pytest.raises(SchemaRefused):
                await ruin.recovery.plan(WITH)
            return
        planned = await ruin.recovery.plan(WITH)
        assert bool(planned.notes) is (version != "1")

    play(scene)


@pytest.mark.parametrize(("applied", "refused"), [("1 3", False), ("1 2 3", True)])
def test_a_break_that_is_not_applied_any_more_is_in_nobodys_way(
    applied: str, *, refused: bool
) -> None:
    """2, which broke v1, was taken back and replaced by 3; or 3 came on top of it."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up(version="3")
        ruin.database.applied = applied.split()
        ledger = ruin.world.ledger
        v2 = await ledger.find("dpl_v2", "production")
        assert v2 is not None
        v2 = replace(v2, db_migration_version="2", backward_compatible=False)
        await ledger.record(replace(v2, timestamp=v2.timestamp + timedelta(seconds=1)))

        if refused:
            with pytest.raises(SchemaRefused, match="does not run"):
                await ruin.recovery.plan(WITH)
            return
        planned = await ruin.recovery.plan(WITH)
        assert planned.restoring is not None

    play(scene)


def test_what_an_own_killed_run_has_left_open_is_taken_up() -> None:
    """Its rollback holds v2 for a quarter of an hour; nobody waits for a dead one."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        world = ruin.world
        with anyio.CancelScope() as scope:

            def kill(text: str) -> None:
                if "point production" in text:
                    scope.cancel()
                    world.ledger.down = "killed"

            ruin.on_notice = kill
            await ruin.recover(WITHOUT)
        world.ledger.down, ruin.on_notice = None, lambda _: None
        assert scope.cancelled_caught

        ended = await ruin.recover(WITHOUT)

        assert ended.outcome is Outcome.RESTORED, ended.detail
        assert await world.live() == "dpl_v1"

    play(scene)


def test_another_rollback_of_the_same_release_is_left_to_it() -> None:
    """A gate that is at it is not pushed aside; the rest is done."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        other = Incident(
            id="inc_gate",
            environment="production",
            from_deployment="dpl_v2",
            to_deployment="dpl_v1",
            reason="error rate",
            opened_at=ruin.world.clock.now(),
        )
        await ruin.world.ledger.open_incident(other, lease_seconds=900)

        ended = await ruin.recover(WITHOUT)

        assert ended.outcome is Outcome.ESCALATED
        assert "inc_gate" in ended.detail
        assert ruin.statuses(ended)["caches"] == "done"

    play(scene)


def test_a_ledger_that_is_down_keeps_nothing_from_being_put_right() -> None:
    """The platform knows what served before, and production is let serve that."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        ruin.world.ledger.down = "no answer"

        planned = await ruin.recovery.plan(WITHOUT)
        ended = await ruin.recovery.carry_out(planned)

        assert "application: point production at dpl_v1." in planned.says[1]
        assert await ruin.world.live() == "dpl_v1"
        assert ended.outcome is Outcome.RESTORED
        assert ruin.statuses(ended) == {
            "last-good": "done",
            "caches": "done",
            "edge": "done",
        }
        assert "was not saved" in ended.detail

    play(scene)


def test_without_the_ledger_what_was_gone_back_to_is_not_left_again() -> None:
    """A second run finds what the first one did, and goes no further back."""

    async def scene(ruin: Ruin) -> None:
        earlier = ruin.world.clock.now() - timedelta(days=2)
        v0 = replace(ruin.world.deployment("v0"), created_at=earlier)
        ruin.world.platform._deployments["dpl_v0"] = v0
        ruin.world.ledger.down = "no answer"
        await ruin.recover(WITHOUT)

        planned = await ruin.recovery.plan(WITHOUT)
        ended = await ruin.recovery.carry_out(planned)

        assert await ruin.world.live() == "dpl_v1"
        assert ruin.statuses(ended)["last-good"] == "already"
        assert "dpl_v1 is what the last rollback went back to" in planned.says[1][0]

    play(scene)


def test_everything_is_told() -> None:
    """When it begins, and how it ended."""

    async def scene(ruin: Ruin) -> None:
        await ruin.recover(WITHOUT)
        titles = [message.title for message in ruin.world.channel.messages]
        assert titles[0] == "Recovering the state of production"
        assert titles[-1] == "Production is restored"

    play(scene)


def test_what_is_live_is_built_anew_where_that_is_asked() -> None:
    """It is looked at, production is moved to it, and it is recorded as passing."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        world = ruin.world
        world.platform.build_seconds = 30

        ended = await ruin.recover(AGAIN)

        assert ended.outcome is Outcome.RESTORED, ended.detail
        live = await world.live()
        assert live not in ("dpl_v1", "dpl_v2")
        recorded = await world.ledger.find(live, "production")
        assert recorded is not None
        assert recorded.health_check_status is HealthStatus.PASSING
        assert recorded.db_migration_version == "1"
        assert world.platform.auto_assign is False, "as the rollback has left it"

    play(scene)


@pytest.mark.parametrize("at", range(2, 36, 3))
def test_cut_short_anywhere_it_is_built_anew_once(at: int) -> None:
    """A build that was asked for is taken by the next run."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        world = ruin.world
        world.platform.build_seconds = 30
        with anyio.CancelScope() as scope:
            ruin.on_notice = lambda _: (
                scope.cancel() if len(ruin.notices) == at else None
            )
            await ruin.recover(AGAIN)
        ruin.on_notice = lambda _: None
        whole = not scope.cancelled_caught

        ended = await ruin.recover(AGAIN)

        assert ended.outcome is Outcome.RESTORED, ended.detail
        built = [asked for asked in world.platform.asked if asked[0] == "redeploy"]
        assert len(built) == (2 if whole else 1)

    play(scene)


def test_what_was_built_anew_and_is_not_healthy_is_not_gone_to() -> None:
    """Production stays where it is, and a person is called."""

    async def scene(ruin: Ruin) -> None:
        await ruin.backed_up()
        world = ruin.world
        world.platform.fail = False
        ruin.on_notice = lambda text: (
            world.dead.add("dpl_v1") if "waiting for the build" in text else None
        )

        ended = await ruin.recover(AGAIN)

        assert ended.outcome is Outcome.ESCALATED
        assert "was not moved to it" in ended.detail
        assert await world.live() == "dpl_v1"

    play(scene)


@pytest.mark.parametrize(
    "prefix",
    ["", "f", "feature_", "feature_flags", "feature_rollbacks", "r", "requests:dpl_1:"],
)
def test_a_prefix_of_what_is_no_cache_is_refused(prefix: str) -> None:
    """Flags, what is saved of them, and the counters."""
    with pytest.raises(SettingsInvalid, match="no cache"):
        require_prefixes(("page:", prefix))


@pytest.mark.parametrize("prefix", ["page:", "feature_flags_page", "requester", "q"])
def test_a_prefix_beside_them_is_none_of_theirs(prefix: str) -> None:
    """What only looks alike may be emptied."""
    require_prefixes((prefix,))
