"""The port `Database` on PostgreSQL: plan, back up, rehearse, apply."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rollback.errors import SchemaRefused
from rollback.ports import Clock, Notice
from rollback.schema import (
    Backup,
    Fingerprint,
    Receipt,
    Refilled,
    SchemaPlan,
    SchemaRecord,
)
from rollback.transactions import Connection, Database

from .apply import apply
from .backup import Backups
from .catalogue import read_catalogue
from .complaints import speaking
from .history import History, read_history
from .parting import Archive
from .planning import Planning, make_plan
from .pooler import require_session
from .programs import Programs
from .refill import archived, refill
from .rehearsal import rehearse
from .scratch import copy_schema, scratch

__all__ = ["PostgresDatabase", "Rules"]

ASK_SECONDS = 10.0
T = TypeVar("T")

Records = Callable[[], Awaitable[Mapping[str, SchemaRecord]]]
"""What was recorded of the schema's versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a rollback holds itself to. `migrations` has the scripts."""

    migrations: Path
    schemas: tuple[str, ...] = ("public",)
    programs: Path | None = None
    lock_timeout_ms: int = 500
    lock_attempts: int = 20
    stall_limit_seconds: float = 5.0
    timeout_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresDatabase:
    """One database (port `Database`), at an address that keeps its session.

    `scratch_url` is the server where it is tried out first.
    """

    url: str
    scratch_url: str
    backups: Backups
    records: Records
    rules: Rules
    clock: Clock

    async def version(self) -> str | None:
        """The last migration that was applied; None without a history."""
        try:
            return (await self.history()).current
        except SchemaRefused:
            return None

    async def versions(self) -> tuple[str, ...]:
        """Every version that is applied; none without a history."""
        try:
            return (await self.history()).versions
        except SchemaRefused:
            return ()

    async def history(self) -> History:
        """The versions that are applied; raises `SchemaRefused` without a history."""
        return await self._read(lambda c: read_history(c, self.rules.schemas))

    async def fingerprint(self) -> Fingerprint:
        """The schema as it is now."""
        found = await self._read(lambda c: read_catalogue(c, self.rules.schemas))
        return found.fingerprint

    async def back_up(self, label: str, *, notice: Notice) -> Backup:
        """Take a backup and verify it; raises `BackupFailed`."""
        return await self.backups.take(label, notice)

    async def plan(self, to: str, *, accept: frozenset[str]) -> SchemaPlan | None:
        """How to go back to a version; None where that is the schema's already."""
        await require_session(self.url, failure=SchemaRefused)
        planning = Planning(
            url=self.url,
            copies=self._copy,
            folder=self.rules.migrations,
            schemas=self.rules.schemas,
            timeout_seconds=self.rules.timeout_seconds,
            stall_limit_seconds=self.rules.stall_limit_seconds,
        )
        return await make_plan(
            planning, to, records=await self.records(), accept=accept
        )

    async def rehearse(
        self, plan: SchemaPlan, backup: Backup, *, notice: Notice
    ) -> None:
        """Do what was planned to the restored backup, in a scratch database."""
        await rehearse(
            self.backups,
            backup,
            plan,
            source_url=self.url,
            scratch_url=self.scratch_url,
            programs=await self._programs(),
            schemas=self.rules.schemas,
            notice=notice,
            clock=self.clock,
        )

    async def roll_back(
        self, plan: SchemaPlan, backup: Backup, *, incident: str, notice: Notice
    ) -> Receipt:
        """Do what was planned, whole or not at all."""
        return await apply(
            self._database(self.rules.timeout_seconds),
            plan,
            backup,
            incident=incident,
            lock_timeout_ms=self.rules.lock_timeout_ms,
            attempts=self.rules.lock_attempts,
            schemas=self.rules.schemas,
            notice=notice,
            clock=self.clock,
            stall_limit_seconds=self.rules.stall_limit_seconds,
        )

    async def refill(self, version: str, *, notice: Notice) -> Refilled:
        """Put back what was archived of a version that is applied again."""
        database = self._database(self.rules.timeout_seconds)
        return await refill(
            database, version, notice=notice, schemas=self.rules.schemas
        )

    async def archived(self, version: str) -> tuple[Archive, ...]:
        """What a refill of it would put back; raises `NothingArchived`."""
        return await archived(self._database(ASK_SECONDS), version)

    @asynccontextmanager
    async def _copy(self) -> AsyncIterator[str]:
        """A schema-only copy, with the rows of the history."""
        programs, history = await self._programs(), await self.history()
        async with scratch(self.scratch_url) as copy:
            table = history.schema, history.table
            await copy_schema(
                programs, self.url, copy, self.rules.schemas, history=table
            )
            yield copy

    async def _programs(self) -> Programs:
        async def major(connection: Connection) -> int:
            return connection.info.server_version // 10_000

        return await Programs.find(self.rules.programs, await self._read(major))

    async def _read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        database = self._database(ASK_SECONDS)
        with speaking(database):
            return await database.transaction(work)

    def _database(self, seconds: float) -> Database:
        return Database(self.url, statement_timeout_seconds=seconds)
