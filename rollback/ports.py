"""What the engine asks of the outside. Adapters answer; nothing here names a vendor.

Every port has one contract suite (`tests/contract`) that runs on the in-memory adapter
and on the real one.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from .model import (
    AliasRequest,
    Answer,
    Counts,
    CriticalError,
    DeploymentVersion,
    HealthRecord,
    HealthStatus,
    Incident,
    JournalEntry,
    Message,
    PlatformDeployment,
    Retention,
    RollingRelease,
    Step,
    Variable,
)
from .schema import (
    Backup,
    Fingerprint,
    Receipt,
    SchemaPlan,
    SchemaRecord,
    TableRows,
)

Notice = Callable[[str], None]
"""Called with what is being done, for people who wait."""


class Clock(Protocol):
    """Wall time. Sleeping and measuring durations is anyio's business."""

    def now(self) -> datetime:
        """The time in UTC."""


class Tokens(Protocol):
    """Where randomness comes from."""

    def new(self) -> str:
        """A few letters and digits that nobody else has got."""


class Ledger(Protocol):
    """Where deployments and incidents are recorded.

    Every method raises `LedgerUnreachable` when the ledger does not answer.
    """

    async def record(self, deployment: DeploymentVersion) -> None:
        """Record a deployment; again, its facts are replaced and its health kept."""

    async def set_health(
        self, deployment_id: str, environment: str, status: HealthStatus, at: datetime
    ) -> None:
        """Record a health status; raises `UnknownDeployment` if not recorded.

        One that is delivered late goes into the history, and leaves a later one alone.
        """

    async def find(
        self, deployment_id: str, environment: str
    ) -> DeploymentVersion | None:
        """The record of one deployment."""

    async def history(
        self, environment: str, *, limit: int, part: str | None = None
    ) -> tuple[DeploymentVersion, ...]:
        """The latest deployments, of one part or of all, newest first."""

    async def health_history(
        self, deployment_id: str, environment: str
    ) -> tuple[HealthRecord, ...]:
        """Every health status recorded of a deployment, newest first."""

    async def record_schemas(
        self, records: Sequence[SchemaRecord], *, renew: bool = False
    ) -> tuple[str, ...]:
        """Record versions of the schema; the versions whose script is another one.

        A script's hash that is recorded stays, unless it is to be renewed: it is the
        one that was tested. A fingerprint is replaced where there is one.
        """

    async def schemas(self, environment: str) -> Mapping[str, SchemaRecord]:
        """What is recorded, by version."""

    async def open_incident(self, incident: Incident, *, lease_seconds: float) -> None:
        """Claim the candidate for this incident.

        Raises `AlreadyRollingBack`, naming the incident, while another one of the same
        candidate and environment is open and its lease has not run out.
        """

    async def append(self, incident_id: str, entry: JournalEntry) -> None:
        """Write one journal entry; it is durable when this returns."""

    async def save_incident(self, incident: Incident) -> None:
        """Save an incident as it is now; with an outcome it is closed."""

    async def incident(self, incident_id: str) -> Incident | None:
        """One incident, with its journal."""

    async def incidents(self, environment: str, *, limit: int) -> tuple[Incident, ...]:
        """The latest incidents, newest first."""


class Database(Protocol):
    """The application's database: its backups, and the versions of its schema.

    Every method raises `DatabaseUnreachable` when it does not answer. `notice` is told
    what is being done, for people who wait.
    """

    async def version(self) -> str | None:
        """The schema's version: the last migration that was applied; None before."""

    async def versions(self) -> tuple[str, ...]:
        """Every version that is applied, in the order of application."""

    async def back_up(self, label: str, *, notice: Notice) -> Backup:
        """Take a backup and verify it; raises `BackupFailed`.

        What it holds is what was there at one moment, soon after the call.
        """

    async def plan(self, to: str, *, accept: frozenset[str]) -> SchemaPlan | None:
        """How to go back to a version; None where that is the schema's already.

        `accept` is what a person has consented to (`unrecorded`, `stall`,
        `no-transaction`). Raises a `SchemaRefused` when it cannot be done
        safely, `UnknownVersion` among them; changes nothing.
        """

    async def roll_back(
        self, plan: SchemaPlan, backup: Backup, *, incident: str, notice: Notice
    ) -> Receipt:
        """Do what was planned, whole or not at all, once the backup is verified.

        Raises `LockNotTaken`, `NotAsPlanned`, `SchemaBusy`: then nothing was changed.
        """

    async def rehearse(
        self, plan: SchemaPlan, backup: Backup, *, notice: Notice
    ) -> None:
        """Do what was planned to the restored backup, elsewhere.

        Raises `NotAsPlanned` where that does not come to what was planned.
        """

    async def fingerprint(self) -> Fingerprint:
        """The schema as it is now."""


