"""The schema rolled back alone: its backup, its incident, and what keeps it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import pytest
import trio
from trio.testing import MockClock

from rollback.adapters.memory import (
    AnyioClock,
    CountedTokens,
    MemoryChannel,
    MemoryDatabase,
    MemoryLedger,
)
from rollback.decide import Limits
from rollback.errors import (
    AlreadyRollingBack,
    DatabaseUnreachable,
    LockNotTaken,
    NotAsPlanned,
    SchemaBusy,
    StepFailed,
)
from rollback.model import Incident, Outcome
from rollback.ports import Notice
from rollback.response import Policy
from rollback.schema import Backup, Receipt, SchemaPlan
from rollback.schema_change import Changed, SchemaChange

POLICY = Policy(
    environment="production",
    site_url=None,
    limits=Limits(thresholds=(), critical_errors=()),
)


class Database(MemoryDatabase):
    """One that may break off: before it commits, after it, or for good."""

    broken: str = ""
    surprise: Exception | None = None
    rehearsal_seconds: float = 0.0

    async def rehearse(
        self, plan: SchemaPlan, backup: Backup, *, notice: Notice
    ) -> None:
        """It may take long."""
        await super().rehearse(plan, backup, notice=notice)
        await anyio.sleep(self.rehearsal_seconds)

    async def roll_back(
        self, plan: SchemaPlan, backup: Backup, *, incident: str, notice: Notice
    ) -> Receipt:
        """As the memory has it, but for what goes wrong."""
        if self.surprise:
            raise self.surprise
        if self.broken == "before":
            raise DatabaseUnreachable
        done = await super().roll_back(plan, backup, incident=incident, notice=notice)
        if self.broken == "after":
            raise DatabaseUnreachable
        return done


@dataclass
class World:
    """A database at 003, and those who are told."""

    clock: AnyioClock = field(default_factory=AnyioClock)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    channel: MemoryChannel = field(default_factory=MemoryChannel)
    tokens: CountedTokens = field(default_factory=CountedTokens)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Three migrations are applied."""
        self.database = Database("001", "002", "003", clock=self.clock)

    def change(self) -> SchemaChange:
        """What is tested."""
        return SchemaChange(
            database=self.database,
            ledger=self.ledger,
            channels=(self.channel,),
            clock=self.clock,
            tokens=self.tokens,
            policy=POLICY,
            notice=self.said.append,
        )

    async def do(self, to: str = "001", *, rehearse: bool = False) -> Changed:
        """Roll it back."""
        planned = await self.database.plan(to, accept=frozenset())
        assert planned
        return await self.change().carry_out(
            planned, reason="orders are lost", rehearse=rehearse
        )

    async def last(self) -> Incident:
        """The newest incident on record."""
        (found,) = await self.ledger.incidents("production", limit=1)
        return found


def play(scene: Callable[[World], Awaitable[None]]) -> None:
    """Play a scene on a clock that jumps over every wait."""

    async def run() -> None:
        await scene(World())

    trio.run(run, clock=MockClock(autojump_threshold=0))


def test_it_is_backed_up_rolled_back_told_and_kept() -> None:
    """In this order; the incident has the backup and the receipt."""

    async def scene(world: World) -> None:
        changed = await world.do()

        assert world.database.calls == ["back_up", "backed_up", "roll_back"]
        assert world.database.applied == ["001"]
        ended = await world.last()
        assert ended.outcome is changed.incident.outcome is Outcome.RESTORED
        assert (ended.part, ended.reason) == ("database", "orders are lost")
        assert (ended.from_deployment, ended.to_deployment) == (
            "schema:003",
            "schema:001",
        )
        assert ended.backup
        assert ended.backup.verified
        assert ended.receipt
        assert ended.receipt.versions == ("003", "002")
        assert {phase.name for phase in ended.phases} >= {"initiate", "verify"}
        events = [entry.event for entry in ended.journal]
        assert events.index("backup_done") < events.index("step_done")
        assert [message.title for message in world.channel.messages] == [
            "Rolling back the schema of production",
            "Production: schema:001 is in place",
        ]

    play(scene)


def test_it_is_rehearsed_on_the_backup_before() -> None:
    """Only when that is asked for."""

    async def scene(world: World) -> None:
        await world.do(rehearse=True)

        calls = world.database.calls
        assert calls == ["back_up", "backed_up", "rehearse", "roll_back"]

    play(scene)


