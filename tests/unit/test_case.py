"""One incident's claims, and what is kept of it when it is broken off."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

from rollback.adapters.memory import (
    AnyioClock,
    MemoryChannel,
    MemoryDatabase,
    MemoryLedger,
)
from rollback.case import Case
from rollback.errors import AlreadyRollingBack, StepFailed
from rollback.incident import Budgets
from rollback.model import Incident, Moved, Outcome, StepStatus
from rollback.schema import Receipt
from rollback.targets.database.target import Backing
from rollback.testing import World, simulate


@dataclass
class Desk:
    """An incident of three parts, and what it is written down in."""

    clock: AnyioClock = field(default_factory=AnyioClock)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    channel: MemoryChannel = field(default_factory=MemoryChannel)

    def incident(self, name: str, candidate: str) -> Incident:
        """One about a candidate."""
        return Incident(
            id=name,
            environment="production",
            from_deployment=candidate,
            to_deployment="stable",
            reason="x",
            opened_at=self.clock.now(),
        )

    def case(self) -> Case:
        """What is tested: the release, its API and its schema go back."""
        also = (
            Moved(part="api", from_deployment="dpl_green", to_deployment="dpl_blue"),
            Moved(part="database", from_deployment="schema:2", to_deployment="1"),
        )
        return Case(
            opened=replace(self.incident("inc-1", "dpl_v2"), also=also),
            ledger=self.ledger,
            channels=(self.channel,),
            clock=self.clock,
            budgets=Budgets(),
            notice=lambda _: None,
        )

    async def take(self, candidate: str, name: str = "inc-2") -> None:
        """Somebody else claims a candidate."""
        await self.ledger.open_incident(
            self.incident(name, candidate), lease_seconds=30
        )

    async def stored(self, name: str = "inc-1") -> Incident:
        """What is on record."""
        found = await self.ledger.incident(name)
        assert found
        return found


def play(scene: Callable[[Desk], Awaitable[None]]) -> None:
    """Play a scene on a clock that jumps over every wait."""

    async def run() -> None:
        await scene(Desk())

    trio.run(run, clock=MockClock(autojump_threshold=0))


async def through(case: Case, work: Callable[[], Awaitable[Incident]]) -> Incident:
    """See it through."""
    return await case.see_through(work, broken="The work", then="look at it")


CANDIDATES = ("dpl_v2", "dpl_green", "schema:2")


def test_all_its_claims_are_renewed_until_it_is_closed() -> None:
    """Hours later nobody else gets one of them; at its end all are free at once."""

    async def scene(desk: Desk) -> None:
        case = desk.case()

        async def work() -> Incident:
            await anyio.sleep(3 * 3600)
            for candidate in CANDIDATES:
                with pytest.raises(AlreadyRollingBack):
                    await desk.take(candidate)
            return await case.close(replace(case.opened, outcome=Outcome.RESTORED))

        await case.claim()
        await through(case, work)

        for candidate in CANDIDATES:
            await desk.take(candidate, f"inc-of-{candidate}")

    play(scene)


def test_who_was_killed_is_taken_over_half_a_minute_later() -> None:
    """Its claims end with its signs of life; the refusal before says how long."""

    async def scene(desk: Desk) -> None:
        await desk.case().claim()  # and nothing more: nobody renews it

        await anyio.sleep(29)
        again = desk.case()
        again.opened = replace(again.opened, id="inc-3")
        with pytest.raises(AlreadyRollingBack) as refused:
            await again.claim()
        assert "inc-1" in refused.value.message
        assert "killed, run this again 30 s later" in refused.value.mend

        await anyio.sleep(1.5)
        await again.claim()
        assert "inc-3 took the candidate over" in (await desk.stored()).detail

    play(scene)


def test_one_claim_that_is_refused_gives_the_others_back() -> None:
    """All of them or none: the next one is not kept out by half a claim."""

    async def scene(desk: Desk) -> None:
        await desk.take("schema:2")

        with pytest.raises(AlreadyRollingBack, match="inc-2"):
            await desk.case().claim()

        assert (await desk.stored()).outcome is Outcome.REFUSED
        await desk.take("dpl_v2", "inc-3")
        await desk.take("dpl_green", "inc-4")

    play(scene)


def test_whose_claim_was_taken_over_changes_nothing_more() -> None:
    """It had no ledger for a minute; the other has it, and is named."""

    async def scene(desk: Desk) -> None:
        case, changed = desk.case(), []

        async def work() -> Incident:
            desk.ledger.down = "no answer"
            await anyio.sleep(60.5)
            desk.ledger.down = None
            await desk.take("dpl_green")
            await anyio.sleep(10)
            changed.append("something")
            return case.opened

        await case.claim()
        with pytest.raises(StepFailed, match="inc-2 took the candidate over"):
            await through(case, work)

        assert changed == []
        assert (await desk.stored()).outcome is Outcome.ESCALATED
        assert (await desk.stored("inc-2")).outcome is None

    play(scene)


def test_a_ledger_that_is_lost_for_a_while_stops_nothing() -> None:
    """Nobody took it over meanwhile: the work ends, and the claims hold again."""

    async def scene(desk: Desk) -> None:
        case = desk.case()

        async def work() -> Incident:
            desk.ledger.down = "no answer"
            await anyio.sleep(600)
            desk.ledger.down = None
            await anyio.sleep(6)
            with pytest.raises(AlreadyRollingBack):
                await desk.take("dpl_green")
            return await case.close(replace(case.opened, outcome=Outcome.RESTORED))

        await case.claim()

        assert (await through(case, work)).outcome is Outcome.RESTORED

    play(scene)


def test_that_it_was_not_saved_is_not_in_what_is_saved_later() -> None:
    """The ledger is back when the backup is done, and the incident in it."""

    async def scene(desk: Desk) -> None:
        case = desk.case()
        database = MemoryDatabase("1", clock=desk.clock)
        database.backup_seconds = 60
        unsaved: list[str] = []

        async def work(_: Backing) -> Incident:
            desk.ledger.down = "gone"
            ended = replace(case.opened, outcome=Outcome.RESTORED, detail="all is well")
            kept = await case.close(ended)
            unsaved.append(kept.detail)
            desk.ledger.down = None
            return kept

        await case.claim()
        ended = await through(case, lambda: case.with_backup(database, work))

        assert "the incident was not saved: gone" in unsaved[0]
        assert (await desk.stored()).detail == ended.detail == "all is well"
        assert (await desk.stored()).backup

    play(scene)


def test_a_mistake_is_named_as_it_is() -> None:
    """No word of the groups that it came through."""

    async def scene(desk: Desk) -> None:
        case = desk.case()

        async def work(_: Backing) -> Incident:
            await checkpoint()
            raise ZeroDivisionError("a mistake")

        with pytest.raises(StepFailed) as failed:
            await through(case, lambda: case.with_backup(None, work))

        said = "The work broke off: ZeroDivisionError('a mistake')."
        assert failed.value.message == said

    play(scene)


async def with_schema(world: World) -> MemoryDatabase:
    """v2 is live on schema 2; v1, which is gone back to, does not run on that."""
    database = MemoryDatabase("1", "2", clock=world.clock)
    world.engine = replace(world.engine, database=database)
    recorded = await world.engine.record("dpl_v2", git_sha="v2", migration="2")
    await world.ledger.record(replace(recorded, backward_compatible=False))
    return database


def test_an_interruption_after_the_schema_s_commit_keeps_what_was_done() -> None:
    """Backup, receipt and steps; and that the application still has to go back."""

    async def scene(world: World) -> None:
        database = await with_schema(world)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def interrupt() -> None:
                    await moving(world)
                    scope.cancel()

                group.start_soon(interrupt)
                await world.engine.roll_back(reason="x")
        (kept,) = await main(world)

        assert database.applied == ["1"]
        require_word_of_the_schema(kept)
        assert (kept.steps[1].target, kept.steps[1].status) == (
            "application",
            StepStatus.FAILED,
        )
        assert [delivery.phase for delivery in kept.deliveries] == ["initiated"]
        lines = world.channel.messages[-1].lines
        assert any("run it again" in line for line in lines)

    simulate(scene)


def test_ctrl_c_of_asyncio_after_the_commit_keeps_it_too() -> None:
    """The signal itself, which cancels the task that it finds; on real time."""
    worlds: list[World] = []

    async def scene() -> None:
        world = World()
        worlds.append(world)
        await world.recorded()
        await with_schema(world)

        async def interrupt() -> None:
            await moving(world)
            os.kill(os.getpid(), signal.SIGINT)

        async with anyio.create_task_group() as group:
            group.start_soon(interrupt)
            await world.engine.roll_back(reason="x")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(scene())

    (kept,) = asyncio.run(main(worlds[0]))
    require_word_of_the_schema(kept)


def test_killed_between_schema_and_traffic_it_is_finished_by_running_it_again() -> None:
    """Half a minute later; what was committed is found, and the release goes back."""

    async def scene(world: World) -> None:
        database = await with_schema(world)
        commit = database.roll_back
        with anyio.CancelScope() as scope:

            async def killed(*args: Any, **options: Any) -> Receipt:
                done = await commit(*args, **options)
                world.ledger.down = "killed: no last words"
                scope.cancel()
                return done

            database.roll_back = killed  # type: ignore[method-assign]  # to be killed
            await world.engine.roll_back(reason="x")
        world.ledger.down = None
        assert await world.live() == "dpl_v2"
        with pytest.raises(AlreadyRollingBack):
            await world.engine.roll_back(reason="x")

        await anyio.sleep(30)
        undone = await world.engine.roll_back(reason="x")

        assert undone.outcome is Outcome.RESTORED
        assert (database.applied, await world.live()) == (["1"], "dpl_v1")
        (first,) = await main(world)
        assert f"{undone.id} took the candidate over" in first.detail

    simulate(scene)


def test_an_interruption_before_any_step_names_those_that_are_left() -> None:
    """The backup was under way: the schema waits for it, and the release too."""

    async def scene(world: World) -> None:
        database = await with_schema(world)
        database.backup_seconds = 600
        with anyio.move_on_after(60):
            await world.engine.roll_back(reason="x")
        (kept,) = await main(world)

        assert [step.status for step in kept.steps] == [
            StepStatus.FAILED,
            StepStatus.SKIPPED,
        ]
        assert kept.backup
        assert kept.backup.problem == "it was interrupted"
        assert kept.receipt is None
        assert "done already" not in kept.detail
        assert all(step.name in kept.detail for step in kept.steps)

    simulate(scene)


async def moving(world: World) -> None:
    """Until the traffic begins to move."""
    while not world.platform.asked:  # noqa: ASYNC110 - the platform has no event of it
        await anyio.sleep(0.01)


async def main(world: World) -> tuple[Incident, ...]:
    """The incidents that are not a companion's."""
    known = await world.ledger.incidents("production", limit=9)
    return tuple(one for one in known if one.also)


def require_word_of_the_schema(kept: Incident) -> None:
    """It was committed, and is on record as that."""
    assert kept.outcome is Outcome.ESCALATED
    assert kept.backup
    assert kept.backup.verified
    assert kept.receipt
    assert kept.receipt.versions == ("2",)
    assert (kept.steps[0].target, kept.steps[0].status) == ("database", StepStatus.DONE)
    assert f"done already: {kept.steps[0].name}" in kept.detail
    assert "run it again" in kept.detail
    assert kept.steps[1].name in kept.detail.partition("run it again")[2]
