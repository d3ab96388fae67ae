"""A backup's rows put back into production, whole or not at all, and nothing destroyed.

In place: in one transaction the schemas are renamed, the backup is restored under their
names, its rows are counted, and a mark is set; the old schemas stay beside the new. So
what was written since the backup is taken from sight, and lost by nobody. No table is
locked meanwhile: who reads or writes goes on with the old tables until the commit. But
nobody rolls the schema back meanwhile, in neither way of restoring: that is claimed.

The mark bears the name of the recovery and is unique: a second run does not restore
again, whoever was killed at which point.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

from psycopg import Error, sql

from rollback.errors import BackupFailed, DatabaseUnreachable
from rollback.ports import Clock, Notice
from rollback.schema import Backup, TableRows
from rollback.transactions import Connection, Database

from . import swapping
from .locks import busy, claim
from .programs import Programs
from .replacing import CLAIMED, Replacing, outside, replacing
from .retention import named, staying
from .surroundings import recorded, with_grants_of

__all__ = ["BackupStore", "Restorer"]

T = TypeVar("T")
COUNT_SECONDS = 120.0
LOOK_SECONDS = 15.0
TABLES = """
SELECT format('%%I.%%I', n.nspname, c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname = ANY(%(schemas)s)
ORDER BY 1
"""
MARKED = """
SELECT restored_at FROM rollback.restores WHERE token = %(token)s
"""


class BackupStore(Protocol):
    """Where the backups are."""

    async def known(self) -> tuple[Backup, ...]:
        """The verified ones, newest first."""

    async def check(self, backup: Backup) -> None:
        """Its hashes, and that it can be read; raises `BackupFailed`."""

    def fetched(self, backup: Backup) -> AbstractAsyncContextManager[Path]:
        """A local folder that holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorer:
    """Restores backups into the database at `url` (port `Restores`).

    `kept` is how many of the newest backups stay (with others: `retention`), and
    `programs` the folder of pg_restore and psql.
    """

    url: str
    store: BackupStore
    kept: int
    programs: Path | None
    clock: Clock

    async def backups(self) -> tuple[Backup, ...]:
        """The verified backups, newest first; see the port."""
        name = Database(self.url, statement_timeout_seconds=LOOK_SECONDS).name
        return tuple(b for b in await self.store.known() if b.database == name)

    async def check(self, backup: Backup) -> None:
        """Its hashes, and that it can be read; see the port."""
        await self.store.check(backup)

    async def rows(self, backup: Backup) -> tuple[TableRows, ...]:
        """How many rows there are now in the schemas of a backup; see the port."""
        return await self._ask(lambda c: _rows(c, backup.schemas), COUNT_SECONDS)

    async def restored(self, token: str) -> datetime | None:
        """When this recovery has restored; see the port."""
        return await self._ask(lambda c: _marked(c, token), LOOK_SECONDS)

    async def obstacle(
        self, backup: Backup, *, swap: bool, another: bool
    ) -> str | None:
        """Why it could not be restored in this way; see the port."""
        if another and not await self._outlives_another(backup):
            return (
                f"{backup.name} would be removed by the backup that is taken now: of "
                f"the old ones only {self.kept} are kept (ROLLBACK_BACKUPS_KEPT)."
            )
        if swap:
            return await self._ask(
                lambda c: swapping.obstacle(c, backup.schemas), LOOK_SECONDS
            )
        found = await self._replacing(backup)
        return found.obstacle

    async def restore(
        self, backup: Backup, *, token: str, swap: bool, notice: Notice
    ) -> str:
        """Restore it and say where the former rows are; see the port."""
        programs = await self._programs()
        await self._ask(claim, LOOK_SECONDS)  # at once, and not after an hour
        notice(f"fetching the backup {backup.name}")
        async with self.store.fetched(backup) as folder:
            if swap:
                return await swapping.swap(
                    programs,
                    self.url,
                    folder,
                    backup,
                    token=token,
                    at=self.clock.now(),
                    notice=notice,
                )
            return await self._in_place(programs, folder, backup, token, notice)

    async def _outlives_another(self, backup: Backup) -> bool:
        """Whether it stays when another one is taken now."""
        now = self.clock.now()
        pinned = await self._ask(lambda c: named(c, now), LOOK_SECONDS)
        known = await self.backups()
        stay = staying(known, kept=self.kept - 1, now=now, pinned=pinned)
        return any(each.name == backup.name for each in stay)

    async def _in_place(
        self,
        programs: Programs,
        folder: Path,
        backup: Backup,
        token: str,
        notice: Notice,
    ) -> str:
        plan = await self._replacing(backup)
        if plan.obstacle:
            raise BackupFailed(plan.obstacle, mend="Restore it with --swap.")
        around = with_grants_of(plan.around, await recorded(folder))
        plan = replace(plan, around=around)
        async with _scripts(programs, folder, plan, token, backup) as scripts:
            notice(f"restoring {backup.name} in one transaction")
            await self._run(programs, scripts)
        left = await self._ask(lambda c: outside(c, plan.kept), LOOK_SECONDS)
        kept = ", ".join(plan.kept)
        told = f"; these still lead there: {', '.join(left)}" if left else ""
        return (
            f"{backup.name} is restored; what was there before is in {kept}, to be "
            f"dropped when nobody needs it any more{told}"
        )

    async def _run(self, programs: Programs, scripts: Sequence[Path]) -> None:
        try:
            await programs.run(
                "psql",
                *("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"),
                "--single-transaction",
                *(f"--file={script}" for script in scripts),
                url=self.url,
            )
        except BackupFailed as error:
            if CLAIMED not in error.message:
                raise
            await self._ask(claim, LOOK_SECONDS)
            raise busy(None) from error

    async def _replacing(self, backup: Backup) -> Replacing:
        at = self.clock.now()
        return await self._ask(
            lambda c: replacing(c, backup.schemas, at=at), LOOK_SECONDS
        )

    async def _programs(self) -> Programs:
        major = await self._ask(_major, LOOK_SECONDS)
        return await Programs.find(self.programs, major)

    async def _ask(
        self, work: Callable[[Connection], Awaitable[T]], seconds: float
    ) -> T:
        database = Database(self.url, statement_timeout_seconds=seconds)
        try:
            return await database.transaction(work)
        except (Error, OSError, TimeoutError) as error:
            raise DatabaseUnreachable(
                f"The database at {database.name} cannot be used: "
                f"{database.explain(error)}."
            ) from error


@asynccontextmanager
async def _scripts(
    programs: Programs, folder: Path, plan: Replacing, token: str, backup: Backup
) -> AsyncIterator[Sequence[Path]]:
    """What comes before the restore, the restore, what comes after: in files.

    The restore is written out whole before any of it runs. A pipe from pg_restore that
    breaks would look like its end, and half a backup would be committed.
    """
    with TemporaryDirectory(prefix="rollback-") as name:
        place = Path(name)
        before, middle, after = (
            place / f"{part}.sql" for part in ("before", "backup", "after")
        )
        before.write_text(plan.before(token, backup), "utf-8")
        after.write_text(plan.after(backup), "utf-8")
        entries = await _entries(programs, folder / "database")
        listed = place / "entries"
        listed.write_text("\n".join(entries) + "\n", "utf-8")
        await programs.run(
            "pg_restore",
            f"--use-list={listed}",
            f"--file={middle}",
            str(folder / "database"),
        )
        yield before, middle, after


async def _entries(programs: Programs, dump: Path) -> list[str]:
    """The dump's table of contents without the schemas, which are there already."""
    said = bytearray()
    await programs.run("pg_restore", "--list", str(dump), take=said.extend)
    lines = said.decode().splitlines()
    return [line for line in lines if line.split(" ")[3:4] != ["SCHEMA"]]


async def _rows(
    connection: Connection, schemas: tuple[str, ...]
) -> tuple[TableRows, ...]:
    found = await connection.execute(TABLES, {"schemas": list(schemas)})
    counted = []
    for row in await found.fetchall():
        query = sql.SQL("SELECT count(*) AS rows FROM ONLY {}").format(
            sql.SQL(row["name"])
        )
        answer = await (await connection.execute(query)).fetchone()
        rows = int(answer["rows"]) if answer else 0
        counted.append(TableRows(table=row["name"], rows=rows))
    return tuple(counted)


async def _marked(connection: Connection, token: str) -> datetime | None:
    there = await connection.execute("SELECT to_regclass('rollback.restores') AS it")
    row = await there.fetchone()
    if row is None or row["it"] is None:
        return None
    row = await (await connection.execute(MARKED, {"token": token})).fetchone()
    return row["restored_at"] if row else None


async def _major(connection: Connection) -> int:
    return connection.info.server_version // 10_000
