"""The history of migrations is read as it is, wherever and however it is kept."""

from datetime import datetime
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from rollback.errors import NotAsPlanned, SchemaRefused
from rollback.targets.database.history import (
    History,
    in_order,
    read_history,
    remove,
)
from rollback.transactions import Database

from .keeping import run, value

pytestmark = pytest.mark.anyio

SUPABASE: LiteralString = """
CREATE SCHEMA supabase_migrations;
CREATE TABLE supabase_migrations.schema_migrations (
  version text PRIMARY KEY, statements text[], name text, created_by text,
  idempotency_key text, rollback text[]);
INSERT INTO supabase_migrations.schema_migrations (version, name)
  VALUES ('20240102000000', 'b'), ('20240101000000', 'a')
"""


async def read(url: str, *schemas: str) -> History:
    """What is read of the database."""
    database = Database(url, statement_timeout_seconds=20)
    return await database.transaction(lambda c: read_history(c, schemas or ("public",)))


@pytest.mark.parametrize(
    ("versions", "ordered"),
    [
        (("10", "9", "2"), ("2", "9", "10")),
        (("010", "9"), ("9", "010")),
        (("v10", "v2"), ("v10", "v2")),
        (("1.10", "1.9"), ("1.10", "1.9")),
    ],
)
def test_versions_are_compared_as_what_they_are(
    versions: tuple[str, ...], ordered: tuple[str, ...]
) -> None:
    """All of digits they are numbers, else text."""
    assert in_order(versions) == ordered


async def test_a_plain_table_is_read_by_version(database: str) -> None:
    """Versions alone stand in their own order, and it is not called recorded."""
    run(
        database,
        "CREATE TABLE schema_migrations (version bigint)",
        "INSERT INTO schema_migrations VALUES (10), (9), (2)",
    )
    history = await read(database)
    assert history.versions == ("2", "9", "10")
    assert not history.ordered
    assert (history.name, history.current) == ("public.schema_migrations", "10")


async def test_supabase_with_the_columns_of_its_platform(database: str) -> None:
    """Supabase's own table is found in its schema, with all of its columns."""
    run(database, SUPABASE)
    history = await read(database)
    assert history.name == "supabase_migrations.schema_migrations"
    assert history.versions == ("20240101000000", "20240102000000")


@pytest.mark.parametrize(
    ("columns", "place"),
    [
        ("version text, applied_at timestamptz", 1),
        ("inserted_at timestamp, version text", 0),
        ("moved timestamptz, version text", 0),
        ("version text, seen timestamptz, told date, run_on timestamptz", 3),
    ],
)
async def test_a_time_of_application_decides(
    database: str, columns: LiteralString, place: int
) -> None:
    """Where the time of application is recorded, it decides over the version."""
    run(database, f"CREATE TABLE schema_migrations ({columns})")
    with psycopg.connect(database) as connection:
        for second, version in enumerate(("1", "3", "2")):
            row: list[object] = [None] * len(columns.split(","))
            row[columns.split(", ").index("version text")] = version
            row[place] = datetime(2026, 1, 1, 0, 0, second)  # noqa: DTZ001 - for both types
            marks = sql.SQL(", ").join([sql.Placeholder()] * len(row))
            connection.execute(
                sql.SQL("INSERT INTO schema_migrations VALUES ({})").format(marks), row
            )
    history = await read(database)
    assert history.ordered
    assert history.versions == ("1", "3", "2")


@pytest.mark.parametrize("number", ["serial", "int GENERATED ALWAYS AS IDENTITY"])
async def test_a_serial_number_decides(database: str, number: LiteralString) -> None:
    """Where rows are numbered, the number decides over the version."""
    run(
        database,
        f"CREATE TABLE schema_migrations (id {number}, version text)",
        "INSERT INTO schema_migrations (version) VALUES ('1'), ('3'), ('2')",
    )
    history = await read(database)
    assert history.ordered
    assert history.versions == ("1", "3", "2")


async def test_those_of_one_moment_stand_by_version(database: str) -> None:
    """Migrations that were applied in one transaction have one time."""
    run(
        database,
        "CREATE TABLE schema_migrations"
        " (version text, applied_at timestamptz DEFAULT now())",
        "INSERT INTO schema_migrations VALUES ('10'), ('9'), ('8')",
    )
    assert (await read(database)).versions == ("8", "9", "10")


async def test_a_time_that_is_not_always_there_is_no_order(database: str) -> None:
    """With one row of unknown time, the versions stand for the order."""
    run(
        database,
        "CREATE TABLE schema_migrations (version text, applied_at timestamptz)",
        "INSERT INTO schema_migrations VALUES ('2', now()), ('1', NULL)",
    )
    history = await read(database)
    assert (history.versions, history.ordered) == (("1", "2"), False)


async def test_no_history_says_where_it_was_looked_for(database: str) -> None:
    """Without a table, the refusal names all the places."""
    with pytest.raises(SchemaRefused, match=r"supabase_migrations\..*, app\..*public"):
        await read(database, "app")


async def test_two_histories_are_named(database: str) -> None:
    """Two tables with rows are refused by their names; an empty one is passed over."""
    run(database, SUPABASE, "CREATE TABLE schema_migrations (version text)")
    assert (await read(database)).schema == "supabase_migrations"
    run(database, "INSERT INTO schema_migrations VALUES ('1')")
    with pytest.raises(SchemaRefused, match=r"public\.schema.* and supabase_migr"):
        await read(database)


async def test_a_platform_s_own_history_is_nobody_else_s(database: str) -> None:
    """What a platform has applied to its own schemas is passed over."""
    run(
        database,
        SUPABASE,
        "CREATE SCHEMA auth",
        "CREATE TABLE auth.schema_migrations (version text)",
        "INSERT INTO auth.schema_migrations VALUES ('00')",
    )
    assert (await read(database, "public", "auth")).schema == "supabase_migrations"
    run(database, "DROP SCHEMA supabase_migrations CASCADE")
    assert (await read(database, "auth")).schema == "auth"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("'1' AS number", "no column version, only number"),
        ("unnest(ARRAY['1', '2', '1']) AS version", "more than once: 1"),
        ("unnest(ARRAY['1', NULL]) AS version", "a row without a version"),
        ("3::bigint AS version, true AS dirty", "dirty.*: 3"),
    ],
)
async def test_what_no_script_may_be_run_upon_is_refused(
    database: str, rows: LiteralString, said: str
) -> None:
    """A table that does not say which versions are applied is refused."""
    run(database, f"CREATE TABLE schema_migrations AS SELECT {rows}")
    with pytest.raises(SchemaRefused, match=said):
        await read(database)


async def test_removing_takes_exactly_these(database: str) -> None:
    """Versions are taken out, whatever their type; one that is missing is an error."""
    run(
        database,
        "CREATE TABLE schema_migrations (version bigint)",
        "INSERT INTO schema_migrations VALUES (1), (2), (3)",
    )
    history, db = await read(database), Database(database, statement_timeout_seconds=9)
    await db.transaction(lambda c: remove(c, history, ("3", "2")))
    assert (await read(database)).versions == ("1",)
    with pytest.raises(NotAsPlanned, match="2 versions and lost 1"):
        await db.transaction(lambda c: remove(c, history, ("1", "2")))
    assert value(database, "SELECT count(*) FROM schema_migrations") == 1
