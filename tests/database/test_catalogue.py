"""A schema's fingerprint tells all that matters, and nothing that does not."""

from collections.abc import Iterable
from pathlib import Path
from typing import LiteralString

import pytest

from rollback.schema import Fingerprint
from rollback.targets.database.catalogue import (
    Catalogue,
    changed,
    destroyed,
    moved,
    read_catalogue,
)
from rollback.targets.database.programs import Programs
from rollback.targets.database.scratch import copy_schema, scratch
from rollback.transactions import Connection, Database

from .catalogue_cases import CHANGES, DESTROYED, WORLD
from .keeping import run

pytestmark = pytest.mark.anyio


async def read(url: str, *schemas: str) -> Catalogue:
    """The catalogue as it is."""
    database = Database(url, statement_timeout_seconds=20)
    wanted = schemas or ("public",)
    return await database.transaction(lambda c: read_catalogue(c, wanted))


Tried = tuple[Catalogue, Catalogue]


async def trying(
    url: str, changes: Iterable[tuple[LiteralString, ...]]
) -> tuple[Tried, ...]:
    """The catalogue before and after each of these changes, which are then undone."""

    async def one(c: Connection, statements: tuple[LiteralString, ...]) -> Tried:
        before = await read_catalogue(c, ("public",), prepare=True)
        async with c.transaction(force_rollback=True):
            for statement in statements:
                await c.execute(statement)
            return before, await read_catalogue(c, ("public",), prepare=True)

    async def work(c: Connection) -> tuple[Tried, ...]:
        return tuple([await one(c, statements) for statements in changes])

    database = Database(url, statement_timeout_seconds=60)
    return await database.transaction(work)


async def test_each_change_is_told_by_a_line_of_its_own(database: str) -> None:
    """Every kind of change makes another fingerprint, and its line names the object."""
    run(database, WORLD)
    tried = await trying(database, [(statement,) for statement in CHANGES])
    for (before, now), statement, said in zip(
        tried, CHANGES, CHANGES.values(), strict=True
    ):
        told = now.fingerprint.differences(before.fingerprint)
        assert any(said in line for line in told), (statement, told)
        assert now.fingerprint.sha256 != before.fingerprint.sha256


async def test_a_copy_has_the_same_fingerprint(
    database: str, programs_folder: Path
) -> None:
    """A dump that is restored elsewhere differs in nothing: OIDs are other ones."""
    run(database, WORLD, "CREATE TABLE schema_migrations (version text)")
    programs = await Programs.find(programs_folder, 18)
    async with scratch(database) as copy:
        await copy_schema(programs, database, copy, ("public",))
        there = (await read(copy)).fingerprint
    assert (await read(database)).fingerprint.differences(there) == ()
    assert len(there.lines) > 60


async def test_the_order_of_columns_is_no_part_of_it(database: str) -> None:
    """A column that was dropped and added again differs in its place alone."""
    run(database, "CREATE TABLE t (a int, b text, c date)")
    before = await read(database)
    run(database, "ALTER TABLE t DROP b", "ALTER TABLE t ADD b text")
    now = await read(database)
    assert now.fingerprint == before.fingerprint
    assert moved(before, now) == ("public.t",)
    assert moved(before, before) == ()


async def test_the_session_makes_no_difference_and_is_left_as_it_was(
    database: str,
) -> None:
    """Whatever path and formats are set, the lines are the same, and so are those."""
    run(database, WORLD)
    plain = (await read(database)).fingerprint
    settings = {
        "search_path": "pg_temp, public",
        "DateStyle": "German, DMY",
        "TimeZone": "Asia/Tokyo",
        "quote_all_identifiers": "on",
    }

    async def work(c: Connection) -> tuple[Fingerprint, dict[str, str]]:
        for name, value in settings.items():
            await c.execute("SELECT set_config(%s, %s, true)", [name, value])
        await c.execute("CREATE TEMP TABLE pg_class (oid int)")
        found = await read_catalogue(c, ("public",))
        shown = await c.execute(
            "SELECT name, current_setting(name) AS now FROM unnest(%s::text[]) name",
            [list(settings)],
        )
        rows = await shown.fetchall()
        return found.fingerprint, {row["name"]: row["now"] for row in rows}

    found, left = await Database(database, statement_timeout_seconds=20).transaction(
        work
    )
    assert found.differences(plain) == ()
    assert left == settings


async def test_what_is_not_the_application_s_is_left_out(database: str) -> None:
    """Extensions' objects, the schema rollback, its triggers, and secrets in bodies."""
    run(database, "CREATE TABLE t (id int)")
    before = (await read(database)).fingerprint
    run(
        database,
        "CREATE SCHEMA rollback",
        "CREATE TABLE rollback.archives (id int)",
        "CREATE FUNCTION rollback.keep() RETURNS trigger"
        " LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE TRIGGER zzz BEFORE UPDATE ON t EXECUTE FUNCTION rollback.keep()",
        "CREATE EXTENSION vector",
    )
    told = (await read(database, "public", "rollback")).fingerprint.differences(before)
    assert told == ("+ extension vector: in public",)
    run(database, "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''pass'''")
    assert "pass" not in str((await read(database)).fingerprint)


async def test_what_is_destroyed_is_named_and_nothing_else(database: str) -> None:
    """Removed or narrowed things are named once each, whatever is there instead."""
    run(database, WORLD)
    tried = await trying(database, [statements for statements, _ in DESTROYED])
    for (before, now), (statements, expected) in zip(tried, DESTROYED, strict=True):
        assert destroyed(before, now) == tuple(sorted(expected)), statements


async def test_values_of_other_schemas_are_not_lost_from_sight(database: str) -> None:
    """A table that goes in a schema nobody asked for is destroyed, and in no line."""
    run(database, "CREATE SCHEMA apart", "CREATE TABLE apart.t (id int, a text)")
    before = await read(database)
    assert "apart" not in str(before.fingerprint)
    run(database, "ALTER TABLE apart.t DROP a")
    assert destroyed(before, await read(database)) == (("column", "apart.t.a"),)
    run(database, "DROP SCHEMA apart CASCADE")
    assert destroyed(before, await read(database)) == (("table", "apart.t"),)


async def test_what_is_made_differently_is_told_in_words(database: str) -> None:
    """Renamed things and other definitions are changes, told once each."""
    run(database, "CREATE TABLE t (a int DEFAULT 1, b text)")
    before = await read(database)
    run(
        database,
        "ALTER TABLE t ALTER a SET DEFAULT 2",
        "ALTER TABLE t RENAME b TO c",
    )
    assert changed(before, await read(database)) == (
        "column public.t.a was [integer default 1] and is [integer default 2]",
        "column public.t.b is named public.t.c",
    )
    before = await read(database)
    run(database, "ALTER TABLE t RENAME TO u")
    assert changed(before, await read(database)) == (
        "table public.t is named public.u",
    )
