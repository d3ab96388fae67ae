"""Deployments and incidents to write into a ledger."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rollback.model import (
    CriticalError,
    Delivery,
    DeploymentVersion,
    EnvironmentVariable,
    FlowResult,
    Incident,
    JournalEntry,
    Judgement,
    Outcome,
    Phase,
    PhaseName,
    Signal,
    SignalState,
    StepRecord,
    StepStatus,
    Verdict,
)

AT = datetime(2026, 11, 22, 3, 0, 0, 123456, tzinfo=UTC)


def later(seconds: float) -> datetime:
    """So long after the incident was opened."""
    return AT + timedelta(seconds=seconds)


def version(name: str = "dpl_good", *, at: datetime = AT) -> DeploymentVersion:
    """A deployment as it is recorded first."""
    return DeploymentVersion(
        id=f"record of {name}",
        deployment_id=name,
        environment="production",
        timestamp=at,
        git_sha="a" * 40,
        db_migration_version="003",
        environment_variables=(
            EnvironmentVariable(name="DATABASE_URL"),
            EnvironmentVariable(name="SITE", fingerprint="f00d"),
        ),
    )


def an_incident(name: str = "inc_1", candidate: str = "dpl_bad") -> Incident:
    """An incident as it is opened."""
    return Incident(
        id=name,
        environment="production",
        from_deployment=candidate,
        to_deployment="dpl_good",
        reason="error rate",
        opened_at=AT,
    )


def entry(event: str, seconds: float = 0) -> JournalEntry:
    """A line of the journal."""
    return JournalEntry(at=later(seconds), event=event, detail=f"detail of {event}")


def whole_incident() -> Incident:
    """An incident in which every part has a value."""
    state = SignalState(
        signal=Signal.ERROR_RATE, requests=100, bad=7, threshold=0.05, evidence=1234.5
    )
    seen = CriticalError(code="AUTH_SERVICE_DOWN", count=3, first_seen=later(-5))
    verdict = Verdict(
        deployment="dpl_bad",
        judgement=Judgement.ROLL_BACK,
        row="evidence",
        reason="7 of 100 failed",
        signals=(state,),
        critical_errors=(seen,),
        signal=Signal.ERROR_RATE,
        second=int(AT.timestamp()),
        bad_since=int(AT.timestamp()) - 5,
    )
    return replace(
        an_incident(),
        outcome=Outcome.RESTORED,
        verdict=verdict,
        detail="Größe \\u0000 <b>",
        phases=(
            Phase(
                name=PhaseName.INITIATE,
                started_at=AT,
                ended_at=later(1.5),
                budget_seconds=60.0,
            ),
            Phase(
                name=PhaseName.CARRY_OUT,
                started_at=later(1.5),
                ended_at=later(3),
                budget_seconds=None,
            ),
        ),
        steps=(
            StepRecord(
                name="application",
                status=StepStatus.DONE,
                started_at=AT,
                seconds=1.25,
                detail="moved",
            ),
        ),
        journal=(entry("a"), entry("b", 1)),
        flows=(FlowResult(name="signup", passed=True, seconds=0.1, detail=""),),
        deliveries=(
            Delivery(channel="slack", phase="outcome", at=later(4), problem="500"),
        ),
    )
