"""The locks come before the snapshot: nothing that comes between empties a backup."""

from pathlib import Path
from typing import LiteralString

import anyio
import psycopg
import pytest
from psycopg.errors import LockNotAvailable

from rollback.errors import BackupFailed, RollbackError
from rollback.targets.database import dumping, holder
from rollback.targets.database.holder import Table, hold
from rollback.transactions import Connection, Database

from .keeping import ignored, keeper, run, until, with_catch

pytestmark = pytest.mark.anyio

GUESTS: LiteralString = """
CREATE TABLE guests (id int);
INSERT INTO guests SELECT generate_series(1, 100);
"""


@pytest.fixture
def filled(database: str) -> str:
    """A database with a hundred guests."""
    run(database, GUESTS)
    return database


def opened(url: str) -> Database:
    """The database, for a holder."""
    return Database(url, statement_timeout_seconds=20)


def meanwhile(
    url: str, monkeypatch: pytest.MonkeyPatch, *statements: LiteralString
) -> None:
    """Have somebody run statements between the listing and the first lock."""
    lock, left = holder._lock, list(statements)

    async def late(connection: Connection, tables: tuple[Table, ...]) -> None:
        while left:
            run(url, left.pop(0))
        await lock(connection, tables)

    monkeypatch.setattr(holder, "_lock", late)


async def test_a_table_rewritten_before_the_lock_is_not_empty(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot older than a rewrite would see no row: ours comes after the locks."""
    rewrite: LiteralString = "ALTER TABLE guests ALTER id TYPE text"
    meanwhile(filled, monkeypatch, rewrite)
    async with hold(opened(filled), ("public",)) as held:
        await held.count()
        assert [table.rows for table in held.rows(apart=False)] == [100]


async def test_under_the_locks_nothing_is_rewritten_and_everything_goes_on(
    filled: str,
) -> None:
    """While the snapshot is held, TRUNCATE has to wait and rows can be written."""
    async with hold(opened(filled), ("public",)):
        with psycopg.connect(filled, autocommit=True) as other:
            other.execute("SET lock_timeout = '50ms'")
            with pytest.raises(LockNotAvailable):
                other.execute("TRUNCATE guests")
            other.execute("INSERT INTO guests VALUES (101)")
            other.execute("UPDATE guests SET id = 0 WHERE id = 1")


async def test_without_the_locks_the_check_would_find_it(
    filled: str,
    tmp_path: Path,
    programs_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the locks taken away, a TRUNCATE under the snapshot fails it, by name."""
    notes = holder._notes

    async def no_lock(connection: Connection, tables: tuple[Table, ...]) -> None:
        """Take none."""

    async def late(connection: Connection, schemas: tuple[str, ...]) -> tuple[str, ...]:
        run(filled, "TRUNCATE guests")
        return await notes(connection, schemas)

    monkeypatch.setattr(holder, "_lock", no_lock)
    monkeypatch.setattr(holder, "_notes", late)
    backups = keeper(filled, tmp_path / "backups", programs_folder)
    with pytest.raises(BackupFailed, match=r"public\.guests were replaced"):
        await backups.take("x", ignored)
    assert await backups.known() == ()


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("CREATE TABLE late (id int)", ["public.guests", "public.late"]),
        ("DROP TABLE guests", []),
        ("ALTER TABLE guests RENAME TO people", ["public.people"]),
    ],
)
async def test_a_table_that_comes_or_goes_is_noticed(
    filled: str,
    monkeypatch: pytest.MonkeyPatch,
    statement: LiteralString,
    tables: list[str],
) -> None:
    """What changed between listing and lock is listed anew: nothing is missed."""
    meanwhile(filled, monkeypatch, statement)
    async with hold(opened(filled), ("public",)) as held:
        assert [table.shown for table in held.tables] == tables


async def test_who_keeps_readers_out_is_named(filled: str) -> None:
    """Where a lock cannot be had, the session in the way is named, not its query."""
    with psycopg.connect(filled, application_name="a migration") as blocker:
        blocker.execute("LOCK TABLE guests IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(BackupFailed, match=r"\(a migration, user") as refused:
            async with hold(opened(filled), ("public",), attempts=1):
                pass
        assert f"process {blocker.info.backend_pid} " in refused.value.message


async def test_a_lock_that_is_given_back_is_waited_for(filled: str) -> None:
    """A migration that ends in time does not fail the backup."""
    with psycopg.connect(filled) as blocker:
        blocker.execute("LOCK TABLE guests IN ACCESS EXCLUSIVE MODE")
        async with anyio.create_task_group() as tasks:

            async def take() -> None:
                async with hold(opened(filled), ("public",)) as held:
                    assert len(held.tables) == 1

            tasks.start_soon(take)
            waiting: LiteralString = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            await until(lambda: blocker.execute(waiting).fetchone() == (1,))
            blocker.rollback()


async def test_a_holder_that_is_ended_fails_the_backup(
    filled: str,
    tmp_path: Path,
    programs_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the server ends the snapshot's session, the dump ends and nothing stays."""
    monkeypatch.setattr(dumping, "TELL_SECONDS", 0.01)
    note = tmp_path / "pid"
    folder = with_catch(
        tmp_path / "bin", programs_folder, f"echo $$ > {note}; exec sleep 300"
    )
    ended: list[RollbackError] = []

    async def take() -> None:
        try:
            await keeper(filled, tmp_path / "backups", folder).take("x", ignored)
        except RollbackError as error:
            ended.append(error)

    end: LiteralString = """
        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'rollback'
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await until(note.is_file)
        run(filled, end)
    assert "cannot be reached" in ended[0].message
    assert not list((tmp_path / "backups").iterdir())
