from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import anyio
from anyio.lowlevel import checkpoint

from rollback.adapters.records import (
    already_rolling_back,
    as_saved,
    merged,
    taken_over,
)
from rollback.errors import LedgerUnreachable, UnknownDeployment
from rollback.model import (
    DeploymentVersion,
    HealthRecord,
    HealthStatus,
    Incident,
    JournalEntry,
)
from rollback.schema import SchemaRecord

__all__ = ["MemoryLedger"]


class MemoryLedger:
    """Deployments and incidents in memory (port `Ledger`).

    While `down` is set, every call raises `LedgerUnreachable` with it.
    """

    def __init__(self) -> None:
        self.down: str | None = None
        self._deployments: dict[tuple[str, str], DeploymentVersion] = {}
        self._health: dict[tuple[str, str], list[HealthRecord]] = {}
        self._incidents: dict[str, Incident] = {}
        self._journal: dict[str, tuple[JournalEntry, ...]] = {}
        self._schemas: dict[tuple[str, str], SchemaRecord] = {}
        self._leases: dict[str, tuple[float, float]] = {}  # seconds, until

    async def record(self, deployment: DeploymentVersion) -> None:
        """Record a deployment; a later record replaces its facts, not its health."""
        await self._reach()
        key = deployment.environment, deployment.deployment_id
        known = self._deployments.get(key, deployment)
        if known.timestamp > deployment.timestamp:
            return
        variables = sorted(deployment.environment_variables, key=lambda v: v.name)
        self._deployments[key] = replace(
            deployment,
            environment_variables=tuple(variables),
            health_check_status=known.health_check_status,
            backward_compatible=known.backward_compatible
            if deployment.backward_compatible is None
            else deployment.backward_compatible,
        )

    async def set_health(
        self,
        deployment_id: str,
        environment: str,
        status: HealthStatus,
        at: datetime,
    ) -> None:
        """Record a health status; raises `UnknownDeployment` if not recorded."""
        known = await self.find(deployment_id, environment)
        if known is None:
            raise UnknownDeployment(deployment_id, where=f"in {environment}")
        key = environment, deployment_id
        history = self._health.setdefault(key, [])
        history.append(HealthRecord(status=status, at=at))
        history.sort(key=lambda record: record.at)
        latest = history[-1].status
        self._deployments[key] = replace(known, health_check_status=latest)

    async def find(
        self, deployment_id: str, environment: str
    ) -> DeploymentVersion | None:
        """The record of one deployment."""
        await self._reach()
        return self._deployments.get((environment, deployment_id))

    async def history(
        self, environment: str, *, limit: int, part: str | None = None
    ) -> tuple[DeploymentVersion, ...]:
        """The latest deployments, of one part or of all, newest first."""
        await self._reach()
        known = [
            d
            for d in self._deployments.values()
            if d.environment == environment and part in (None, d.part)
        ]
        known.sort(key=lambda deployment: deployment.timestamp)
        return tuple(known[::-1][:limit])

    async def health_history(
        self, deployment_id: str, environment: str
    ) -> tuple[HealthRecord, ...]:
        """Every health status recorded of a deployment, newest first."""
        await self._reach()
        return tuple(reversed(self._health.get((environment, deployment_id), ())))

    async def record_schemas(
        self, records: Sequence[SchemaRecord], *, renew: bool = False
    ) -> tuple[str, ...]:
        """Record versions of the schema; those whose script is another one."""
        await self._reach()
        others = []
        for record in records:
            key = record.environment, record.version
            known = self._schemas.get(key, record)
            first, second = known.script_sha256, record.script_sha256
            script = (second or first) if renew else (first or second)
            if second not in (None, script):
                others.append(record.version)
            self._schemas[key] = replace(
                record,
                script_sha256=script,
                fingerprint=record.fingerprint or known.fingerprint,
            )
        return tuple(others)

    async def schemas(self, environment: str) -> Mapping[str, SchemaRecord]:
        """What is recorded of the schema, by version."""
        await self._reach()
        return {
            record.version: record
            for record in self._schemas.values()
            if record.environment == environment
        }

    async def open_incident(self, incident: Incident, *, lease_seconds: float) -> None:
        """Claim the candidate for this incident; see the port."""
        await self._reach()
        other = self._other(incident)
        if other is not None and self._is_held(other):
            raise already_rolling_back(incident, other.id)
        if other is not None:
            self._incidents[other.id] = taken_over(other, incident)
        self._leases[incident.id] = lease_seconds, 0.0
        self._keep(incident)

    async def append(self, incident_id: str, entry: JournalEntry) -> None:
        """Write one journal entry; it may come before its incident."""
        await self._reach()
        self._journal[incident_id] = (*self._journal.get(incident_id, ()), entry)
        self._renew(incident_id)

    async def save_incident(self, incident: Incident) -> None:
        """Save an incident as it is now; one that was closed stays closed."""
        await self._reach()
        kept = as_saved(self._incidents.get(incident.id), incident)
        other = self._other(incident)
        if kept.outcome is None and other:
            raise already_rolling_back(incident, other.id)
        self._keep(kept)

    async def incident(self, incident_id: str) -> Incident | None:
        """One incident, with its journal."""
        await self._reach()
        found = self._incidents.get(incident_id)
        return self._with_journal(found) if found else None

    async def incidents(self, environment: str, *, limit: int) -> tuple[Incident, ...]:
        """The latest incidents with their journals, newest first."""
        await self._reach()
        known = [i for i in self._incidents.values() if i.environment == environment]
        known.sort(key=lambda incident: (incident.opened_at, incident.id), reverse=True)
        return tuple(self._with_journal(found) for found in known[:limit])

    async def _reach(self) -> None:
        await checkpoint()
        if self.down:
            raise LedgerUnreachable(self.down)

    def _other(self, incident: Incident) -> Incident | None:
        """The open incident of the same candidate, other than this one."""
        key = incident.environment, incident.from_deployment
        for known in self._incidents.values():
            same = (known.environment, known.from_deployment) == key
            if same and known.outcome is None and known.id != incident.id:
                return known
        return None

    def _is_held(self, incident: Incident) -> bool:
        _, until = self._leases.get(incident.id, (0.0, 0.0))
        return until > anyio.current_time()

    def _renew(self, incident_id: str) -> None:
        seconds, _ = self._leases.get(incident_id, (0.0, 0.0))
        self._leases[incident_id] = seconds, anyio.current_time() + seconds

    def _keep(self, incident: Incident) -> None:
        self._renew(incident.id)
        stored = self._journal.get(incident.id, ())
        self._journal[incident.id] = merged(stored, incident)
        self._incidents[incident.id] = incident

    def _with_journal(self, incident: Incident) -> Incident:
        journal = sorted(self._journal.get(incident.id, ()), key=lambda e: e.at)
        return replace(incident, journal=tuple(journal))
