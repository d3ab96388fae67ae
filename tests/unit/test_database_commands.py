"""How `rollback db` is read, and what was agreed to."""

import anyio
import pytest
from click.testing import CliRunner

from rollback.adapters.memory import FixedClock, MemoryDatabase
from rollback.cli import main
from rollback.database_commands import _again
from rollback.errors import NotAsPlanned
from rollback.schema import SchemaPlan


def test_the_group_shows_its_own_options_and_its_subcommands() -> None:
    """It is a command, and has commands."""
    shown = CliRunner().invoke(main, ["db", "--help"])

    assert shown.exit_code == 0
    for word in ("--to VERSION", "--rehearse", "backups", "refill", "stairway"):
        assert word in shown.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--plan",), "Missing option '--to'"),
        (("--to", "001", "--accept", "anything"), "'anything' is not one of"),
        (("refill",), "Missing argument 'VERSION'"),
    ],
)
def test_what_is_not_said_is_asked_for(arguments: tuple[str, ...], said: str) -> None:
    """Of the group's own, and of a subcommand."""
    ran = CliRunner().invoke(main, ["db", *arguments])

    assert ran.exit_code == 2
    assert said in ran.output


def test_what_has_changed_since_it_was_shown_is_refused() -> None:
    """Consent is to what was shown, and nothing else."""
    database = MemoryDatabase("001", "002", "003", clock=FixedClock())

    async def run(*, meanwhile: bool) -> SchemaPlan:
        shown = await database.plan("001", accept=frozenset())
        assert shown
        if meanwhile:
            database.applied.pop()
        return await _again(database, shown, frozenset())

    async def same() -> SchemaPlan:
        return await run(meanwhile=False)

    async def other() -> SchemaPlan:
        return await run(meanwhile=True)

    assert anyio.run(same).versions == ("003", "002")
    with pytest.raises(NotAsPlanned, match="since it was shown"):
        anyio.run(other)
