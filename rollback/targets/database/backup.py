"""The backup that every rollback begins with: taken in one snapshot, and verified."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from anyio import current_time

from rollback.errors import BackupFailed, RollbackError, SchemaRefused, UnknownBackup
from rollback.ports import Clock, Notice
from rollback.schema import Backup
from rollback.transactions import Connection, Database

from .complaints import alone, speaking
from .dumping import Dumping, shown_bytes
from .history import read_history
from .holder import APART, hold
from .manifests import MANIFEST, from_manifest, in_thread, to_manifest, writing
from .pooler import require_session
from .programs import Programs
from .retention import named, staying
from .storage import Storage, storage
from .surroundings import SURROUNDINGS
from .verification import hashed, require_rows, require_same

__all__ = ["Backups"]

ASK_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What the server says of itself and of its schema."""

    server: str
    major: int
    version: str | None
    schemas: tuple[str, ...]


class Backups:
    """Backups of one database, in one place.

    `programs` is the folder of pg_dump, looked for without it. `kept` is how many of
    the newest stay, beside others (`_retire`); `where` a folder or an fsspec address,
    and `jobs` how many processes dump, and restore for a rehearsal, where that helps.
    """

    def __init__(
        self,
        *,
        url: str,
        where: str,
        programs: Path | None,
        schemas: tuple[str, ...],
        jobs: int,
        kept: int,
        clock: Clock,
    ) -> None:
        self._url, self._where, self._programs = url, where, programs
        self._schemas, self.jobs, self._kept = schemas, jobs, kept
        self._clock = clock
        self._database = Database(url, statement_timeout_seconds=ASK_SECONDS)

    async def take(self, label: str, notice: Notice) -> Backup:
        """Take one and verify it; one that failed or was cancelled leaves nothing.

        Raises:
            BackupFailed, DatabaseUnreachable: there is none; the others stay.

        """
        place = storage(self._where)
        with speaking(self._database):
            facts = await self._database.transaction(self._facts)
        await require_session(self._url)
        programs = await Programs.find(self._programs, facts.major)
        name = await self._new_name(place, label)
        async with place.staged(name) as folder:
            backup = await self._fill(folder, facts, programs, notice)
            backup = replace(
                backup, name=name, label=label, path=place.address(name), verified=True
            )
            await _write(folder / MANIFEST, to_manifest(backup))
            await place.keep(folder, name)
        await self._retire(place, notice)
        notice(
            f"backup {name}: {shown_bytes(backup.bytes)}, {len(backup.tables)} tables, "
            f"verified, {backup.seconds:.1f} s"
        )
        return backup

    async def known(self, notice: Notice | None = None) -> tuple[Backup, ...]:
        """The verified ones, newest first; what is none is passed over."""
        place = storage(self._where)
        found = []
        for name, text in await place.manifests():
            try:
                backup = from_manifest(text, name=name, path=place.address(name))
            except (ValueError, KeyError, TypeError, AttributeError):
                if notice:
                    notice(f"{place.address(name)} is no backup: passed over")
                continue
            if backup.verified:
                found.append(backup)
        return tuple(sorted(found, key=lambda b: (b.taken_at, b.name), reverse=True))

    async def find(self, name: str) -> Backup:
        """The verified one of this name; raises `UnknownBackup`."""
        for backup in await self.known():
            if backup.name == name:
                return backup
        raise UnknownBackup(f"There is no verified backup {name} in {self._shown()}.")

    @asynccontextmanager
    async def fetched(self, backup: Backup) -> AsyncIterator[Path]:
        """A local folder with its files, whose hashes are those of the manifest."""
        async with storage(self._where).fetched(backup.name) as folder:
            await require_same(folder, backup.files)
            yield folder

    async def check(self, backup: Backup) -> None:
        """Verify it again; raises `BackupFailed` where it is not what was taken."""
        programs = await Programs.find(self._programs, _major(backup.client))
        async with self.fetched(backup) as folder:
            await require_rows(programs, folder, (*backup.tables, *backup.apart))

    async def _fill(
        self, folder: Path, facts: _Facts, programs: Programs, notice: Notice
    ) -> Backup:
        """Dump and verify; what it is called comes later."""
        taken_at, began = self._clock.now(), current_time()
        with speaking(self._database), alone():
            async with hold(self._database, facts.schemas) as held:
                dumping = Dumping(
                    url=self._url, held=held, programs=programs, jobs=self.jobs
                )
                await dumping.run(folder, notice)
        await _write(folder / SURROUNDINGS, json.dumps(asdict(held.around), indent=2))
        notice("verifying the backup")
        with writing(str(folder)):
            files = await hashed(folder)
        rows = (*held.rows(apart=False), *held.rows(apart=True))
        await require_rows(programs, folder, rows)
        for note in held.notes:
            notice(note)
        return Backup(
            name="",
            path="",
            label="",
            database=self._database.name,
            version=facts.version,
            taken_at=taken_at,
            seconds=round(current_time() - began, 3),
            server=facts.server,
            client=programs.version,
            schemas=tuple(name for name in held.schemas if name != APART),
            tables=held.rows(apart=False),
            apart=held.rows(apart=True),
            files=files,
            verified=False,
            notes=held.notes,
        )

    async def _facts(self, connection: Connection) -> _Facts:
        number = connection.info.server_version
        schemas, version = self._schemas, None
        try:
            # A savepoint: what fails in here must not end the transaction.
            async with connection.transaction():
                history = await read_history(connection, self._schemas)
            schemas = tuple(dict.fromkeys((*schemas, history.schema)))
            version = history.current
        except SchemaRefused:
            pass  # without a history there is no version
        return _Facts(
            server=f"{number // 10_000}.{number % 10_000}",
            major=number // 10_000,
            version=version,
            schemas=schemas,
        )

    async def _new_name(self, place: Storage, label: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9._]+", "-", label).strip("-.")[:60] or "backup"
        name = f"{self._clock.now():%Y%m%dT%H%M%SZ}-{plain}"
        taken = {known for known, _ in await place.manifests()}
        more = (f"{name}-{number}" for number in range(2, 1000))
        return name if name not in taken else next(n for n in more if n not in taken)

    async def _retire(self, place: Storage, notice: Notice) -> None:
        """Remove old ones of this database's; called once a new one is verified.

        There stay the newest `kept`, all of the last 24 hours, the first of each of the
        last seven days, and for 30 days those that a rollback of the schema began with.
        So the backup from before an incident outlives the rollbacks that follow.
        """
        now = self._clock.now()
        mine = [b for b in await self.known() if b.database == self._database.name]
        try:
            with speaking(self._database):
                pinned = await self._database.transaction(partial(named, now=now))
        except RollbackError as error:
            notice(f"the old backups stay, all of them: {error.message}")
            return
        stay = staying(mine, kept=self._kept, now=now, pinned=pinned)
        for backup in mine:
            if backup not in stay:
                await _remove(place, backup, notice)

    def _shown(self) -> str:
        return storage(self._where).address("").rstrip("/")


async def _remove(place: Storage, backup: Backup, notice: Notice) -> None:
    try:
        await place.remove(backup.name)
        notice(f"removed the old backup {backup.name}")
    except BackupFailed as error:
        notice(f"the old backup {backup.name} stays: {error.message}")


async def _write(path: Path, text: str) -> None:
    with writing(str(path.parent)):
        await in_thread(partial(path.write_text, text, encoding="utf-8"))


def _major(version: str) -> int:
    return int(version.split(".", maxsplit=1)[0])