class Restores(Protocol):
    """What puts a backup's rows back into the application's database.

    Every method raises `DatabaseUnreachable` when that does not answer, and
    `BackupFailed` when what is needed of the backup is not there.
    """

    async def backups(self) -> tuple[Backup, ...]:
        """The verified backups, newest first."""

    async def check(self, backup: Backup) -> None:
        """Its hashes, and that it can be read; raises `BackupFailed`."""

    async def rows(self, backup: Backup) -> tuple[TableRows, ...]:
        """How many rows each table of the backup's schemas has now."""

    async def obstacle(
        self, backup: Backup, *, swap: bool, another: bool
    ) -> str | None:
        """What keeps it from being restored in this way; None where nothing does.

        `another` tells that another backup is taken before, which may push this out.
        """

    async def restored(self, token: str) -> datetime | None:
        """When the recovery of this name has restored; None if it has not."""

    async def restore(
        self, backup: Backup, *, token: str, swap: bool, notice: Notice
    ) -> str:
        """Restore it, whole or not at all, once for each token; what was done.

        What was there before is kept, and named: beside it in the same database, or
        with `swap` as the database that it was, under another name.
        """


class Platform(Protocol):
    """Who serves the deployments of one project and owns its production hosts.

    A second platform is one file in `adapters/`, which answers these methods, a line in
    `wiring.py`, and `tests/contract/test_platform.py` run on it. It must provide:

    - immutable deployments that stay available, each at an address of its own, and
      production hosts that are pointed at one of them, by a job or at once;
    - a list of the deployments that it would roll back to, and a request that is
      accepted or refused before anything moves;
    - what it was asked last, by whomever, with a time of its own: only so can a lost
      reply be looked into. Where there is no such record, one that it keeps itself.

    What a platform lacks has a plain answer: no `rolling_release` (None), no
    auto-assignment (`auto_assigns` None, `set_auto_assign` does nothing), no hosts
    besides the production hosts (`other_hosts` empty), no dry run (`moves` gives every
    production host that serves something else).

    Every method raises `PlatformUnreachable` when no usable answer comes and
    `PlatformDenied` when the request is refused for its credentials or plan. Reads are
    retried where that is safe; what changes something is sent once, and raises
    `PlatformBusy` when it was refused for now, and certainly not taken.
    """

    async def deployment(self, id_or_host: str) -> PlatformDeployment | None:
        """One deployment, by id or by a host that it serves; None if unknown.

        A deployment of another project is unknown.
        """

    async def production_hosts(self) -> tuple[str, ...]:
        """The hosts on which production is served."""

    async def other_hosts(self, deployment_id: str) -> tuple[str, ...]:
        """Hosts pointed by hand at this deployment: no rollback moves them by itself.

        Neither production hosts nor the addresses that the platform gives by itself.
        """

    async def site_url(self) -> str:
        """The address of production, with its scheme."""

    async def live(self) -> Mapping[str, str]:
        """Which deployment each production host serves now; asked host by host."""

    async def dark_hosts(self) -> tuple[str, ...]:
        """The production hosts that serve no deployment, of whichever project."""

    async def rolling_release(self) -> RollingRelease | None:
        """The release that is being rolled out in stages now, if there is one."""

    async def candidates(self) -> tuple[PlatformDeployment, ...]:
        """The latest builds that it would roll production back to, newest first."""

    async def moves(self, deployment_id: str) -> tuple[str, ...]:
        """Dry run: the hosts that a rollback to this deployment would move."""

    async def last_request(self) -> AliasRequest | None:
        """The last request to move the aliases, whoever made it."""

    async def auto_assigns(self) -> bool | None:
        """Whether a new production build goes live by itself; None if there is no such.

        A rollback switches it off, and a promotion switches it on again.
        """

    async def set_auto_assign(self, *, on: bool) -> None:
        """Let new production builds go live by themselves, or not."""

    async def roll_back(self, deployment_id: str, *, description: str) -> None:
        """Ask once to move production to this deployment; it ends a rolling release.

        Returns when the platform has accepted it or says that it is so already. Raises
        `PlatformUnreachable` when the answer was lost: the request may have been taken.
        """

    async def promote(self, deployment_id: str) -> bool:
        """Ask once to move production forward to this deployment: undo a rollback.

        As `roll_back`; False when it is queued behind a rolling release instead.
        """

    async def assign(self, deployment_id: str, host: str) -> None:
        """Point one host at a deployment; already so is fine."""

    async def redeploy(self, deployment_id: str, *, token: str) -> None:
        """Ask once for the same sources to be built again, with the settings of now.

        The new deployment is marked with the token. It goes live by itself only where
        new builds do so.
        """

    async def redeployed(self, token: str) -> PlatformDeployment | None:
        """The newest deployment that was marked with this token; maybe not built yet.

        Raises `NotATarget` when it could not be built.
        """


