"""A ledger that loses nothing while its database is down."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rollback.errors import AlreadyRollingBack, LedgerUnreachable, UnknownDeployment
from rollback.model import (
    DeploymentVersion,
    HealthRecord,
    HealthStatus,
    Incident,
    JournalEntry,
)
from rollback.ports import Ledger, Tokens
from rollback.schema import SchemaRecord

from .spool import HealthNote, JournalNote, Note, Spool, collapsed, failing

__all__ = ["SpoolingLedger"]


class SpoolingLedger:
    """Another ledger, and a spool for what that cannot be told now (port `Ledger`).

    What waits in the spool is delivered before the first thing that is asked. Reading
    needs the ledger, and so does the claim on a candidate: both raise
    `LedgerUnreachable` still.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        *,
        tokens: Tokens,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ledger, self._spool = ledger, spool
        self._tokens, self._notice = tokens, notice
        self._delivered = False

    async def record(self, deployment: DeploymentVersion) -> None:
        """Record a deployment, now or later."""
        await self._deliver()
        await self._or_keep(self._ledger.record(deployment), deployment)

    async def set_health(
        self, deployment_id: str, environment: str, status: HealthStatus, at: datetime
    ) -> None:
        """Record a health status, now or later."""
        await self._deliver()
        note = HealthNote(
            deployment_id=deployment_id, environment=environment, status=status, at=at
        )
        known = self._ledger.set_health(deployment_id, environment, status, at)
        await self._or_keep(known, note)

    async def find(
        self, deployment_id: str, environment: str
    ) -> DeploymentVersion | None:
        """The record of one deployment."""
        await self._deliver()
        return await self._ledger.find(deployment_id, environment)

    async def history(
        self, environment: str, *, limit: int, part: str | None = None
    ) -> tuple[DeploymentVersion, ...]:
        """The latest deployments, newest first; while down, which of them are bad."""
        await self._deliver()
        try:
            return await self._ledger.history(environment, limit=limit, part=part)
        except LedgerUnreachable as error:
            raise LedgerUnreachable(
                error.message, mend=error.mend, failing=self._failing(environment)
            ) from error

    async def health_history(
        self, deployment_id: str, environment: str
    ) -> tuple[HealthRecord, ...]:
        """Every health status recorded of a deployment, newest first."""
        await self._deliver()
        return await self._ledger.health_history(deployment_id, environment)

    async def record_schemas(
        self, records: Sequence[SchemaRecord], *, renew: bool = False
    ) -> tuple[str, ...]:
        """Record versions of the schema; not kept: they can be recorded again."""
        await self._deliver()
        return await self._ledger.record_schemas(records, renew=renew)

    async def schemas(self, environment: str) -> Mapping[str, SchemaRecord]:
        """What is recorded of the schema, by version."""
        await self._deliver()
        return await self._ledger.schemas(environment)

    async def open_incident(self, incident: Incident, *, lease_seconds: float) -> None:
        """Claim the candidate. Without the ledger there is no claim, but a note."""
        await self._deliver()
        try:
            await self._ledger.open_incident(incident, lease_seconds=lease_seconds)
        except LedgerUnreachable as error:
            self._keep(incident, error)
            raise

    async def append(self, incident_id: str, entry: JournalEntry) -> None:
        """Write one journal entry, now or later; it is durable when this returns."""
        await self._deliver()
        note = JournalNote(incident_id=incident_id, entry=entry)
        await self._or_keep(self._ledger.append(incident_id, entry), note)

    async def save_incident(self, incident: Incident) -> None:
        """Save an incident as it is now, now or later."""
        await self._deliver()
        await self._or_keep(self._ledger.save_incident(incident), incident)

    async def incident(self, incident_id: str) -> Incident | None:
        """One incident, with its journal."""
        await self._deliver()
        return await self._ledger.incident(incident_id)

    async def incidents(self, environment: str, *, limit: int) -> tuple[Incident, ...]:
        """The latest incidents, newest first."""
        await self._deliver()
        return await self._ledger.incidents(environment, limit=limit)

    def _failing(self, environment: str) -> frozenset[str]:
        """What waits here to be told: a spool that cannot be read knows nothing."""
        notes: list[Note] = []
        with suppress(OSError, ValueError):
            for path in self._spool.waiting():
                notes.extend(self._spool.read(path))
        return failing(notes, environment)

    async def _or_keep(self, telling: Awaitable[None], note: Note) -> None:
        try:
            await telling
        except LedgerUnreachable as error:
            self._keep(note, error)

    def _keep(self, note: Note, error: LedgerUnreachable) -> None:
        """Keep it here; where that cannot be either, the first error says it all."""
        first = not self._spool.waiting()
        try:
            self._spool.add(note)
        except OSError as problem:
            raise LedgerUnreachable(
                f"{error.message} Nor can it be kept in {self._spool.folder}: "
                f"{problem.strerror}.",
                mend=f"{error.mend} Let ROLLBACK_SPOOL be a folder to write into.",
            ) from error
        if first:
            self._notice(
                f"the ledger cannot be reached; kept in {self._spool.folder} and "
                "delivered by the next command that reaches it"
            )

    async def _deliver(self) -> None:
        """Deliver what waits, once; while the ledger is down it goes on waiting.

        While somebody else delivers, it is left to them, and asked again next time.
        """
        if self._delivered or not self._spool.waiting():
            return
        try:
            with self._spool.delivering() as alone:
                self._delivered = alone
                if alone:
                    await self._deliver_files()
        except OSError as error:
            self._delivered = True
            self._notice(f"what was kept could not be delivered: {error.strerror}")
        except LedgerUnreachable:
            return

    async def _deliver_files(self) -> None:
        # Asked first: nothing is taken aside for a ledger that does not answer.
        await self._ledger.incident("")
        for path in self._spool.take(self._tokens.new()):
            await self._deliver_file(path)

    async def _deliver_file(self, path: Path) -> None:
        notes = list(self._spool.read(path))
        for note in collapsed(notes):
            try:
                await self._tell(note)
            except (UnknownDeployment, AlreadyRollingBack) as error:
                self._notice(f"left out of what is delivered: {error.message}")
        self._spool.remove(path)
        self._notice(f"delivered to the ledger what was kept: {len(notes)} notes")

    async def _tell(self, note: Note) -> None:
        match note:
            case DeploymentVersion():
                await self._ledger.record(note)
            case HealthNote():
                await self._set_health(note)
            case Incident():
                await self._ledger.save_incident(note)
            case JournalNote():
                await self._append(note)

    async def _set_health(self, note: HealthNote) -> None:
        key = note.deployment_id, note.environment
        record = HealthRecord(status=note.status, at=note.at)
        if record not in await self._ledger.health_history(*key):
            await self._ledger.set_health(*key, note.status, note.at)

    async def _append(self, note: JournalNote) -> None:
        """Once: somebody may have died between delivering it and saying so."""
        known = await self._ledger.incident(note.incident_id)
        if known is None or note.entry not in known.journal:
            await self._ledger.append(note.incident_id, note.entry)
