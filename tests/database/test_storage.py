"""Backups lie in a folder or in an object store, and nothing else is taken for one."""

import os
import sys
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from rollback.adapters.memory import FixedClock
from rollback.errors import BackupFailed
from rollback.targets.database.storage import storage

from .keeping import SHOP, entries, ignored, keeper, run

pytestmark = pytest.mark.anyio


async def test_an_object_store_gives_back_what_it_was_given(
    database: str, programs_folder: Path
) -> None:
    """A backup in an object store is known, found whole, and removed like any other."""
    run(database, SHOP)
    clock, where = FixedClock(), "memory://kept/backups"
    backups = keeper(database, where, programs_folder, kept=1, clock=clock)
    try:
        first = await backups.take("a", ignored)
        assert first.path == f"memory://kept/backups/{first.name}"
        await backups.check(first)
        clock.advance(8 * 24 * 3600)
        second = await backups.take("b", ignored)
        assert await backups.known() == (second,)
        assert not MemoryFileSystem().exists(f"/kept/backups/{first.name}")
    finally:
        MemoryFileSystem().rm("/kept", recursive=True)


async def test_a_damaged_file_of_an_object_store_is_found_out(
    database: str, programs_folder: Path, tmp_path: Path
) -> None:
    """What comes back from a store is compared with its hashes before it is used."""
    run(database, SHOP)
    backups = keeper(database, f"file://{tmp_path}/backups", programs_folder)
    backup = await backups.take("a", ignored)
    (tmp_path / "backups" / backup.name / "database" / "toc.dat").write_bytes(b"x")
    with pytest.raises(BackupFailed, match=r"its file database/toc\.dat"):
        async with backups.fetched(backup):
            pass


async def test_without_fsspec_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An address of an object store without the extra says what to install."""
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(BackupFailed, match="fsspec is not installed") as refused:
        storage("s3://bucket/backups")
    assert "wedsync-rollback[storage]" in refused.value.mend


async def test_an_address_is_shown_without_its_password() -> None:
    """Where an address has a user and a password, people see neither."""
    place = storage("memory://user:secret@host/backups")
    assert place.address("x") == "memory://host/backups/x"


async def test_a_store_that_fails_is_named_without_its_own_words() -> None:
    """An error of a store's client becomes two sentences: its own may hold keys."""
    with pytest.raises(BackupFailed, match="did not do what it was asked") as refused:
        storage("nosuchstore://secret-key/backups")
    assert "credentials" in refused.value.mend


async def test_what_is_no_backup_is_passed_over(
    database: str, tmp_path: Path, programs_folder: Path
) -> None:
    """Folders without a manifest, with half of one or with another's are no backups."""
    run(database, SHOP)
    told: list[str] = []
    backups = keeper(database, tmp_path, programs_folder)
    backup = await backups.take("a", ignored)
    manifest = (Path(backup.path) / "manifest.json").read_text()
    for name, text in (("half", manifest[:99]), ("list", "[]"), ("moved", manifest)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)
    (tmp_path / "empty").mkdir()
    (tmp_path / "going-on.partial").mkdir()
    assert await backups.known(told.append) == (backup,)
    assert len(told) == 4
    assert all(text.endswith("is no backup: passed over") for text in told)


async def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    """Before the first backup there is simply none."""
    assert await storage(str(tmp_path / "none")).manifests() == ()


async def test_what_a_killed_run_left_goes_and_what_is_being_written_stays(
    tmp_path: Path,
) -> None:
    """Old half backups are removed by the next run, unless their writer lives."""
    for name in ("dead.partial", "alive.partial"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1, 1))
    writer = os.open(tmp_path / "alive.partial", os.O_RDONLY)
    try:
        flock(writer, LOCK_EX)
        async with storage(str(tmp_path)).staged("new") as folder:
            assert folder.is_dir()
            names = entries(tmp_path)
        assert names == ["alive.partial", "new.partial"]
    finally:
        os.close(writer)
