"""A schema that refers to others is copied, planned and rehearsed with stand-ins."""

from collections.abc import Mapping
from pathlib import Path
from typing import LiteralString

import pytest

from rollback.adapters.clock import SystemClock
from rollback.errors import SchemaRefused
from rollback.schema import SchemaPlan, SchemaRecord
from rollback.targets.database.postgres import PostgresDatabase, Rules

from .keeping import ignored, keeper, run, value

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PLATFORM: LiteralString = """
CREATE SCHEMA auth;
CREATE TYPE auth.level AS ENUM ('one', 'two');
CREATE TABLE auth.schema_migrations (version text PRIMARY KEY);
INSERT INTO auth.schema_migrations VALUES ('00');
CREATE TABLE auth.users (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text NOT NULL UNIQUE,
  level auth.level);
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE
  AS $$ SELECT nullif(current_setting('request.sub', true), '')::uuid $$;
CREATE FUNCTION auth.since(level auth.level DEFAULT 'one') RETURNS int
  LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT 7; END;
INSERT INTO auth.users (email) SELECT 'user ' || n FROM generate_series(1, 5) n;
"""
SHOP: LiteralString = """
CREATE SCHEMA supabase_migrations;
CREATE TABLE supabase_migrations.schema_migrations (version text PRIMARY KEY);
INSERT INTO supabase_migrations.schema_migrations VALUES ('001'), ('002');
CREATE TABLE guests (
  id int PRIMARY KEY, "user" uuid REFERENCES auth.users ON DELETE CASCADE,
  mine uuid DEFAULT auth.uid(), level auth.level, seen int DEFAULT auth.since(),
  note text);
ALTER TABLE guests ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON guests USING (auth.uid() = "user");
CREATE VIEW emails AS SELECT email, count(*) AS guests
  FROM guests JOIN auth.users u ON u.id = "user" GROUP BY u.id;
INSERT INTO guests (id, "user", note)
  SELECT row_number() OVER (), id, 'x' FROM auth.users;
INSERT INTO guests (id) VALUES (9);
"""


@pytest.fixture
def shop(
    database: str, server: str, tmp_path: Path, programs_folder: Path
) -> PostgresDatabase:
    """A shop whose users are the platform's, at version 002."""
    run(database, PLATFORM, SHOP)

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


async def planned(shop: PostgresDatabase, script: str) -> SchemaPlan:
    """The plan of a rollback by this script."""
    (shop.rules.migrations / "rollback_002.sql").write_text(script)
    plan = await shop.plan("001", accept=frozenset({"unrecorded"}))
    assert plan is not None
    return plan


async def test_what_leads_to_another_schema_is_planned(shop: PostgresDatabase) -> None:
    """Keys, policies, defaults and views stay as they are, and the plan names where."""
    plan = await planned(shop, "ALTER TABLE guests DROP note;")
    assert [(one.object, one.rows) for one in plan.destroys] == [
        ("public.guests.note", 5)
    ]
    (note,) = [note for note in plan.notes if "stand-in" in note]
    for name in ("auth.users", "auth.uid()", "auth.level", "auth.since()"):
        assert name in note


async def test_what_leads_to_another_schema_is_rehearsed(
    shop: PostgresDatabase,
) -> None:
    """The rows of the backup find the keys that they ask for, and nobody's else."""
    plan = await planned(shop, "ALTER TABLE guests DROP note; DROP VIEW emails;")
    backup = await shop.back_up("x", notice=ignored)
    told: list[str] = []
    await shop.rehearse(plan, backup, notice=told.append)
    assert told[-1].startswith("rehearsed: restored in ")
    assert value(shop.url, "SELECT count(*) FROM auth.users") == 5


async def test_the_key_is_taken_back_and_set_again(shop: PostgresDatabase) -> None:
    """A script may drop what leads to a stand-in, and make it once more."""
    plan = await planned(
        shop,
        'ALTER TABLE guests DROP CONSTRAINT "guests_user_fkey";'
        "ALTER TABLE guests ADD FOREIGN KEY (mine) REFERENCES auth.users;",
    )
    assert ("constraint", "public.guests.guests_user_fkey") in {
        (one.kind, one.object) for one in plan.destroys
    }
    assert "auth.users" in {lock.table for lock in plan.locks}


async def test_a_trigger_there_that_runs_an_own_function_goes(
    shop: PostgresDatabase,
) -> None:
    """A stand-in has the trigger too, for the scripts that take it back."""
    run(
        shop.url,
        "CREATE FUNCTION greet() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO guests (id) VALUES (99); RETURN NEW; END $$",
        "CREATE TRIGGER greeted AFTER INSERT ON auth.users"
        " FOR EACH ROW EXECUTE FUNCTION greet()",
    )
    script = "DROP TRIGGER greeted ON auth.users; DROP FUNCTION greet();"
    plan = await planned(shop, script)
    assert ("function", "public.greet()") in {(d.kind, d.object) for d in plan.destroys}
    backup = await shop.back_up("x", notice=ignored)
    await shop.rehearse(plan, backup, notice=ignored)


@pytest.mark.parametrize(
    "script",
    [
        "DELETE FROM auth.users;",
        "ALTER TABLE auth.users ADD more text;",
        "ALTER TABLE auth.users DROP email CASCADE;",
        "DROP TABLE auth.users CASCADE;",
        "ALTER TABLE auth.users RENAME TO people;",
    ],
)
async def test_a_stand_in_may_not_be_changed(
    shop: PostgresDatabase, script: str
) -> None:
    """Nothing is learned of a stand-in, so a script that changes one is refused."""
    with pytest.raises(SchemaRefused, match=r"changes auth\.users"):
        await planned(shop, script)
