"""A plan of a whole database, with its copy by PostgreSQL's own programs."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rollback.adapters.clock import SystemClock
from rollback.errors import StepFailed
from rollback.schema import SchemaPlan, SchemaRecord
from rollback.targets.database.postgres import PostgresDatabase, Rules

from .keeping import SHOP, ignored, keeper, run, value

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

APART = "-- rollback: no-transaction\n"


@pytest.fixture
def shop(
    database: str, server: str, tmp_path: Path, programs_folder: Path
) -> PostgresDatabase:
    """The shop at version 002, with an index."""
    run(database, SHOP, "CREATE INDEX named ON guests (name)")

    async def nothing() -> Mapping[str, SchemaRecord]:
        return {}

    return PostgresDatabase(
        url=database,
        scratch_url=server,
        backups=keeper(database, tmp_path / "backups", programs_folder),
        records=nothing,
        rules=Rules(migrations=tmp_path, programs=programs_folder),
        clock=SystemClock(),
    )


async def planned(shop: PostgresDatabase, script: str | None = None) -> SchemaPlan:
    """The plan of a rollback by this script, or by the one that is there."""
    if script is not None:
        (shop.rules.migrations / "rollback_002.sql").write_text(script)
    plan = await shop.plan("001", accept=frozenset({"unrecorded", "no-transaction"}))
    assert plan is not None
    return plan


async def test_what_stopped_half_way_is_planned_again(shop: PostgresDatabase) -> None:
    """Statements that were done are not tried again, and the rollback goes on."""
    text = (
        f"{APART}DROP INDEX CONCURRENTLY named;\n"
        "CREATE UNIQUE INDEX CONCURRENTLY once ON guests (name);\n"
        "DROP INDEX CONCURRENTLY once;\n"
    )
    run(shop.url, "UPDATE guests SET name = 'one'")
    plan = await planned(shop, text)
    backup = await shop.back_up("x", notice=ignored)
    with pytest.raises(StepFailed, match="stopped at line 3"):
        await shop.roll_back(plan, backup, incident="one", notice=ignored)
    run(shop.url, "UPDATE guests SET name = id::text")
    plan = await planned(shop)
    assert plan.destroys == ()
    await shop.roll_back(plan, backup, incident="one", notice=ignored)
    assert await shop.version() == "001"


async def test_what_was_done_and_not_written_down_is_planned_again(
    shop: PostgresDatabase,
) -> None:
    """A statement that was begun may be done already; one that was not has to do."""
    text = (
        f"{APART}DROP INDEX CONCURRENTLY named;\n"
        "CREATE UNIQUE INDEX CONCURRENTLY once ON guests (name);\n"
    )
    run(shop.url, "UPDATE guests SET name = 'one'")
    plan = await planned(shop, text)
    backup = await shop.back_up("x", notice=ignored)
    with pytest.raises(StepFailed):
        await shop.roll_back(plan, backup, incident="one", notice=ignored)
    run(
        shop.url,
        "UPDATE guests SET name = id::text",
        "UPDATE rollback.statements SET ended_at = NULL WHERE number = 1",
    )
    plan = await planned(shop)
    await shop.roll_back(plan, backup, incident="one", notice=ignored)
    assert await shop.version() == "001"


async def test_a_publication_of_all_tables_is_no_obstacle(
    shop: PostgresDatabase,
) -> None:
    """What is watched on the copy is in no need of a key of its own."""
    run(shop.url, "CREATE PUBLICATION everything FOR ALL TABLES")
    plan = await planned(shop, "DELETE FROM guests WHERE id > 200;")
    assert [(one.kind, one.object) for one in plan.destroys] == [
        ("deleted", "public.guests")
    ]


async def test_a_copy_on_productions_server_is_told(shop: PostgresDatabase) -> None:
    """Who decides learns that scripts were tried on the server that everybody uses."""
    plan = await planned(shop, "SELECT 1;")
    assert any("on production's own server" in note for note in plan.notes)
    assert value(shop.url, "SELECT count(*) FROM guests") == 300
