"""Backups in an object store, by fsspec."""

import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

from anyio import CancelScope

from rollback.errors import BackupFailed

from .manifests import MANIFEST, in_thread, writing

__all__ = ["Store"]


class Store:
    """An object store. Dumped here first, then put there; the manifest comes last."""

    def __init__(self, where: str) -> None:
        self._where = where.rstrip("/")
        self._shown = re.sub(r"://[^/@]*@", "://", self._where)
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise _no_fsspec(self._shown) from error
        with _remotely(self._shown):
            self._files, self._root = url_to_fs(self._where)

    def address(self, name: str) -> str:
        """The backup's folder, with its scheme."""
        return f"{self._shown}/{name}"

    @asynccontextmanager
    async def staged(self, name: str) -> AsyncIterator[Path]:
        """A folder among the temporary ones; its owner alone may enter it."""
        with writing("the folder for temporary files"):
            folder = Path(await in_thread(partial(mkdtemp, prefix=f"rollback-{name}-")))
        try:
            yield folder
        finally:
            with CancelScope(shield=True):
                await in_thread(partial(shutil.rmtree, folder, ignore_errors=True))

    async def keep(self, staged: Path, name: str) -> None:
        """Put each file, and look at its size there."""
        for path in await in_thread(partial(_files, staged)):
            there = f"{self._root}/{name}/{path.relative_to(staged).as_posix()}"
            with _remotely(self._shown):
                await in_thread(partial(self._put, path, there))

    async def manifests(self) -> tuple[tuple[str, str], ...]:
        """Of all folders there."""
        with _remotely(self._shown):
            return await in_thread(self._manifests)

    @asynccontextmanager
    async def fetched(self, name: str) -> AsyncIterator[Path]:
        """Fetch its files into a temporary folder."""
        async with self.staged(name) as folder:
            with _remotely(self._shown):
                await in_thread(partial(self._get, name, folder))
            yield folder

    async def remove(self, name: str) -> None:
        """The manifest first: what is left of a removal is no backup."""
        there = f"{self._root}/{name}"
        with _remotely(self._shown):
            await in_thread(partial(self._files.rm_file, f"{there}/{MANIFEST}"))
            await in_thread(partial(self._files.rm, there, recursive=True))

    def _put(self, path: Path, there: str) -> None:
        self._files.makedirs(there.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(path), there)
        self._files.invalidate_cache()
        size = self._files.size(there)
        if size != path.stat().st_size:
            raise BackupFailed(
                f"{path.name} has {path.stat().st_size} bytes, and {size} of them "
                f"arrived in {self._shown}."
            )

    def _get(self, name: str, folder: Path) -> None:
        root = f"{self._root}/{name}"
        for there in self._files.find(root):
            path = folder / there[there.index(f"/{name}/") + len(name) + 2 :]
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files.get_file(there, str(path))

    def _manifests(self) -> tuple[tuple[str, str], ...]:
        self._files.invalidate_cache()
        if not self._files.exists(self._root):
            return ()
        found = []
        for entry in self._files.ls(self._root, detail=True):
            if entry["type"] == "directory":
                name = entry["name"].rstrip("/").rpartition("/")[2]
                there = f"{self._root}/{name}/{MANIFEST}"
                known = self._files.exists(there)
                text = self._files.cat_file(there) if known else b""
                found.append((name, text.decode(errors="replace")))
        return tuple(found)


def _files(folder: Path) -> list[Path]:
    """The manifest last: without it, what is there is no backup."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: (path.name == MANIFEST, path))


@contextmanager
def _remotely(where: str) -> Iterator[None]:
    """Each store's client raises errors of its own; their text may hold keys."""
    try:
        yield
    except BackupFailed:
        raise
    except ImportError as error:
        raise BackupFailed(
            f"{where} needs a package that is not installed: {error}."
        ) from error
    except Exception as error:
        raise BackupFailed(
            f"{where} did not do what it was asked: {type(error).__name__}.",
            mend="Check ROLLBACK_BACKUPS, the store's credentials, and its rights.",
        ) from error


def _no_fsspec(where: str) -> BackupFailed:
    return BackupFailed(
        f"{where} is an object store, and fsspec is not installed.",
        mend="Install the extra: pip install 'wedsync-rollback[storage]'.",
    )
