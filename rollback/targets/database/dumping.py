"""Running pg_dump on a held snapshot, while its rows are counted."""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anyio import Event, create_task_group, current_time, move_on_after, sleep

from rollback.errors import BackupFailed
from rollback.ports import Notice

from .complaints import WAITED
from .holder import APART, Held
from .manifests import in_thread
from .programs import Programs
from .scratch import quoted
from .verification import APART_DUMP, DUMP

__all__ = ["Dumping", "jobs_that_help", "shown_bytes"]

TELL_SECONDS = 2.0
PARALLEL_BYTES = 64 * 1024 * 1024
PARALLEL_TABLES = 2
LOCK_WAIT_SECONDS = 10
# Measured: less than half of the usual level's time, for 5 % more bytes.
FAST = "--compress=1"


@dataclass(slots=True, kw_only=True)
class Dumping:
    """One run of pg_dump, and one more for the schema `rollback` where it is."""

    url: str
    held: Held
    programs: Programs
    jobs: int

    async def run(self, folder: Path, notice: Notice) -> None:
        """Dump into the folder; raises `BackupFailed` where the snapshot is lost."""
        held, ended = self.held, Event()
        notice(
            f"backing up {len(held.with_rows)} tables "
            f"({shown_bytes(held.bytes)}) of {', '.join(held.schemas)}"
        )
        async with create_task_group() as beside:
            beside.start_soon(self._tell, folder, notice)
            async with create_task_group() as work:
                work.start_soon(self._watch, ended)
                await self._dump(folder)
                ended.set()
            beside.cancel_scope.cancel()

    async def _dump(self, folder: Path) -> None:
        schemas = [name for name in self.held.schemas if name != APART]
        most = jobs_that_help(self.jobs, len(self.held.with_rows), self.held.bytes)
        # A worker gives up at once where somebody waits to lock, and the first session
        # does so in the end: alone, and again, it finds a gap.
        for again, jobs in ((True, most), (True, 1), (False, 1)):
            try:
                await self._dump_schemas(folder, schemas, jobs)
                break
            except BackupFailed as error:
                if not again or WAITED not in error.message:
                    raise
                await in_thread(
                    partial(shutil.rmtree, folder / DUMP, ignore_errors=True)
                )
        if APART in self.held.schemas:
            await self._pg_dump(
                "--format=custom",
                FAST,
                f"--schema={quoted(APART)}",
                f"--file={folder / APART_DUMP}",
            )

    async def _dump_schemas(self, folder: Path, schemas: list[str], jobs: int) -> None:
        await self._pg_dump(
            "--format=directory",
            FAST,
            f"--jobs={jobs}",
            f"--exclude-schema={quoted(APART)}",
            *(f"--schema={quoted(name)}" for name in schemas),
            f"--file={folder / DUMP}",
        )

    async def _pg_dump(self, *options: str) -> None:
        await self.programs.run(
            "pg_dump",
            *options,
            f"--snapshot={self.held.snapshot}",
            f"--lock-wait-timeout={LOCK_WAIT_SECONDS}s",
            url=self.url,
        )

    async def _watch(self, ended: Event) -> None:
        """Count the rows, then see to it that the snapshot lives to the end."""
        await self.held.count()
        while not ended.is_set():
            await self.held.check()
            with move_on_after(TELL_SECONDS):
                await ended.wait()
        await self.held.check()

    async def _tell(self, folder: Path, notice: Notice) -> None:
        began = current_time()
        while True:
            await sleep(TELL_SECONDS)
            size = await in_thread(partial(_size, folder))
            counted = f"{len(self.held.counted)} of {len(self.held.with_rows)}"
            notice(
                f"backing up: {shown_bytes(size)} written, {counted} tables counted, "
                f"{current_time() - began:.0f} s"
            )


def jobs_that_help(jobs: int, tables: int, size: int) -> int:
    """Below a size, starting more processes takes longer than they save."""
    return jobs if tables >= PARALLEL_TABLES and size >= PARALLEL_BYTES else 1


def shown_bytes(number: int) -> str:
    """For people."""
    size = float(number)
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004 - units of a thousand
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue  # pg_dump has just renamed it
    return total
