"""A backup's rows put back: whole or not at all, and nothing of what was there lost."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, LiteralString

import anyio
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rollback.adapters.clock import SystemClock
from rollback.errors import RollbackError
from rollback.schema import Backup, TableRows
from rollback.targets.database.backup import Backups
from rollback.targets.database.restoring import Restorer

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SCHEMA = """
CREATE TABLE schema_migrations (version text PRIMARY KEY);
INSERT INTO schema_migrations VALUES ('001');
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE couples (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, mood mood);
CREATE TABLE "Guest List" (id int PRIMARY KEY,
    couple bigint NOT NULL REFERENCES couples (id));
CREATE VIEW glad AS SELECT name FROM couples WHERE mood = 'glad';
INSERT INTO couples (name, mood) VALUES ('Ada & Bo', 'glad'), ('Cy & Di', 'sad');
INSERT INTO "Guest List" VALUES (1, 1), (2, 1), (3, 2);
CREATE SCHEMA rollback;
CREATE TABLE rollback.notes (said text);
INSERT INTO rollback.notes VALUES ('before the backup');
"""
DAMAGE = """
DELETE FROM "Guest List";
UPDATE couples SET name = 'gone';
INSERT INTO couples (name) VALUES ('Eve & Flo');
CREATE TABLE later (id int REFERENCES couples (id));
INSERT INTO rollback.notes VALUES ('after the backup');
"""
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody in a database that holds two couples and their guests."""
    with closing(psycopg.connect(database, autocommit=True)) as connection:
        connection.execute(SCHEMA)
        yield connection


@pytest.fixture
def backups(database: str, tmp_path: Path, programs_folder: Path) -> Backups:
    """A folder for its backups."""
    return Backups(
        url=database,
        where=str(tmp_path),
        programs=programs_folder,
        schemas=("public",),
        jobs=1,
        kept=3,
        clock=SystemClock(),
    )


@pytest.fixture
def restorer(database: str, backups: Backups, programs_folder: Path) -> Restorer:
    """What restores them."""
    return Restorer(
        url=database,
        store=backups,
        kept=3,
        programs=programs_folder,
        clock=SystemClock(),
    )


def rows(
    connection: psycopg.Connection[Any], query: LiteralString, *names: str
) -> list[Any]:
    """The first column."""
    asked = sql.SQL(query).format(*(sql.Identifier(name) for name in names))
    return [row[0] for row in connection.execute(asked)]


def kept_schemas(connection: psycopg.Connection[Any]) -> list[str]:
    """The schemas that were put aside."""
    return rows(
        connection, "SELECT nspname FROM pg_namespace WHERE nspname ~ '_before_'"
    )


def require_as_backed_up(connection: psycopg.Connection[Any]) -> None:
    """Two couples, their three guests, and nothing that came later."""
    assert rows(connection, "SELECT name FROM couples ORDER BY id") == [
        "Ada & Bo",
        "Cy & Di",
    ]
    assert rows(connection, 'SELECT id FROM "Guest List" ORDER BY 1') == [1, 2, 3]
    assert rows(connection, "SELECT name FROM glad") == ["Ada & Bo"]
    assert rows(connection, "SELECT to_regclass('later')") == [None]


async def taken(backups: Backups) -> Backup:
    """A backup of what is there now."""
    return await backups.take("test", print)


async def until_it_waits(connection: psycopg.Connection[Any]) -> None:
    """Until a session of this database waits for a lock."""
    with anyio.fail_after(20):
        for _ in range(400):
            if rows(connection, WAITING) != [0]:
                return
            await anyio.sleep(0.05)
    raise AssertionError("nobody waits for a lock")


async def restore(restorer: Restorer, backup: Backup, *, swap: bool = False) -> str:
    """By a recovery named rec-1."""
    return await restorer.restore(backup, token="rec-1", swap=swap, notice=print)


