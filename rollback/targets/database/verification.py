"""What proves a backup: the hash of every file, and the rows that come out of it.

`pg_restore --list` proves nothing (measured: it passes a truncated dump), and a dump
that is read to its end may still be empty: so its rows are counted too, beside those
that the snapshot had.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from rollback.errors import BackupFailed
from rollback.schema import BackupFile, TableRows

from .manifests import MANIFEST, in_thread
from .programs import Programs

__all__ = [
    "APART_DUMP",
    "DUMP",
    "CopyCounter",
    "hashed",
    "require_rows",
    "require_same",
]

DUMP = "database"
APART_DUMP = "rollback.dump"

READ_BYTES = 1024 * 1024
NAME = rb'(?:"(?:[^"]|"")+"|[^\s."(]+)'
HEADER = re.compile(rb"^COPY (%b\.%b) .*FROM stdin;$" % (NAME, NAME))
END = b"\n\\.\n"


class CopyCounter:
    """Counts the rows of each COPY in a stream of pg_restore's output."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.problem: str | None = None
        # A line feed before it lets an end be found right after a header.
        self._rest = b"\n"
        self._table: str | None = None

    def add(self, chunk: bytes) -> None:
        """Take the next part, cut anywhere."""
        self._rest += chunk
        while self._copy_end() if self._table is not None else self._line():
            pass

    def end(self) -> None:
        """Note what was cut off."""
        if self._table is not None:
            self.problem = f"the rows of {self._table} have no end"

    def _line(self) -> bool:
        """Take one line that is no row; False where there is none yet."""
        line, feed, rest = self._rest.lstrip(b"\n").partition(b"\n")
        if not feed:
            return False
        self._rest = rest
        if match := HEADER.match(line):
            self._table = match[1].decode(errors="replace")
            self.rows.setdefault(self._table, 0)
            self._rest = b"\n" + rest
        return True

    def _copy_end(self) -> bool:
        """Count rows up to the end of them, or up to what may be its beginning."""
        table = self._table or ""
        at = self._rest.find(END)
        if at >= 0:
            self.rows[table] += self._rest.count(b"\n", 0, at)
            self._rest = self._rest[at + len(END) :]
            self._table = None
            return True
        keep = max(0, len(self._rest) - len(END) + 1)
        self.rows[table] += self._rest.count(b"\n", 0, keep)
        self._rest = self._rest[keep:]
        return False


async def hashed(folder: Path) -> tuple[BackupFile, ...]:
    """All files of a backup but its manifest."""
    names = await in_thread(partial(_names, folder))
    return tuple([await in_thread(partial(_hash, folder, name)) for name in names])


async def require_same(folder: Path, files: Sequence[BackupFile]) -> None:
    """Raise `BackupFailed` where a file is missing, cut or not what it was."""
    for file in files:
        if not await in_thread((folder / file.path).is_file):
            raise BackupFailed(f"The backup is damaged: its file {file.path} is gone.")
        if await in_thread(partial(_hash, folder, file.path)) != file:
            raise BackupFailed(
                f"The backup is damaged: its file {file.path} is not what was written.",
                mend="Take another one; `rollback db backups` lists them.",
            )


async def require_rows(
    programs: Programs, folder: Path, tables: Iterable[TableRows]
) -> None:
    """Raise `BackupFailed` where reading it fails or gives another number of rows."""
    counter = CopyCounter()
    for dump in (DUMP, APART_DUMP):
        if await in_thread((folder / dump).exists):
            await programs.run(
                "pg_restore",
                "--data-only",
                "--file=-",
                str(folder / dump),
                take=counter.add,
            )
            counter.end()
    wanted = {table.table: table.rows for table in tables}
    problems = [counter.problem] if counter.problem else []
    for name in sorted(wanted.keys() | counter.rows.keys()):
        has, had = counter.rows.get(name), wanted.get(name)
        if has != had:
            problems.append(f"{name} has {_rows(has)} in it and had {_rows(had)}")
    if problems:
        raise BackupFailed(f"The backup does not verify: {'; '.join(problems)}.")


def _rows(number: int | None) -> str:
    return "none" if number is None else f"{number} rows"


def _names(folder: Path) -> list[str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in files]
    return [name for name in names if name != MANIFEST]


def _hash(folder: Path, name: str) -> BackupFile:
    digest, size = hashlib.sha256(), 0
    with (folder / name).open("rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return BackupFile(path=name, bytes=size, sha256=digest.hexdigest())
