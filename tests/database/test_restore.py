"""A restored backup has every row, the same schema, and nothing of a damaged one."""

from dataclasses import replace
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from rollback.errors import BackupFailed
from rollback.schema import TableRows
from rollback.targets.database import dumping
from rollback.targets.database.programs import Programs
from rollback.targets.database.restore import restore
from rollback.targets.database.scratch import scratch

from .keeping import SHOP, ignored, keeper, run, value

pytestmark = pytest.mark.anyio

SUM: LiteralString = """
SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
  SELECT g::text FROM guests g UNION ALL SELECT o::text FROM orders o
  UNION ALL SELECT t::text FROM "Odd (name)" t UNION ALL SELECT f::text FROM florists f
) AS lines (line)
"""


@pytest.mark.parametrize("least", [0, dumping.PARALLEL_BYTES])
async def test_all_values_come_back(
    database: str,
    server: str,
    tmp_path: Path,
    programs_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    least: int,
) -> None:
    """Restored in parallel or in one transaction, every value is the same again."""
    monkeypatch.setattr(dumping, "PARALLEL_BYTES", least)
    run(database, SHOP, "CREATE SCHEMA rollback", "CREATE TABLE rollback.kept (x int)")
    backups = keeper(database, tmp_path, programs_folder)
    backup = await backups.take("x", ignored)
    programs = await Programs.find(programs_folder, 18)
    async with backups.fetched(backup) as folder, scratch(server) as url:
        await restore(folder, backup, url, programs=programs, jobs=2)
        assert value(url, SUM) == value(database, SUM)
        assert value(url, "SELECT guests FROM counts") == 300
        assert value(url, "SELECT to_regnamespace('rollback') IS NULL")
        # Without statistics a rehearsal would take other plans than production.
        estimate = "SELECT reltuples::int FROM pg_class WHERE oid = 'guests'::regclass"
        assert value(url, estimate) == 300
        run(url, "INSERT INTO guests (name) VALUES ('the next one')")


async def test_what_is_around_the_schemas_comes_back(
    database: str, server: str, tmp_path: Path, programs_folder: Path
) -> None:
    """Publications and extensions, which no dump of schemas has, are there again."""
    run(
        database,
        SHOP,
        "CREATE SCHEMA tools",
        "CREATE EXTENSION vector SCHEMA tools",
        "CREATE TABLE moods (mood tools.vector(2))",
        "CREATE PUBLICATION live FOR TABLE guests",
    )
    backups = keeper(database, tmp_path, programs_folder)
    backup = await backups.take("x", ignored)
    programs = await Programs.find(programs_folder, 18)
    async with backups.fetched(backup) as folder, scratch(server) as url:
        await restore(folder, backup, url, programs=programs, jobs=1)
        assert value(url, "SELECT tablename FROM pg_publication_tables") == "guests"
        run(url, "INSERT INTO moods VALUES ('[1,2]')")


async def test_a_damaged_backup_touches_nothing(
    database: str, server: str, tmp_path: Path, programs_folder: Path
) -> None:
    """The hashes are compared before the first statement of a restore."""
    run(database, SHOP)
    backups = keeper(database, tmp_path, programs_folder)
    backup = await backups.take("x", ignored)
    largest = max(backup.files, key=lambda file: file.bytes)
    (Path(backup.path) / largest.path).write_bytes(b"x")
    programs = await Programs.find(programs_folder, 18)
    async with scratch(server) as url:
        with pytest.raises(BackupFailed, match="damaged"):
            async with backups.fetched(backup) as folder:
                await restore(folder, backup, url, programs=programs, jobs=1)
        assert (
            value(url, "SELECT count(*) FROM pg_tables WHERE tablename='guests'") == 0
        )


async def test_a_restore_that_is_not_complete_is_an_error(
    database: str, server: str, tmp_path: Path, programs_folder: Path
) -> None:
    """The rows are counted after a restore: those that are missing are named."""
    run(database, SHOP)
    backups = keeper(database, tmp_path, programs_folder)
    backup = await backups.take("x", ignored)
    programs = await Programs.find(programs_folder, 18)
    more = replace(backup, tables=(TableRows(table="public.guests", rows=301),))
    async with backups.fetched(backup) as folder, scratch(server) as url:
        with pytest.raises(BackupFailed, match=r"public\.guests has 300 rows .* 301"):
            await restore(folder, more, url, programs=programs, jobs=1)


async def test_what_cannot_be_restored_leaves_nothing(
    database: str, server: str, tmp_path: Path, programs_folder: Path
) -> None:
    """A database that is not empty is refused, and keeps what it has."""
    run(database, SHOP)
    backups = keeper(database, tmp_path, programs_folder)
    backup = await backups.take("x", ignored)
    programs = await Programs.find(programs_folder, 18)
    async with backups.fetched(backup) as folder, scratch(server) as url:
        run(url, "CREATE TABLE mine (id int)")
        with pytest.raises(BackupFailed, match="cannot drop schema public"):
            await restore(folder, backup, url, programs=programs, jobs=1)
        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
    assert tables == [("mine",)]
