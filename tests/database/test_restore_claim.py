"""A restore of production and a rollback of its schema exclude each other."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import anyio
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rollback.adapters.clock import SystemClock
from rollback.errors import SchemaBusy
from rollback.schema import Backup
from rollback.targets.database.backup import Backups
from rollback.targets.database.restoring import Restorer
from rollback.targets.database.store import CLAIM

from .keeping import ignored, keeper, run, until, value

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SHOP: LiteralString = """
CREATE TABLE couples (name text); INSERT INTO couples VALUES ('Ada & Bo');
CREATE SCHEMA rollback; CREATE TABLE rollback.notes (said text);
"""
ASIDE: LiteralString = r"""
SELECT count(*) FROM (SELECT nspname AS name FROM pg_namespace
  UNION ALL SELECT datname FROM pg_database WHERE starts_with(datname, %(name)s)) all_
WHERE name LIKE '%%\_before\_%%'
"""
WAITING: LiteralString = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def shop(database: str, server: str) -> Iterator[str]:
    """A database with one couple; what was put aside of it goes at the end."""
    run(database, SHOP)
    yield database
    name = conninfo_to_dict(database)["dbname"]
    with closing(psycopg.connect(server, autocommit=True)) as connection:
        found = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)",
            [f"{name}_before_"],
        )
        for (kept,) in found.fetchall():
            connection.execute(f"DROP DATABASE {kept} WITH (FORCE)".encode())


@pytest.fixture
def backups(shop: str, tmp_path: Path, programs_folder: Path) -> Backups:
    """A folder for its backups."""
    return keeper(shop, tmp_path / "backups", programs_folder)


@pytest.fixture
def other(shop: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody who rolls this database's schema back, once it has the claim."""
    url = make_conninfo(shop, application_name="somebody")
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        yield connection


def claimed(connection: psycopg.Connection[Any]) -> bool:
    """Whether it gets the claim."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [CLAIM]).fetchone()
    return row is not None and row[0] is True


def restorer(shop: str, backups: Backups, programs: Path) -> Restorer:
    """What restores them."""
    return Restorer(
        url=shop, store=backups, kept=10, programs=programs, clock=SystemClock()
    )


def waiting(folder: Path, programs: Path, program: str, go: Path) -> Path:
    """PostgreSQL's programs, of which one goes on once the file `go` is there.

    It says that it waits in a file beside.
    """
    folder.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (folder / name).symlink_to(programs / name)
    (folder / program).unlink()
    script = folder / program
    script.write_text(
        f'#!/bin/sh\nPATH="{programs}:$PATH"\n'
        f'case "$*" in --version) ;; *) touch {go}.waited\n'
        f"until [ -e {go} ]; do sleep 0.01; done ;; esac\n"
        f'exec "{programs}/{program}" "$@"\n'
    )
    script.chmod(0o755)
    return folder


def require_untouched(shop: str) -> None:
    """Nothing was put aside, and the row of now is there."""
    name = conninfo_to_dict(shop)["dbname"]
    assert value(shop, ASIDE, name=name) == 0
    assert value(shop, "SELECT name FROM couples") == "gone"


async def restored(restorer: Restorer, backup: Backup, *, swap: bool) -> str:
    """By a recovery."""
    return await restorer.restore(backup, token="rec-1", swap=swap, notice=ignored)


@pytest.mark.parametrize("swap", [False, True])
async def test_while_the_schema_is_rolled_back_nothing_is_restored(
    shop: str,
    backups: Backups,
    programs_folder: Path,
    other: psycopg.Connection[Any],
    *,
    swap: bool,
) -> None:
    """Who rolls it back is named; once they have ended, the restore goes well."""
    backup = await backups.take("x", ignored)
    run(shop, "UPDATE couples SET name = 'gone'")
    assert claimed(other)
    mine = restorer(shop, backups, programs_folder)

    named = rf"Session {other.info.backend_pid} \(somebody\)"
    with pytest.raises(SchemaBusy, match=named):
        await restored(mine, backup, swap=swap)

    require_untouched(shop)
    other.execute("SELECT pg_advisory_unlock_all()")
    await restored(mine, backup, swap=swap)
    assert value(shop, "SELECT name FROM couples") == "Ada & Bo"


async def test_while_it_is_restored_in_place_nobody_rolls_the_schema_back(
    shop: str,
    backups: Backups,
    programs_folder: Path,
    other: psycopg.Connection[Any],
) -> None:
    """What were committed meanwhile would be done to the tables that are put aside."""
    backup = await backups.take("x", ignored)
    mine = restorer(shop, backups, programs_folder)
    with psycopg.connect(shop) as holder:
        holder.execute("ALTER SCHEMA public RENAME TO mine")
        async with anyio.create_task_group() as group:
            group.start_soon(partial(restored, mine, backup, swap=False))
            await until(lambda: other.execute(WAITING).fetchone() == (1,))
            assert not claimed(other)
            holder.rollback()
    assert claimed(other)


async def test_while_a_new_database_is_filled_nobody_rolls_the_schema_back(
    shop: str,
    tmp_path: Path,
    backups: Backups,
    programs_folder: Path,
    other: psycopg.Connection[Any],
) -> None:
    """What were committed meanwhile would be put aside with the old database."""
    backup = await backups.take("x", ignored)
    run(shop, "UPDATE couples SET name = 'gone'")
    go = tmp_path / "go"
    programs = waiting(tmp_path / "bin", programs_folder, "pg_restore", go)
    mine = restorer(shop, backups, programs)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(restored, mine, backup, swap=True))
        await until(Path(f"{go}.waited").exists)
        assert not claimed(other)
        go.touch()
    assert value(shop, "SELECT name FROM couples") == "Ada & Bo"


async def test_who_comes_in_between_is_named_too(
    shop: str,
    tmp_path: Path,
    backups: Backups,
    programs_folder: Path,
    other: psycopg.Connection[Any],
) -> None:
    """The claim was free when the restore began, and is not when it would change it."""
    backup = await backups.take("x", ignored)
    run(shop, "UPDATE couples SET name = 'gone'")
    go, refused = tmp_path / "go", []
    mine = restorer(
        shop, backups, waiting(tmp_path / "bin", programs_folder, "psql", go)
    )

    async def restore() -> None:
        with pytest.raises(SchemaBusy) as busy:
            await restored(mine, backup, swap=False)
        refused.append(busy.value.message)

    async with anyio.create_task_group() as group:
        group.start_soon(restore)
        await until(Path(f"{go}.waited").exists)
        assert claimed(other)
        go.touch()
    assert f"Session {other.info.backend_pid} (somebody)" in refused[0]
    require_untouched(shop)
