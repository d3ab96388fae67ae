"""Where backups lie: a folder, or any object store that fsspec knows.

A backup is written under a name that ends in `.partial`, and renamed when it has
verified; what has a manifest under its own name is whole.
"""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from .folders import Folder
from .stores import Store

__all__ = ["Storage", "storage"]


class Storage(Protocol):
    """A place for backups. What fails raises `BackupFailed`."""

    def address(self, name: str) -> str:
        """Where the backup of this name lies, for people: without a password."""

    def staged(self, name: str) -> AbstractAsyncContextManager[Path]:
        """A context: an empty local folder, gone at the end unless it was kept."""

    async def keep(self, staged: Path, name: str) -> None:
        """Give what is staged, its manifest too, its own name."""

    async def manifests(self) -> tuple[tuple[str, str], ...]:
        """Names of folders, with their manifests; empty text for one without."""

    def fetched(self, name: str) -> AbstractAsyncContextManager[Path]:
        """A context: a local folder with the backup's files."""

    async def remove(self, name: str) -> None:
        """Remove a backup."""


def storage(where: str) -> Storage:
    """The storage at a path, or at an address with `://`.

    Raises:
        BackupFailed: an address, and fsspec or the store's package is not installed.

    """
    return Store(where) if "://" in where else Folder(Path(where))
