"""The contract of the port `Database`: versions, backups, and the way back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rollback.adapters.clock import SystemClock
from rollback.adapters.memory import FixedClock, MemoryDatabase, MemoryLedger
from rollback.errors import DatabaseUnreachable, SchemaRefused, UnknownVersion
from rollback.ports import Database
from rollback.targets.database.backup import Backups
from rollback.targets.database.postgres import PostgresDatabase, Rules
from stack.backends import Stack
from stack.backends.postgres import find_account, find_programs

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ANYTHING = frozenset({"unrecorded"})
MIGRATIONS = {
    "001": ("CREATE TABLE guests (id integer PRIMARY KEY)", "DROP TABLE guests"),
    "002": (
        "ALTER TABLE guests ADD COLUMN name text",
        "ALTER TABLE guests DROP COLUMN name",
    ),
    "003": ("CREATE INDEX by_name ON guests (name)", "DROP INDEX by_name"),
}


def silent(_: str) -> None:
    """Nobody waits."""


@pytest.fixture
def address(stack: Stack) -> Iterator[str]:
    """A database with three migrations applied."""
    server = stack.addresses["postgres"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS versions WITH (FORCE)")
        connection.execute("CREATE DATABASE versions")
    url = make_conninfo(server, dbname="versions")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE schema_migrations (version text PRIMARY KEY)")
        for version, (forward, _) in MIGRATIONS.items():
            connection.execute(forward.encode())
            values = [version]
            connection.execute("INSERT INTO schema_migrations VALUES (%s)", values)
        connection.execute("INSERT INTO guests VALUES (1, 'Ada'), (2, NULL)")
    yield url
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE versions WITH (FORCE)")


def real(url: str, folder: Path) -> PostgresDatabase:
    """The database at an address, its scripts and backups in a folder."""
    migrations = folder / "migrations"
    migrations.mkdir(exist_ok=True)
    for version, (_, back) in MIGRATIONS.items():
        (migrations / f"rollback_{version}.sql").write_text(f"{back};\n")
    ledger, programs = MemoryLedger(), find_programs(find_account())
    backups = Backups(
        url=url,
        where=str(folder / "backups"),
        programs=programs,
        schemas=("public",),
        jobs=1,
        kept=3,
        clock=SystemClock(),
    )
    return PostgresDatabase(
        url=url,
        scratch_url=url,
        backups=backups,
        records=lambda: ledger.schemas("production"),
        rules=Rules(migrations=migrations, programs=programs),
        clock=SystemClock(),
    )


@pytest.fixture
def database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Three migrations are applied: 001, 002, 003."""
    if kind == "real":
        return real(request.getfixturevalue("address"), tmp_path)
    return MemoryDatabase(*MIGRATIONS, clock=FixedClock())


async def test_the_version_is_the_last_one_applied(database: Database) -> None:
    """Of all that are, in their order; whatever is on record elsewhere."""
    assert await database.versions() == ("001", "002", "003")
    assert await database.version() == "003"


async def test_where_it_is_already_there_is_no_plan(database: Database) -> None:
    """Nothing to do is no refusal."""
    assert await database.plan("003", accept=frozenset()) is None


async def test_a_version_that_was_never_applied_is_named(database: Database) -> None:
    """Bad input, and nothing is planned."""
    with pytest.raises(UnknownVersion, match="000"):
        await database.plan("000", accept=ANYTHING)


async def test_a_backup_says_of_which_version_it_is(database: Database) -> None:
    """It is verified, and named by its label."""
    backup = await database.back_up("inc-1", notice=silent)
    assert backup.verified
    assert backup.version == "003"
    assert "inc-1" in backup.name


async def test_it_goes_back_to_what_it_was_at_that_version(database: Database) -> None:
    """The newest first, as planned; the receipt names plan and backup."""
    plan = await database.plan("001", accept=ANYTHING)
    assert plan is not None
    assert plan.versions == ("003", "002")
    backup = await database.back_up("inc-1", notice=silent)
    await database.rehearse(plan, backup, notice=silent)
    assert await database.version() == "003", "a rehearsal is elsewhere"

    receipt = await database.roll_back(plan, backup, incident="inc-1", notice=silent)

    assert await database.version() == "001"
    assert receipt.versions == ("003", "002")
    assert (receipt.plan_sha256, receipt.backup_sha256) == (plan.sha256, backup.sha256)
    assert await database.plan("001", accept=ANYTHING) is None


async def test_the_schema_is_as_it_was_at_that_version(database: Database) -> None:
    """Taken back one by one, each version shows another schema."""
    seen = [await database.fingerprint()]
    for to in ("002", "001"):
        plan = await database.plan(to, accept=ANYTHING)
        assert plan is not None
        backup = await database.back_up(to, notice=silent)
        await database.roll_back(plan, backup, incident=to, notice=silent)
        seen.append(await database.fingerprint())
    assert len({fingerprint.sha256 for fingerprint in seen}) == 3


async def test_a_plan_that_others_have_overtaken_changes_nothing(
    database: Database,
) -> None:
    """Somebody rolled back between the plan and its turn."""
    plan = await database.plan("001", accept=ANYTHING)
    less = await database.plan("002", accept=ANYTHING)
    assert plan is not None
    assert less is not None
    backup = await database.back_up("inc-1", notice=silent)
    await database.roll_back(less, backup, incident="inc-1", notice=silent)
    with pytest.raises(SchemaRefused):
        await database.roll_back(plan, backup, incident="inc-2", notice=silent)
    assert await database.version() == "002"


async def test_a_database_that_does_not_answer_is_unreachable(
    database: Database, kind: str
) -> None:
    """Whatever it is asked."""
    gone: Database
    if kind == "real":
        assert isinstance(database, PostgresDatabase)
        nowhere = make_conninfo(database.url, port=1)
        gone = replace(database, url=nowhere, scratch_url=nowhere)
    else:
        assert isinstance(database, MemoryDatabase)
        database.down = "no answer"
        gone = database
    with pytest.raises(DatabaseUnreachable):
        await gone.version()
    with pytest.raises(DatabaseUnreachable):
        await gone.plan("001", accept=ANYTHING)