class Project(Protocol):
    """What the platform says of a project beside its deployments.

    Raises `PlatformUnreachable` and `PlatformDenied` as `Platform` does.
    """

    async def variables(self) -> tuple[Variable, ...]:
        """Production's environment variables, by name; values where they are readable.

        They are those of a build that is made now: a build keeps the ones it was made
        with, so a deployment is recorded right after it has gone out.
        """

    async def retention(self) -> Retention:
        """How long deployments are kept."""

    async def keep_longer(self, *, days: int) -> None:
        """Keep production deployments for so many days."""


class FlagStore(Protocol):
    """Where the app's feature flags are.

    Every method raises `FlagsUnreachable` when the store does not answer, and
    `UnknownFlag` for one that it does not hold; none makes a new one. `is_back` and
    `restore` raise `NothingSaved` when there is no state to go back to, and
    `FlagChanged` when somebody has set another one meanwhile. All may be repeated.
    """

    async def is_off(self, name: str) -> bool:
        """Whether the flag is off already."""

    async def is_back(self, name: str) -> bool:
        """Whether the flag has been put back already."""

    async def disable(self, name: str, *, at: datetime) -> None:
        """Save the flag's state and switch it off, in one step.

        Of a flag that is off already, what was saved stays.
        """

    async def restore(self, name: str, *, at: datetime) -> None:
        """Put back what was saved, to the byte."""


class Cache(Protocol):
    """What keeps production's answers near its visitors, by tags."""

    async def purge(self, tags: Sequence[str]) -> None:
        """Make it forget what it keeps under any of these tags, however many.

        Asked again where that may help. Raises `PlatformUnreachable` when it was not
        taken for all that, and `PlatformDenied` when it is refused.
        """


class Keys(Protocol):
    """A store in which caches are keys beside what is none: flags, sessions, queues.

    Only what is under a named prefix is touched; a prefix is taken to the letter.
    Every method raises `KeysUnreachable` when the store does not answer.
    """

    async def count(self, prefix: str) -> int:
        """How many keys begin with it now."""

    async def remove(self, prefix: str, *, notice: Notice) -> int:
        """Remove every key that begins with it and was there at the start; how many.

        What is written meanwhile may stay. Done again it does no harm. `notice` is told
        how far it has come where that takes longer.
        """


class MetricSource(Protocol):
    """Counts per second of one deployment.

    A source that cannot be read raises `SourceDown`. A second without traffic is
    simply absent: the caller tells silence from health.
    """

    @property
    def name(self) -> str:
        """How it is called in reports."""

    @property
    def lag_seconds(self) -> int:
        """How long after its end a second may still change."""

    def watching(
        self, deployment: PlatformDeployment
    ) -> AbstractAsyncContextManager[None]:
        """Measure actively while the context is open; a passive source does nothing."""

    async def counts(
        self, deployment: PlatformDeployment, *, since: int, until: int
    ) -> tuple[Counts, ...]:
        """The counts of the closed seconds in [since, until), in order."""


class ErrorSource(Protocol):
    """Critical errors, counted only from authenticated events of one release."""

    @property
    def name(self) -> str:
        """How it is called in reports."""

    async def critical_errors(
        self,
        deployment: PlatformDeployment,
        *,
        codes: Sequence[str],
        environment: str,
        since: datetime,
    ) -> tuple[CriticalError, ...]:
        """The codes seen since then; raises `SourceDown` when it cannot be asked."""


class Site(Protocol):
    """The application from outside, as users reach it."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Mapping[str, Any] | None = None,
        timeout_seconds: float,
        protected: bool = False,
    ) -> Answer:
        """Send one request; never raises for what the site does.

        `protected` sends the secret that opens a deployment's own address.
        """


class Channel(Protocol):
    """Somebody who is told."""

    @property
    def name(self) -> str:
        """How it is called in reports."""

    async def send(self, message: Message) -> None:
        """Deliver one message; raises `ChannelDown` when it was not taken."""


class Target(Protocol):
    """Something that can be rolled back: the same verbs each."""

    @property
    def name(self) -> str:
        """How plans call it."""

    async def check(self, step: Step) -> bool:
        """Whether the step's change is in place already. Reads only."""

    async def apply(self, step: Step, *, reason: str) -> str:
        """Make the change and return what was done; raises `StepFailed`.

        Returns when the outside has accepted it, which need not mean that it is done.
        """

    async def verify(self, step: Step) -> str:
        """Wait until the change is in place and say so; raises `StepFailed`."""