async def test_in_place_the_damage_is_undone_and_nothing_is_destroyed(
    connection: psycopg.Connection[Any], backups: Backups, restorer: Restorer
) -> None:
    """The rows are those of the backup; those of before stand in a schema beside."""
    backup = await taken(backups)
    connection.execute(DAMAGE)

    said = await restore(restorer, backup)

    require_as_backed_up(connection)
    (kept,) = kept_schemas(connection)
    assert kept in said
    assert rows(connection, "SELECT name FROM {}.couples ORDER BY id", kept) == [
        "gone",
        "gone",
        "Eve & Flo",
    ]
    assert rows(connection, "SELECT count(*) FROM {}.later", kept) == [0]
    added = rows(connection, "INSERT INTO couples (name) VALUES ('x') RETURNING id")
    assert added == [3], "the sequence does not go on where it was"


async def test_the_schema_of_the_ledger_stays_as_it_is(
    connection: psycopg.Connection[Any], backups: Backups, restorer: Restorer
) -> None:
    """It holds what was done since, and what was archived: nothing restores it."""
    backup = await taken(backups)
    connection.execute(DAMAGE)

    await restore(restorer, backup)

    assert rows(connection, "SELECT said FROM rollback.notes") == [
        "before the backup",
        "after the backup",
    ]


async def test_one_recovery_restores_once(
    connection: psycopg.Connection[Any], backups: Backups, restorer: Restorer
) -> None:
    """What was written after its restore stays, however often it is asked again."""
    backup = await taken(backups)
    assert await restorer.restored("rec-1") is None
    await restore(restorer, backup)
    connection.execute("INSERT INTO couples (name) VALUES ('Ike & Jo')")

    assert await restorer.restored("rec-1") is not None
    with pytest.raises(RollbackError, match="duplicate key"):
        await restore(restorer, backup)

    assert rows(connection, "SELECT name FROM couples ORDER BY id DESC LIMIT 1") == [
        "Ike & Jo"
    ]
    assert len(kept_schemas(connection)) == 1
    assert await restorer.restored("rec-2") is None


@pytest.mark.parametrize("swap", [False, True])
async def test_rows_that_do_not_agree_change_nothing(
    connection: psycopg.Connection[Any],
    backups: Backups,
    restorer: Restorer,
    *,
    swap: bool,
) -> None:
    """They are counted before the commit, and before the names change."""
    backup = await taken(backups)
    other = replace(backup, tables=(TableRows(table="public.couples", rows=7),))
    connection.execute("UPDATE couples SET name = 'gone'")

    with pytest.raises(RollbackError, match="has 2 rows, and the backup had 7"):
        await restore(restorer, other, swap=swap)

    assert rows(connection, "SELECT DISTINCT name FROM couples") == ["gone"]
    assert kept_schemas(connection) == []
    assert await restorer.restored("rec-1") is None


async def test_a_restore_that_is_cut_short_changes_nothing(
    connection: psycopg.Connection[Any],
    database: str,
    backups: Backups,
    restorer: Restorer,
) -> None:
    """It stands in its transaction when it is ended, and done again it ends well."""
    backup = await taken(backups)
    connection.execute(DAMAGE)
    with psycopg.connect(database) as other:
        other.execute("ALTER SCHEMA public RENAME TO mine")
        async with anyio.create_task_group() as group:
            group.start_soon(restore, restorer, backup)
            await until_it_waits(connection)
            group.cancel_scope.cancel()
        other.rollback()

    assert rows(connection, "SELECT count(*) FROM later") == [0]
    assert kept_schemas(connection) == []
    await restore(restorer, backup)
    require_as_backed_up(connection)


async def test_what_is_published_is_published_still(
    connection: psycopg.Connection[Any], backups: Backups, restorer: Restorer
) -> None:
    """A restored table is another one, which no publication knows by itself."""
    connection.execute("CREATE PUBLICATION live FOR TABLE couples")
    backup = await taken(backups)

    await restore(restorer, backup)

    published = "SELECT schemaname FROM pg_publication_tables ORDER BY 1"
    assert "public" in rows(connection, published)


async def test_an_extension_stays_where_it_is_looked_for(
    connection: psycopg.Connection[Any], backups: Backups, restorer: Restorer
) -> None:
    """It moves over to the restored tables, which name its types by their schema."""
    connection.execute("CREATE EXTENSION vector SCHEMA public")
    connection.execute("ALTER TABLE couples ADD COLUMN taste vector(2) DEFAULT '[1,2]'")
    backup = await taken(backups)

    await restore(restorer, backup)

    assert rows(connection, "SELECT DISTINCT taste::text FROM couples") == ["[1,2]"]
    (kept,) = kept_schemas(connection)
    old = rows(connection, "SELECT DISTINCT taste::text FROM {}.couples", kept)
    assert old == ["[1,2]"]


