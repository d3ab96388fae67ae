"""What somebody said yes to is what is done."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from rollback.adapters.memory import MemoryDatabase
from rollback.errors import NotAsPlanned
from rollback.model import Outcome
from rollback.plan import schema_as_agreed
from rollback.schema import Destroyed, SchemaPlan
from rollback.testing import World, simulate

Scene = Callable[[World, MemoryDatabase], Awaitable[None]]


def play(scene: Scene) -> None:
    """v2 is live on schema 2, on which v1 does not run."""

    async def with_database(world: World) -> None:
        database = MemoryDatabase("1", "2", clock=world.clock)
        world.engine = replace(world.engine, database=database)
        recorded = await world.engine.record("dpl_v2", git_sha="v2", migration="2")
        await world.ledger.record(replace(recorded, backward_compatible=False))
        await scene(world, database)

    simulate(with_database)


def destroying(rows: int | None, of: str = "public.orders.tax") -> SchemaPlan:
    """A plan that destroys one column with so many values."""
    lost = Destroyed(object=of, kind="column", version="2", rows=rows)
    return SchemaPlan(from_version="2", to_version="1", scripts=(), destroys=(lost,))


def test_what_was_shown_is_done() -> None:
    """Also where the question was answered late."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        shown = await world.engine.plan(reason="x")
        undone = await world.engine.roll_back(reason="x", shown=shown)
        assert undone.outcome is Outcome.RESTORED
        assert database.applied == ["1"]

    play(scene)


def test_a_schema_that_has_gone_on_meanwhile_is_not_taken_back() -> None:
    """Neither traffic nor schema is touched, and no incident is opened."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        shown = await world.engine.plan(reason="x")
        database.applied.append("3")
        with pytest.raises(NotAsPlanned, match="has changed since it was shown"):
            await world.engine.roll_back(reason="x", shown=shown)
        assert database.applied == ["1", "2", "3"]
        assert await world.live() == "dpl_v2"
        assert await world.ledger.incidents("production", limit=9) == ()

    play(scene)


def test_another_way_back_than_was_shown_is_refused() -> None:
    """v1 was shown, and was found to be bad before somebody said yes."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        del database
        shown = await world.engine.plan(reason="x", target="dpl_v1", override=True)
        assert shown
        other = replace(shown, to_deployment="dpl_v0")
        with pytest.raises(NotAsPlanned) as refused:
            await world.engine.roll_back(reason="x", shown=other)
        assert "Run it again" in refused.value.mend
        assert await world.live() == "dpl_v2"

    play(scene)


def test_what_is_done_already_is_nothing_to_do() -> None:
    """Somebody else was quicker: nobody is refused for that."""

    async def scene(world: World, database: MemoryDatabase) -> None:
        shown = await world.engine.plan(reason="x", candidate="dpl_v2")
        await world.engine.roll_back(reason="x")
        again = await world.engine.roll_back(
            reason="x", candidate="dpl_v2", target="dpl_v1", shown=shown
        )
        assert again.outcome is Outcome.NOTHING_TO_DO
        assert database.calls.count("roll_back") == 1

    play(scene)


@pytest.mark.parametrize(
    ("before", "now"),
    [(3, 3), (3, 1003), (1000, 2000), (5000, 10_000), (5000, 40), (None, None)],
)
def test_a_few_more_rows_are_what_was_shown(
    before: int | None, now: int | None
) -> None:
    """Visitors go on writing while somebody reads the question."""
    assert schema_as_agreed(destroying(before), destroying(now)) == destroying(now)


@pytest.mark.parametrize(("before", "now"), [(3, 1004), (0, 3_000_000), (2000, 4001)])
def test_many_more_rows_are_another_consent(before: int, now: int) -> None:
    """More than double and by more than a thousand; what grew is named."""
    with pytest.raises(NotAsPlanned, match=rf"orders\.tax .*from {before} .*to {now}"):
        schema_as_agreed(destroying(before), destroying(now))


def test_something_else_is_another_consent() -> None:
    """Whatever it counts."""
    with pytest.raises(NotAsPlanned, match="schema has changed since it was shown"):
        schema_as_agreed(destroying(3), destroying(3, of="public.orders.amount"))