def test_without_a_verified_backup_nothing_is_changed() -> None:
    """Refused, with the reason and what mends it; a person is called."""

    async def scene(world: World) -> None:
        world.database.no_backup = "The disk is full."

        changed = await world.do()

        assert "roll_back" not in world.database.calls
        assert world.database.applied == ["001", "002", "003"]
        assert changed.incident.outcome is Outcome.REFUSED
        assert changed.refusal
        assert "The disk is full. Free room there." in changed.incident.detail
        assert changed.incident.backup
        assert changed.incident.backup.problem == "The disk is full."
        assert "person is needed" in world.channel.messages[-1].title

    play(scene)


@pytest.mark.parametrize("refusal", [LockNotTaken, NotAsPlanned, SchemaBusy])
def test_a_refusal_at_the_last_moment_is_one(
    refusal: type[LockNotTaken | NotAsPlanned | SchemaBusy],
) -> None:
    """Nothing was committed: refused with what mends it, and never escalated."""

    async def scene(world: World) -> None:
        world.database.surprise = refusal()

        changed = await world.do()

        assert isinstance(changed.refusal, refusal)
        assert changed.incident.outcome is Outcome.REFUSED
        assert changed.refusal.mend in changed.incident.detail
        assert (await world.last()).outcome is Outcome.REFUSED

    play(scene)


def test_a_commit_whose_answer_is_lost_is_seen_in_the_history() -> None:
    """The connection fell away after it: restored, as the history says."""

    async def scene(world: World) -> None:
        world.database.broken = "after"

        changed = await world.do()

        assert changed.incident.outcome is Outcome.RESTORED
        assert changed.refusal is None

    play(scene)


def test_what_broke_off_before_its_end_is_no_refusal() -> None:
    """It was started and is not done: escalated, exit 5."""

    async def scene(world: World) -> None:
        world.database.broken = "before"

        changed = await world.do()

        assert changed.incident.outcome is Outcome.ESCALATED
        assert changed.refusal is None
        assert "cannot be reached" in changed.incident.detail

    play(scene)


def test_the_second_asker_is_kept_out() -> None:
    """The ledger knows whose it is; nothing is backed up twice."""

    async def scene(world: World) -> None:
        world.database.backup_seconds = 60

        async with anyio.create_task_group() as group:
            group.start_soon(world.do)
            await anyio.sleep(1)
            with pytest.raises(AlreadyRollingBack):
                await world.do("002")

        assert world.database.calls.count("back_up") == 1
        assert world.database.applied == ["001"]

    play(scene)


@pytest.mark.parametrize("slow", ["backup_seconds", "rehearsal_seconds"])
def test_the_claim_outlasts_a_backup_or_a_rehearsal_of_hours(slow: str) -> None:
    """Signs of life renew it."""

    async def scene(world: World) -> None:
        setattr(world.database, slow, 4 * 3600)

        async with anyio.create_task_group() as group:
            group.start_soon(lambda: world.do(rehearse=True))
            await anyio.sleep(3 * 3600)
            with pytest.raises(AlreadyRollingBack):
                await world.do()

        assert world.database.applied == ["001"]

    play(scene)


def test_without_the_ledger_it_is_done_all_the_same() -> None:
    """The database's own lock keeps others out; the incident says it was not saved."""

    async def scene(world: World) -> None:
        world.ledger.down = "no ledger"

        changed = await world.do()

        assert changed.incident.outcome is Outcome.RESTORED
        assert "not saved" in changed.incident.detail
        assert any("no ledger" in line for line in world.said)

    play(scene)


def test_an_interruption_leaves_word() -> None:
    """The incident ends as one that needs a person, and says what to do."""

    async def scene(world: World) -> None:
        world.database.backup_seconds = 60

        with anyio.move_on_after(5):
            await world.do()

        ended = await world.last()
        assert ended.outcome is Outcome.ESCALATED
        assert "running it again does no harm" in ended.detail
        assert "roll_back" not in world.database.calls
        assert "person is needed" in world.channel.messages[-1].title

    play(scene)


def test_what_nobody_thought_of_is_told_too() -> None:
    """A mistake of ours is no silent one."""

    async def scene(world: World) -> None:
        world.database.surprise = ZeroDivisionError("a mistake")

        with pytest.raises(StepFailed, match="a mistake"):
            await world.do()

        assert (await world.last()).outcome is Outcome.ESCALATED

    play(scene)
