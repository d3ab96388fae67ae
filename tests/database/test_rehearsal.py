"""A rehearsal does the very rollback to the restored backup, and there alone."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import LiteralString

import pytest

from rollback.adapters.clock import SystemClock
from rollback.errors import NotAsPlanned
from rollback.schema import Backup, Destroyed, Fingerprint, SchemaPlan, SchemaRecord
from rollback.targets.database.postgres import PostgresDatabase, Rules

from .keeping import SHOP, ignored, keeper, run, value

pytestmark = pytest.mark.anyio

DATABASES: LiteralString = "SELECT string_agg(datname, ',') FROM pg_database"


@pytest.fixture
def shop(
    database: str, server: str, tmp_path: Path, programs_folder: Path
) -> PostgresDatabase:
    """The shop at version 002, whose script drops the visits."""
    run(database, SHOP)
    (tmp_path / "rollback_002.sql").write_text("DROP TABLE visits;")

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


async def prepared(shop: PostgresDatabase) -> tuple[SchemaPlan, Backup]:
    """The plan to go back to 001, and a backup."""
    plan = await shop.plan("001", accept=frozenset({"unrecorded"}))
    assert plan is not None
    return plan, await shop.back_up("x", notice=ignored)


async def test_it_is_done_to_the_backup_and_to_nothing_else(
    shop: PostgresDatabase, server: str
) -> None:
    """A rehearsal tells how long it takes; production and the server are as before."""
    plan, backup = await prepared(shop)
    told: list[str] = []
    await shop.rehearse(plan, backup, notice=told.append)
    assert told[0].startswith("rehearsing: restoring ")
    assert told[-1].startswith("rehearsed: restored in ")
    assert "rolled back to 001" in told[-1]
    assert await shop.version() == "002"
    assert value(shop.url, "SELECT count(*) FROM visits") == 2
    assert "rollback_scratch" not in str(value(server, DATABASES))


async def test_what_fails_on_the_rows_alone_is_found_out(
    shop: PostgresDatabase,
) -> None:
    """A script that a copy without rows takes and production would not is refused."""
    script = shop.rules.migrations / "rollback_002.sql"
    script.write_text("ALTER TABLE guests ADD CHECK (id < 300);")
    plan, backup = await prepared(shop)
    with pytest.raises(NotAsPlanned, match="The rehearsal failed, and production"):
        await shop.rehearse(plan, backup, notice=ignored)
    assert await shop.version() == "002"


async def test_another_destruction_than_planned_is_refused(
    shop: PostgresDatabase,
) -> None:
    """Where the plan names something that is not destroyed, the rehearsal fails."""
    plan, backup = await prepared(shop)
    more = Destroyed(object="public.guests", kind="table", version="002", rows=300)
    wrong = replace(plan, destroys=(*plan.destroys, more))
    with pytest.raises(NotAsPlanned, match=r"rehearsal .* public\.guests"):
        await shop.rehearse(wrong, backup, notice=ignored)


async def test_another_schema_than_recorded_is_refused(shop: PostgresDatabase) -> None:
    """Where the schema comes out other than recorded, the rehearsal fails."""
    plan, backup = await prepared(shop)
    wrong = replace(plan, fingerprint=Fingerprint(lines=("table public.other",)))
    with pytest.raises(NotAsPlanned, match="rehearsal"):
        await shop.rehearse(wrong, backup, notice=ignored)


async def test_a_statement_that_hits_no_row_is_no_difference(
    shop: PostgresDatabase,
) -> None:
    """What the plan says may be written, and is not, does not fail the rehearsal."""
    script = shop.rules.migrations / "rollback_002.sql"
    script.write_text("UPDATE guests SET name = 'x' WHERE id < 0; DELETE FROM visits;")
    plan, backup = await prepared(shop)
    told: list[str] = []
    await shop.rehearse(plan, backup, notice=told.append)
    assert told[-1].startswith("rehearsed: ")
