"""Scratch databases come empty and always go; a copy has the schema and no rows."""

from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rollback.errors import DatabaseUnreachable, SchemaRefused
from rollback.targets.database.programs import Programs
from rollback.targets.database.scratch import PREFIX, copy_schema, scratch

from .keeping import SHOP, run, value

pytestmark = pytest.mark.anyio

NAMES = "SELECT count(*) FROM pg_database WHERE datname = %(name)s"

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
PUBLISHED = """
SELECT tablename || rowfilter || attnames::text FROM pg_publication_tables
"""


class Broken(Exception):
    """Something that goes wrong while the scratch database is used."""


def name_of(url: str) -> str:
    """The name of the database."""
    return str(conninfo_to_dict(url)["dbname"])


async def test_it_is_gone_whatever_happens_in_it(server: str) -> None:
    """A scratch database is dropped when its user fails and still is connected."""
    used: list[psycopg.Connection] = []

    async def fail() -> None:
        async with scratch(server) as url:
            used.append(psycopg.connect(url))
            raise Broken

    with pytest.raises(Broken):
        await fail()
    with used[0]:
        assert value(server, NAMES, name=used[0].info.dbname) == 0


async def test_what_a_killed_run_left_is_dropped_and_nothing_in_use(
    server: str,
) -> None:
    """The next one drops a scratch database without a keeper, and lets others be."""
    left = f"{PREFIX}left"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(left)))
    async with scratch(server) as one, scratch(server):
        assert value(server, NAMES, name=left) == 0
        assert value(server, NAMES, name=name_of(one)) == 1


async def test_a_copy_has_the_schema_and_the_history_alone(
    server: str, database: str, programs_folder: Path
) -> None:
    """A copy has every table, no row but those of the history, and the publications."""
    run(database, SHOP, "CREATE PUBLICATION live FOR TABLE guests (id) WHERE (id > 3)")
    programs = await Programs.find(programs_folder, 18)
    async with scratch(server) as url:
        history = ("public", "schema_migrations")
        await copy_schema(programs, database, url, ("public",), history=history)
        assert value(url, "SELECT count(*) FROM guests") == 0
        assert value(url, "SELECT count(*) FROM schema_migrations") == 2
        assert value(url, TABLES) == value(database, TABLES)
        assert value(url, PUBLISHED) == "guests(id > 3){id}"


async def test_default_privileges_of_a_platforms_role_are_left_out(
    server: str, database: str, programs_folder: Path
) -> None:
    """A plain user can make a copy, though some defaults are another role's to set."""
    name = name_of(database)
    run(
        server,
        f"CREATE ROLE {name}_app LOGIN CREATEDB PASSWORD 'app'",
        f"CREATE ROLE {name}_platform",
    )
    try:
        run(
            database,
            f"ALTER DATABASE {name} OWNER TO {name}_app",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {name}_platform IN SCHEMA public "
            f"GRANT SELECT ON TABLES TO {name}_app",
        )
        programs = await Programs.find(programs_folder, 18)
        app = make_conninfo(database, user=f"{name}_app", password="app")
        run(app, "CREATE TABLE guests (id int)")
        async with scratch(app) as url:
            await copy_schema(programs, app, url, ("public",))
            assert value(url, "SELECT count(*) FROM guests") == 0
    finally:
        run(
            database,
            f"ALTER DATABASE {name} OWNER TO CURRENT_USER",
            f"DROP OWNED BY {name}_app, {name}_platform",
            f"DROP ROLE {name}_app, {name}_platform",
        )


async def test_a_user_who_may_make_no_database_is_told_what_to_do(
    server: str, database: str
) -> None:
    """Without CREATEDB the error names the right and the setting."""
    name = name_of(database)
    run(server, f"CREATE ROLE {name}_app LOGIN PASSWORD 'app'")
    try:
        app = make_conninfo(server, user=f"{name}_app", password="app")
        with pytest.raises(SchemaRefused, match="permission denied") as refused:
            async with scratch(app):
                pass
        assert "CREATEDB" in refused.value.mend
        assert "ROLLBACK_SCRATCH_URL" in refused.value.mend
    finally:
        run(server, f"DROP ROLE {name}_app")


async def test_a_server_that_does_not_answer_is_unreachable(server: str) -> None:
    """Where nobody listens, the error says so and shows no password."""
    nowhere = make_conninfo(server, port=1)
    with pytest.raises(DatabaseUnreachable) as refused:
        async with scratch(nowhere):
            pass
    assert str(conninfo_to_dict(server)["password"]) not in refused.value.message
