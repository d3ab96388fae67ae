"""Backups in a folder of this machine."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time

from anyio import CancelScope

from .manifests import MANIFEST, in_thread, writing

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # pragma: no cover - Windows has no such locks
    flock = None  # type: ignore[assignment]

__all__ = ["Folder"]

PARTIAL = ".partial"
LEFT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine."""

    folder: Path

    def address(self, name: str) -> str:
        """The backup's folder."""
        return str(self.folder / name)

    @asynccontextmanager
    async def staged(self, name: str) -> AsyncIterator[Path]:
        """A folder beside the others, whose owner alone may enter it."""
        folder = self.folder / f"{name}{PARTIAL}"
        with writing(str(self.folder)):
            claim = await in_thread(partial(_claim, folder))
        try:
            yield folder
        finally:
            with CancelScope(shield=True):
                await in_thread(partial(shutil.rmtree, folder, ignore_errors=True))
            os.close(claim)

    async def keep(self, staged: Path, name: str) -> None:
        """Rename it, once all of it is on the disk."""
        with writing(str(self.folder)):
            await in_thread(partial(_renamed, staged, self.folder / name))

    async def manifests(self) -> tuple[tuple[str, str], ...]:
        """Of the folders that are not being written."""
        with writing(str(self.folder)):
            return await in_thread(self._manifests)

    @asynccontextmanager
    async def fetched(self, name: str) -> AsyncIterator[Path]:
        """It is here already."""
        yield self.folder / name

    async def remove(self, name: str) -> None:
        """The manifest first: what is left of a removal is no backup."""
        with writing(str(self.folder)):
            (self.folder / name / MANIFEST).unlink()
            await in_thread(partial(shutil.rmtree, self.folder / name))

    def _manifests(self) -> tuple[tuple[str, str], ...]:
        if not self.folder.is_dir():
            return ()
        folders = [path for path in sorted(self.folder.iterdir()) if path.is_dir()]
        return tuple(
            (path.name, _text(path / MANIFEST))
            for path in folders
            if not path.name.endswith(PARTIAL)
        )


def _claim(folder: Path) -> int:
    """Make it, and lock it while we live: so a killed run's can be told and removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"*{PARTIAL}"):
        if time() - left.stat().st_mtime > LEFT_SECONDS and _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(mode=0o700)
    claim = os.open(folder, os.O_RDONLY)
    if flock is not None:
        flock(claim, LOCK_EX | LOCK_NB)
    return claim


def _is_left(folder: Path) -> bool:
    if flock is None:
        return False
    claim = os.open(folder, os.O_RDONLY)
    try:
        flock(claim, LOCK_EX | LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(claim)
    return True


def _renamed(staged: Path, folder: Path) -> None:
    """The names too have to be on the disk; pg_dump has written its files there."""
    _sync(staged / MANIFEST)
    _sync(staged)
    staged.rename(folder)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
