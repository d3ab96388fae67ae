"""The frozen values that the stages hand to one another. All hold tuples."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from .schema import Receipt, SchemaPlan


class HealthStatus(StrEnum):
    """What is known about a deployment's health."""

    PASSING = "passing"
    FAILING = "failing"
    UNKNOWN = "unknown"


class Signal(StrEnum):
    """One yes/no fact about a request or a probe, as a proportion of bad ones."""

    ERROR_RATE = "error_rate"
    RESPONSE_TIME = "response_time"
    AVAILABILITY = "availability"


class Judgement(StrEnum):
    """What the decision matrix can say."""

    HEALTHY = "healthy"
    ROLL_BACK = "roll_back"
    INCONCLUSIVE = "inconclusive"
    WATCHING = "watching"


class Outcome(StrEnum):
    """How a rollback ended."""

    RESTORED = "restored"
    ESCALATED = "escalated"
    NOTHING_TO_DO = "nothing_to_do"
    REFUSED = "refused"


class StepStatus(StrEnum):
    """How a step ended."""

    DONE = "done"
    ALREADY = "already"
    SKIPPED = "skipped"
    FAILED = "failed"


class PhaseName(StrEnum):
    """The parts of a rollback that have clocks (DESIGN.md, section 2)."""

    IDENTIFY = "identify"
    INITIATE = "initiate"
    CARRY_OUT = "carry_out"
    VERIFY = "verify"
    COMMUNICATE = "communicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentVariable:
    """An environment variable by name; never by value.

    `fingerprint` is keyed, or None where the value cannot be read.
    """

    name: str
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """An environment variable as it is read, on its way to its fingerprint.

    `value` is None where it cannot be read, and never shown.
    """

    name: str
    value: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRecord:
    """A health status of a deployment, and when it was recorded."""

    status: HealthStatus
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long the platform keeps production deployments.

    After `days` they are deleted (None: never), except the newest `kept`.
    """

    days: int | None = None
    kept: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentVersion:
    """One recorded deployment: the spec's `DeploymentVersion`.

    `part` is what was deployed: the application, or the API. `backward_compatible`
    tells whether the release before runs on the schema of this one; None: nobody said.
    """

    id: str
    deployment_id: str
    environment: str
    timestamp: datetime
    git_sha: str
    db_migration_version: str
    environment_variables: tuple[EnvironmentVariable, ...] = ()
    health_check_status: HealthStatus = HealthStatus.UNKNOWN
    part: str = "application"
    backward_compatible: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformDeployment:
    """A deployment as the platform knows it.

    `url` is the deployment's own address with its scheme; `ready` tells that it is
    built and not deleted; `candidate` that the platform would roll back to it; `served`
    that it has had production traffic.
    """

    id: str
    url: str
    git_sha: str
    created_at: datetime
    ready: bool
    candidate: bool
    served: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasRequest:
    """The platform's last request to move the production aliases."""

    kind: str
    from_deployment: str | None
    to_deployment: str
    status: str
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingRelease:
    """A release that is being rolled out in stages: `canary` serves a part of it all.

    The rest is served by `base`, until the release is completed or aborted.
    """

    base: str
    canary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What happened in one closed second; counts of one second add up.

    `failed` and `slow` are out of `requests`, `unavailable` is out of `probes`.
    """

    second: int
    requests: int = 0
    failed: int = 0
    slow: int = 0
    probes: int = 0
    unavailable: int = 0

    @property
    def possible(self) -> bool:
        """Whether no more are bad than there are, and none fewer than none."""
        return (
            0 <= self.failed <= self.requests
            and 0 <= self.slow <= self.requests
            and 0 <= self.unavailable <= self.probes
        )

    def of(self, signal: Signal) -> tuple[int, int]:
        """(bad, all) for one signal."""
        match signal:
            case Signal.ERROR_RATE:
                return self.failed, self.requests
            case Signal.RESPONSE_TIME:
                return self.slow, self.requests
            case Signal.AVAILABILITY:
                return self.unavailable, self.probes

    def __add__(self, other: "Counts") -> "Counts":
        """Merge two sources' counts of the same second."""
        return Counts(
            second=max(self.second, other.second),
            requests=self.requests + other.requests,
            failed=self.failed + other.failed,
            slow=self.slow + other.slow,
            probes=self.probes + other.probes,
            unavailable=self.unavailable + other.unavailable,
        )

    def __sub__(self, other: "Counts") -> "Counts":
        """Take counts out that were added before."""
        return Counts(
            second=self.second,
            requests=self.requests - other.requests,
            failed=self.failed - other.failed,
            slow=self.slow - other.slow,
            probes=self.probes - other.probes,
            unavailable=self.unavailable - other.unavailable,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalError:
    """A critical error code, how often and when it was first seen on a release."""

    code: str
    count: int
    first_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """What one source of measurements says of itself.

    `problem` is a sentence when it is down or silent; None when it speaks.
    """

    name: str
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one source counted; `until` which second, exclusive, it has been read."""

    source: str
    counts: tuple[Counts, ...] = ()
    until: int = 0


def merge(parts: Sequence[Sequence[Counts]]) -> tuple[Counts, ...]:
    """Counts of several sources, added up second by second, in order."""
    seconds: dict[int, Counts] = {}
    for part in parts:
        for counts in part:
            known = seconds.get(counts.second)
            seconds[counts.second] = known + counts if known else counts
    return tuple(seconds[second] for second in sorted(seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen of a deployment: merged counts by second, critical errors, sources.

    `since` and `until` bound the observation in whole unix seconds, `until` exclusive;
    seconds without any count are absent from `counts`. `parts` are the same counts by
    source; without them all are of one. `baseline` is what each of the same sources
    says of `stable`, the stable deployment, where there is one.
    """

    deployment: str
    since: int
    until: int
    counts: tuple[Counts, ...] = ()
    parts: tuple[Part, ...] = ()
    critical_errors: tuple[CriticalError, ...] = ()
    sources: tuple[SourceState, ...] = ()
    stable: str | None = None
    baseline: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalState:
    """One signal of a verdict: counts, proportion of bad ones, threshold, evidence.

    `evidence` that the proportion is over the threshold; `confidence` that it is not.
    """

    signal: Signal
    requests: int
    bad: int
    threshold: float
    evidence: float
    confidence: float = 0.0

    @property
    def proportion(self) -> float:
        """The share of bad ones, 0 when there are none at all."""
        return self.bad / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSignals:
    """The signals as one source alone shows them."""

    source: str
    signals: tuple[SignalState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the decision matrix says, with the row that said it.

    `bad_since` is the first bad second that users could see (for ROLL_BACK). `proof` is
    the evidence at which a signal has proved bad. `parts` are the signals by source,
    where there are several. `baseline` are the signals of the
    deployment `stable` in the same window, and `shared` those on which it is bad too,
    where these are all that is bad: a rollback to it cannot help. `rows` is what every
    row of the matrix says, None where it does not match.
    """

    deployment: str
    judgement: Judgement
    row: str
    reason: str
    signals: tuple[SignalState, ...]
    critical_errors: tuple[CriticalError, ...] = ()
    signal: Signal | None = None
    second: int = 0
    bad_since: int | None = None
    sources: tuple[SourceState, ...] = ()
    proof: float = 0.0
    parts: tuple[SourceSignals, ...] = ()
    stable: str | None = None
    baseline: tuple[SignalState, ...] = ()
    shared: tuple[Signal, ...] = ()
    rows: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One look at `/api/health`: each component, or the reason why none answered."""

    at: datetime
    components: tuple[tuple[str, str], ...] = ()
    problem: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether the health check answered and every component is healthy."""
        return self.problem is None and not self.unhealthy and bool(self.components)

    @property
    def unhealthy(self) -> frozenset[str]:
        """The components that say that they are not healthy."""
        return frozenset(n for n, state in self.components if state != "healthy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request from outside got: `status` is None when nothing came back.

    `deployment` is the one that answered, where it says so; `seconds` is the time from
    connecting to the last byte.
    """

    status: int | None
    seconds: float
    body: bytes = b""
    deployment: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowResult:
    """One critical flow tried from outside."""

    name: str
    passed: bool
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One planned change: which target does what, from which deployment to which.

    `forward` undoes a rollback. `hosts` are those that were pointed by hand, and have
    to be moved by hand. `auto_assign` tells whether new builds of the part go live by
    themselves before it; of a forward move, what it has to leave behind.
    `site` is where visitors reach what it moves, and `serves` the deployment that is to
    answer there, if that is not the one it goes to. An `independent` step is done
    whatever became of those before.
    """

    target: str
    name: str
    from_deployment: str
    to_deployment: str
    forward: bool = False
    hosts: tuple[str, ...] = ()
    auto_assign: bool | None = None
    site: str = ""
    serves: str = ""
    independent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A part that goes from one deployment to another, together with a first one."""

    part: str
    from_deployment: str
    to_deployment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Ordered steps for one rollback. Pure data.

    From, to and `part` are those of the first part; `also` are the others.

    `moves` are the hosts that the platform says it would move by itself, `auto_assign`
    whether new builds go live by themselves now; None where that is not known. `schema`
    is what the database's step does, where there is one. `notes` are for the record.
    """

    environment: str
    from_deployment: str
    to_deployment: str
    reason: str
    steps: tuple[Step, ...]
    moves: tuple[str, ...] = ()
    override: bool = False
    auto_assign: bool | None = None
    part: str = "application"
    also: tuple[Moved, ...] = ()
    schema: SchemaPlan | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupNote:
    """The backup of an incident: where it is, or the problem that kept it."""

    path: str | None = None
    sha256: str | None = None
    verified: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What happened to one step; records from before `undo` name no target.

    `auto_assign` tells whether new builds of its part go live by themselves after it,
    `auto_assign_before` whether they did before; None where it is not known.
    """

    name: str
    status: StepStatus
    started_at: datetime
    seconds: float
    detail: str = ""
    target: str = ""
    from_deployment: str = ""
    to_deployment: str = ""
    hosts: tuple[str, ...] = ()
    auto_assign_before: bool | None = None
    auto_assign: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One line of the journal: written before and after each step."""

    at: datetime
    event: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One clock of an incident against its budget."""

    name: PhaseName
    started_at: datetime
    ended_at: datetime
    budget_seconds: float | None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def met(self) -> bool:
        """Whether the budget was met; without one it always is."""
        return self.budget_seconds is None or self.seconds <= self.budget_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a channel is told.

    `key` is the same when the same news is sent again, so that a channel can drop it.
    """

    key: str
    phase: str
    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of one message on one channel."""

    channel: str
    phase: str
    at: datetime
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """The record of one rollback. `outcome` is None while it is open.

    Where nothing was to do there is no incident, and `id` is empty. `undoes` names the
    incident that this one undid. `auto_assign` tells whether new builds go live by
    themselves after it, `auto_assign_before` whether they did before. From and to are
    those of `part`, the first one that went back; `also` are the others. `receipt` is
    that of the schema, where it went back.
    """

    id: str
    environment: str
    from_deployment: str
    to_deployment: str | None
    reason: str
    opened_at: datetime
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    detail: str = ""
    phases: tuple[Phase, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    journal: tuple[JournalEntry, ...] = ()
    flows: tuple[FlowResult, ...] = ()
    deliveries: tuple[Delivery, ...] = field(default=())
    undoes: str | None = None
    auto_assign_before: bool | None = None
    auto_assign: bool | None = None
    part: str = "application"
    also: tuple[Moved, ...] = ()
    backup: BackupNote | None = None
    receipt: Receipt | None = None
