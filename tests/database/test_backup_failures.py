"""A backup that fails says why in two sentences, leaves nothing, and costs no other."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rollback.adapters.memory import FixedClock
from rollback.errors import BackupFailed, DatabaseUnreachable
from tests.integration.processes import gone

from .keeping import SHOP, entries, ignored, keeper, run, until, with_catch

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(database: str) -> str:
    """A database with tables of every kind."""
    run(database, SHOP)
    return database


@pytest.fixture
def reader(shop: str) -> Iterator[str]:
    """The shop's address for a user who may read every table."""
    name = f"{conninfo_to_dict(shop)['dbname']}_reader"
    run(
        shop,
        f"CREATE ROLE {name} LOGIN PASSWORD 'reader'",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
        f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}",
    )
    yield make_conninfo(shop, user=name, password="reader")
    run(shop, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def test_a_disk_without_room_is_told(
    shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """A write that the system refuses for want of room is named, and nothing stays."""
    catch = "trap '' XFSZ; ulimit -f 1"
    folder = with_catch(tmp_path / "bin", programs_folder, catch)
    with pytest.raises(BackupFailed, match="There is no room") as refused:
        await keeper(shop, tmp_path / "backups", folder).take("x", ignored)
    assert "ROLLBACK_BACKUPS" in refused.value.mend
    assert entries(tmp_path / "backups") == []


async def test_a_user_who_may_read_everything_can_take_one(
    reader: str, tmp_path: Path, programs_folder: Path
) -> None:
    """No more than SELECT is needed."""
    backup = await keeper(reader, tmp_path, programs_folder).take("x", ignored)
    assert backup.verified


async def test_row_level_security_is_no_smaller_backup(
    reader: str, shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """A user from whom rows are hidden gets an error that names the table."""
    run(shop, "ALTER TABLE guests ENABLE ROW LEVEL SECURITY")
    with pytest.raises(BackupFailed, match=r"Row level security .* guests") as refused:
        await keeper(reader, tmp_path, programs_folder).take("x", ignored)
    assert "BYPASSRLS" in refused.value.mend
    assert entries(tmp_path) == []


async def test_a_missing_right_is_named(
    reader: str, shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """A table that the user may not read fails the backup, by name."""
    run(shop, "CREATE TABLE secret (id int)")
    with pytest.raises(BackupFailed, match="permission denied for table secret"):
        await keeper(reader, tmp_path, programs_folder).take("x", ignored)
    assert entries(tmp_path) == []


async def test_a_missing_right_on_a_sequence_is_named(
    reader: str, shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """What only pg_dump needs to read is named just so."""
    run(shop, "CREATE SEQUENCE numbers")
    with pytest.raises(BackupFailed, match=r'lacks a right: .* sequence "numbers"'):
        await keeper(reader, tmp_path, programs_folder).take("x", ignored)
    assert entries(tmp_path) == []


async def test_a_schema_that_is_not_there_is_named(
    shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """A schema that is misspelt is no empty backup."""
    backups = keeper(shop, tmp_path, programs_folder, schemas=("public", "shpo"))
    with pytest.raises(BackupFailed, match="no schema shpo"):
        await backups.take("x", ignored)


async def test_a_database_that_is_down_is_unreachable(
    shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """Where nobody answers, the error names the host and shows no password."""
    nowhere = make_conninfo(shop, port=1)
    with pytest.raises(DatabaseUnreachable, match=r"127\.0\.0\.1:1/") as refused:
        await keeper(nowhere, tmp_path, programs_folder).take("x", ignored)
    assert str(conninfo_to_dict(shop)["password"]) not in refused.value.message


async def test_a_place_that_cannot_be_written_is_named(
    shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """A destination that is no folder is named before anything is dumped."""
    taken = tmp_path / "file"
    taken.write_text("not a folder")
    with pytest.raises(BackupFailed, match="Nothing can be kept in") as refused:
        await keeper(shop, taken / "x", programs_folder).take("x", ignored)
    assert "ROLLBACK_BACKUPS" in refused.value.mend


async def test_programs_of_another_version_are_refused_first(
    shop: str, tmp_path: Path
) -> None:
    """With pg_dump of another major version nothing is begun, and both are named."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("pg_dump", "pg_restore"):
        (folder / program).write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.18'\n")
        (folder / program).chmod(0o755)
    with pytest.raises(BackupFailed, match=r"PostgreSQL 18, and pg_dump is 15\.18"):
        await keeper(shop, tmp_path / "backups", folder).take("x", ignored)
    assert entries(tmp_path / "backups") == []


async def test_a_cancelled_one_leaves_neither_files_nor_processes(
    shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """When the command is interrupted, pg_dump has ended and its files are gone."""
    note = tmp_path / "pid"
    catch = f"echo $$ > {note}; exec sleep 300"
    folder = with_catch(tmp_path / "bin", programs_folder, catch)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper(shop, tmp_path / "backups", folder).take, "x", ignored)
        await until(lambda: note.exists() and note.read_text().endswith("\n"))
        assert entries(tmp_path / "backups")
        tasks.cancel_scope.cancel()
    assert gone(int(note.read_text()))
    assert entries(tmp_path / "backups") == []


async def test_the_last_ones_are_kept(
    shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """After a new one the oldest go, and folders of somebody else stay."""
    where = tmp_path / "backups"
    (where / "20200101T000000Z-somebody").mkdir(parents=True)
    clock = FixedClock()
    backups = keeper(shop, where, programs_folder, kept=2, clock=clock)
    names = []
    for label in "abc":
        names.append((await backups.take(label, ignored)).name)
        clock.advance(8 * 24 * 3600)
    assert [backup.name for backup in await backups.known()] == [names[2], names[1]]
    assert entries(where) == ["20200101T000000Z-somebody", *sorted(names[1:])]


async def test_a_failed_one_removes_none(
    shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """The only verified backup stays while no newer one has verified."""
    where = tmp_path / "backups"
    first = await keeper(shop, where, programs_folder, kept=1).take("a", ignored)
    folder = with_catch(tmp_path / "bin", programs_folder, "exit 1")
    failing = keeper(shop, where, folder, kept=1)
    with pytest.raises(BackupFailed, match="pg_dump ended with 1"):
        await failing.take("b", ignored)
    assert await failing.known() == (first,)


async def test_backups_of_another_database_are_not_counted(
    shop: str, server: str, tmp_path: Path, programs_folder: Path
) -> None:
    """Two databases may share a folder: each keeps its own last ones."""
    clock = FixedClock()
    other = keeper(server, tmp_path, programs_folder, kept=1, clock=clock)
    mine = keeper(shop, tmp_path, programs_folder, kept=1, clock=clock)
    await other.take("a", ignored)
    clock.advance(8 * 24 * 3600)
    await mine.take("b", ignored)
    assert len(await mine.known()) == 2