async def test_what_hangs_on_the_old_schema_is_named(
    connection: psycopg.Connection[Any], backups: Backups, restorer: Restorer
) -> None:
    """A view of another schema shows the old rows: somebody has to know."""
    connection.execute("CREATE SCHEMA office CREATE VIEW sad AS TABLE public.couples")
    backup = await taken(backups)

    said = await restore(restorer, backup)

    assert "sad" in said


async def test_the_rows_of_now_are_told_beside_the_backup(
    connection: psycopg.Connection[Any], backups: Backups, restorer: Restorer
) -> None:
    """By the names that the backup has for the tables."""
    backup = await taken(backups)
    assert await restorer.rows(backup) == backup.tables
    connection.execute(DAMAGE)

    now = {each.table: each.rows for each in await restorer.rows(backup)}

    assert now == {
        'public."Guest List"': 0,
        "public.couples": 3,
        "public.later": 0,
        "public.schema_migrations": 1,
    }


# -- a new database in the old one's place --------------------------------------


@contextmanager
def other_databases(server: str, database: str) -> Iterator[psycopg.Connection[Any]]:
    """A session beside; the databases that were put aside are dropped at the end."""
    name = conninfo_to_dict(database)["dbname"]
    with closing(psycopg.connect(server, autocommit=True)) as connection:
        yield connection
        for kept in databases(connection, f"{name}_before_%"):
            connection.execute(f"DROP DATABASE {kept} WITH (FORCE)".encode())


def databases(connection: psycopg.Connection[Any], like: str) -> list[str]:
    """The databases with such names."""
    found = connection.execute(
        "SELECT datname FROM pg_database WHERE datname LIKE %s", [like]
    )
    return [row[0] for row in found]


async def test_a_new_database_takes_the_place_and_the_old_one_stays(
    connection: psycopg.Connection[Any],
    database: str,
    server: str,
    backups: Backups,
    restorer: Restorer,
) -> None:
    """Under the old name are the backup's rows, the ledger of now, and the settings."""
    name = conninfo_to_dict(database)["dbname"]
    connection.execute(f"ALTER DATABASE {name} SET work_mem TO '7MB'".encode())
    backup = await taken(backups)
    connection.execute(DAMAGE)
    with other_databases(server, database) as beside:
        assert await restorer.obstacle(backup, swap=True, another=True) is None
        said = await restore(restorer, backup, swap=True)

        (kept,) = databases(beside, f"{name}_before_%")
        assert kept in said
        with closing(psycopg.connect(database, autocommit=True)) as new:
            require_as_backed_up(new)
            assert rows(new, "SHOW work_mem") == ["7MB"]
            assert rows(new, "SELECT count(*) FROM rollback.notes") == [2]
        assert await restorer.restored("rec-1") is not None
        old = make_conninfo(database, dbname=kept)
        with closing(psycopg.connect(old, autocommit=True)) as before:
            assert rows(before, "SELECT count(*) FROM couples") == [3]
        assert databases(beside, "rollback_restoring_%") == []


async def test_who_is_connected_is_sent_to_the_new_database(
    connection: psycopg.Connection[Any],
    database: str,
    server: str,
    backups: Backups,
    restorer: Restorer,
) -> None:
    """A session that stays connected would go on to write into the old one."""
    backup = await taken(backups)
    with other_databases(server, database):
        await restore(restorer, backup, swap=True)

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with closing(psycopg.connect(database)) as new:
            require_as_backed_up(new)


async def test_a_database_with_more_in_it_than_the_backup_is_not_swapped(
    connection: psycopg.Connection[Any], backups: Backups, restorer: Restorer
) -> None:
    """What the backup does not hold would be missing in the new one."""
    backup = await taken(backups)
    connection.execute("CREATE SCHEMA auth CREATE TABLE users (id int)")

    refused = await restorer.obstacle(backup, swap=True, another=True)

    assert refused is not None
    assert "auth" in refused
    assert await restorer.obstacle(backup, swap=False, another=True) is None
