"""The ledger in PostgreSQL, in a schema of its own named `rollback`."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString, TypeVar

from psycopg import Error
from psycopg.types.json import Jsonb

from rollback.errors import LedgerUnreachable, UnknownDeployment
from rollback.model import (
    DeploymentVersion,
    EnvironmentVariable,
    HealthRecord,
    HealthStatus,
    Incident,
    JournalEntry,
)
from rollback.schema import Fingerprint, SchemaRecord
from rollback.transactions import Connection, Database

from . import queries
from .records import (
    already_rolling_back,
    as_saved,
    from_document,
    missing,
    taken_over,
    to_document,
)
from .tables import create

__all__ = ["PostgresLedger"]

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]


class PostgresLedger:
    """Deployments and incidents in PostgreSQL (port `Ledger`).

    The schema is created when it is missing; every call raises `LedgerOutdated` where
    it cannot be. A journal entry and a save are signs of life: they renew the
    incident's lease. `statement_timeout_seconds` holds on the server for each
    statement.
    """

    def __init__(self, url: str, *, statement_timeout_seconds: float = 5.0) -> None:
        self._database = Database(
            url, statement_timeout_seconds=statement_timeout_seconds
        )
        self._created = False

    async def record(self, deployment: DeploymentVersion) -> None:
        """Record a deployment; a later record replaces its facts, not its health."""
        await self._execute(queries.RECORD, _to_row(deployment))

    async def set_health(
        self, deployment_id: str, environment: str, status: HealthStatus, at: datetime
    ) -> None:
        """Record a health status; raises `UnknownDeployment` if not recorded."""
        facts = {
            "deployment": deployment_id,
            "environment": environment,
            "status": status.value,
            "at": at,
        }
        if not await self._execute(queries.SET_HEALTH, facts):
            raise UnknownDeployment(deployment_id, where=f"in {environment}")

    async def find(
        self, deployment_id: str, environment: str
    ) -> DeploymentVersion | None:
        """The record of one deployment."""
        rows = await self._rows(queries.FIND, [environment, deployment_id])
        return _from_row(rows[0]) if rows else None

    async def history(
        self, environment: str, *, limit: int, part: str | None = None
    ) -> tuple[DeploymentVersion, ...]:
        """The latest deployments, of one part or of all, newest first."""
        rows = await self._rows(queries.HISTORY, [environment, part, part, limit])
        return tuple(_from_row(row) for row in rows)

    async def health_history(
        self, deployment_id: str, environment: str
    ) -> tuple[HealthRecord, ...]:
        """Every health status recorded of a deployment, newest first."""
        rows = await self._rows(queries.HEALTH_HISTORY, [environment, deployment_id])
        return tuple(
            HealthRecord(
                status=HealthStatus(row["status"]), at=row["at"].astimezone(UTC)
            )
            for row in rows
        )

    async def record_schemas(
        self, records: Sequence[SchemaRecord], *, renew: bool = False
    ) -> tuple[str, ...]:
        """Record versions of the schema; those whose script is another one."""

        async def work(connection: Connection) -> tuple[str, ...]:
            others = []
            for record in records:
                facts = _schema_facts(record) | {"renew": renew}
                done = await connection.execute(queries.RECORD_SCHEMA, facts)
                row = await done.fetchone()
                if row and row["other"]:
                    others.append(record.version)
            return tuple(others)

        return await self._transaction(work)

    async def schemas(self, environment: str) -> Mapping[str, SchemaRecord]:
        """What is recorded of the schema, by version."""
        rows = await self._rows(queries.SCHEMAS, [environment])
        return {row["version"]: _schema_record(row) for row in rows}

    async def open_incident(self, incident: Incident, *, lease_seconds: float) -> None:
        """Claim the candidate for this incident; see the port."""

        async def work(connection: Connection) -> None:
            await _lock(connection, incident)
            await _end_other(connection, incident)
            await _save(connection, incident, lease_seconds=lease_seconds)

        await self._transaction(work)

    async def append(self, incident_id: str, entry: JournalEntry) -> None:
        """Write one journal entry; it may come before its incident."""
        await self._execute(queries.APPEND, _entry(incident_id, entry))

    async def save_incident(self, incident: Incident) -> None:
        """Save an incident as it is now; one that was closed stays closed."""

        async def work(connection: Connection) -> None:
            await _lock(connection, incident)
            stored = await _incidents(connection, queries.INCIDENT, [incident.id])
            kept = as_saved(stored[0] if stored else None, incident)
            other = await _other(connection, incident)
            if kept.outcome is None and other:
                raise already_rolling_back(incident, other["id"])
            await _save(connection, kept, lease_seconds=None)

        await self._transaction(work)

    async def incident(self, incident_id: str) -> Incident | None:
        """One incident, with its journal."""
        found = await self._transaction(
            lambda connection: _incidents(connection, queries.INCIDENT, [incident_id])
        )
        return found[0] if found else None

    async def incidents(self, environment: str, *, limit: int) -> tuple[Incident, ...]:
        """The latest incidents with their journals, newest first."""
        return await self._transaction(
            lambda connection: _incidents(
                connection, queries.INCIDENTS, [environment, limit]
            )
        )

    async def writable(self) -> str:
        """Its name, when it can be written; raises `LedgerUnreachable` otherwise."""
        (row,) = await self._rows(queries.WRITABLE, [])
        if not row["writable"]:
            raise LedgerUnreachable(
                f"The ledger at {self._database.name} can be read, and not written.",
                mend="Give its user INSERT and UPDATE in the schema rollback, "
                "and a primary, not a replica.",
            )
        return self._database.name

    async def _execute(self, query: LiteralString, values: Any) -> int:
        """How many rows it changed."""

        async def work(connection: Connection) -> int:
            return (await connection.execute(query, values)).rowcount

        return await self._transaction(work)

    async def _rows(self, query: LiteralString, values: Any) -> list[dict[str, Any]]:
        async def work(connection: Connection) -> list[dict[str, Any]]:
            return await (await connection.execute(query, values)).fetchall()

        return await self._transaction(work)

    async def _transaction(self, work: Work[T]) -> T:
        """The one place where the database's errors become the ledger's."""

        async def with_schema(connection: Connection) -> T:
            if not self._created:
                await create(connection)
            return await work(connection)

        try:
            result = await self._database.transaction(with_schema)
        except (Error, OSError, TimeoutError) as error:
            raise LedgerUnreachable(
                f"The ledger at {self._database.name} cannot be used: "
                f"{self._database.explain(error)}."
            ) from error
        self._created = True
        return result


async def _lock(connection: Connection, incident: Incident) -> None:
    """Let one session at a time decide about this candidate."""
    await connection.execute(
        queries.LOCK, [f"rollback/{incident.environment}/{incident.from_deployment}"]
    )


async def _other(connection: Connection, incident: Incident) -> dict[str, Any] | None:
    key = [incident.environment, incident.from_deployment, incident.id]
    return await (await connection.execute(queries.OTHER, key)).fetchone()


async def _end_other(connection: Connection, incident: Incident) -> None:
    """Close the open incident whose lease ran out, or refuse."""
    other = await _other(connection, incident)
    if other is None:
        return
    if other["held"]:
        raise already_rolling_back(incident, other["id"])
    ended = taken_over(from_document(other["document"]), incident)
    await _save(connection, ended, lease_seconds=None)


async def _save(
    connection: Connection, incident: Incident, *, lease_seconds: float | None
) -> None:
    """Write the incident and what the journal does not have yet."""
    facts = {
        "id": incident.id,
        "environment": incident.environment,
        "candidate": incident.from_deployment,
        "opened_at": incident.opened_at,
        "outcome": incident.outcome,
        "document": to_document(incident),
        "lease": lease_seconds,
    }
    await connection.execute(queries.SAVE, facts)
    stored = await _journals(connection, [incident.id])
    for entry in missing(stored.get(incident.id, ()), incident):
        await connection.execute(queries.APPEND, _entry(incident.id, entry))


async def _incidents(
    connection: Connection, query: LiteralString, values: list[Any]
) -> tuple[Incident, ...]:
    rows = await (await connection.execute(query, values)).fetchall()
    journals = await _journals(connection, [row["id"] for row in rows])
    return tuple(
        from_document(row["document"], journals.get(row["id"], ())) for row in rows
    )


async def _journals(
    connection: Connection, incidents: list[str]
) -> dict[str, list[JournalEntry]]:
    """The journals of these incidents, in order of time."""
    journals: dict[str, list[JournalEntry]] = {}
    for row in await (
        await connection.execute(queries.JOURNAL, [incidents])
    ).fetchall():
        entry = JournalEntry(
            at=row["at"].astimezone(UTC), event=row["event"], detail=row["detail"]
        )
        journals.setdefault(row["incident_id"], []).append(entry)
    return journals


def _entry(incident_id: str, entry: JournalEntry) -> dict[str, Any]:
    """PostgreSQL holds no NUL in text; a vendor's answer quoted in a detail may."""
    return {
        "incident": incident_id,
        "at": entry.at,
        "event": entry.event,
        "detail": entry.detail.replace("\0", ""),
    }


def _to_row(deployment: DeploymentVersion) -> list[Any]:
    return [
        deployment.environment,
        deployment.deployment_id,
        deployment.id,
        deployment.timestamp,
        deployment.git_sha,
        deployment.db_migration_version,
        Jsonb({v.name: v.fingerprint for v in deployment.environment_variables}),
        deployment.health_check_status.value,
        deployment.part,
        deployment.backward_compatible,
    ]


def _schema_facts(record: SchemaRecord) -> dict[str, Any]:
    lines = record.fingerprint and Jsonb(list(record.fingerprint.lines))
    return {
        "environment": record.environment,
        "version": record.version,
        "at": record.recorded_at,
        "script": record.script_sha256,
        "fingerprint": lines,
    }


def _schema_record(row: dict[str, Any]) -> SchemaRecord:
    lines = row["fingerprint"]
    return SchemaRecord(
        environment=row["environment"],
        version=row["version"],
        recorded_at=row["recorded_at"].astimezone(UTC),
        script_sha256=row["script_sha256"],
        fingerprint=None if lines is None else Fingerprint(lines=tuple(lines)),
    )


def _from_row(row: dict[str, Any]) -> DeploymentVersion:
    variables: Iterable[tuple[str, str | None]] = row["environment_variables"].items()
    return DeploymentVersion(
        id=row["id"],
        deployment_id=row["vercel_deployment_id"],
        environment=row["environment"],
        timestamp=row["timestamp"].astimezone(UTC),
        git_sha=row["git_sha"],
        db_migration_version=row["db_migration_version"],
        environment_variables=tuple(
            EnvironmentVariable(name=name, fingerprint=fingerprint)
            for name, fingerprint in sorted(variables)
        ),
        health_check_status=HealthStatus(row["health_check_status"]),
        part=row["part"],
        backward_compatible=row["backward_compatible"],
    )
