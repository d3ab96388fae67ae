"""Stage 8: the record of one rollback: its clocks, its outcome, its document."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from .model import (
    Incident,
    Phase,
    PhaseName,
    Plan,
    SignalState,
    StepRecord,
    Verdict,
)
from .schema import Receipt

__all__ = [
    "Budgets",
    "Clocks",
    "claims",
    "document",
    "new_id",
    "of",
    "phases",
    "receipt_document",
    "timestamp",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The spec's time budgets, in seconds; carrying out has none."""

    identify: float = 120
    initiate: float = 60
    verify: float = 180
    communicate: float = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The moments that begin and end phases; None where one was not reached.

    `bad_since` is the first bad second that users could see.
    """

    decided_at: datetime
    bad_since: datetime | None = None
    accepted_at: datetime | None = None
    carried_out_at: datetime | None = None
    restored_at: datetime | None = None
    communicated_at: datetime | None = None


def phases(clocks: Clocks, budgets: Budgets) -> tuple[Phase, ...]:
    """The phases that were completed, against their budgets (DESIGN.md, section 2)."""
    spans = (
        (PhaseName.IDENTIFY, clocks.bad_since, clocks.decided_at, budgets.identify),
        (PhaseName.INITIATE, clocks.decided_at, clocks.accepted_at, budgets.initiate),
        (PhaseName.CARRY_OUT, clocks.accepted_at, clocks.carried_out_at, None),
        (PhaseName.VERIFY, clocks.carried_out_at, clocks.restored_at, budgets.verify),
        (
            PhaseName.COMMUNICATE,
            clocks.decided_at,
            clocks.communicated_at,
            budgets.communicate,
        ),
    )
    return tuple(
        Phase(name=name, started_at=start, ended_at=end, budget_seconds=budget)
        for name, start, end, budget in spans
        if start is not None and end is not None
    )


def new_id(at: datetime, token: str) -> str:
    """An id that sorts by time; `token` is random, so that no two askers share one."""
    return f"inc-{at:%Y%m%d-%H%M%S}-{token}"


def of(planned: Plan, opened: Incident) -> Incident:
    """The incident of a plan, opened before it was known what would be done."""
    return replace(
        opened,
        part=planned.part,
        from_deployment=planned.from_deployment,
        to_deployment=planned.to_deployment,
        also=planned.also,
        auto_assign_before=planned.auto_assign,
    )


def claims(incident: Incident) -> tuple[Incident, ...]:
    """The incident, and a record for each part that goes back together with it.

    So each deployment that is undone is claimed, and is found by itself afterwards.
    """
    return incident, *(
        replace(
            _own(incident, moved.part),
            id=f"{incident.id}-{moved.part}",
            part=moved.part,
            from_deployment=moved.from_deployment,
            to_deployment=moved.to_deployment,
            also=(),
            journal=(),
            detail=f"together with {incident.id}: {incident.detail}",
        )
        for moved in incident.also
    )


def _own(incident: Incident, part: str) -> Incident:
    """With the steps of one part, and what they left of its builds, alone."""
    steps = tuple(s for s in incident.steps if s.target == part)
    return replace(
        incident,
        steps=steps,
        auto_assign_before=steps[0].auto_assign_before if steps else None,
        auto_assign=steps[0].auto_assign if steps else None,
    )


def from_second(second: int | None) -> datetime | None:
    """A unix second as a time."""
    if second is None:
        return None
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=second)


def timestamp(at: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document(incident: Incident) -> dict[str, Any]:
    """The incident as the contract's JSON."""
    return {
        "incident": incident.id or None,
        "environment": incident.environment,
        "from": incident.from_deployment,
        "to": incident.to_deployment,
        "part": incident.part,
        "also": [
            {"part": m.part, "from": m.from_deployment, "to": m.to_deployment}
            for m in incident.also
        ],
        "reason": incident.reason,
        "undoes": incident.undoes,
        "auto_assign": {
            "before": incident.auto_assign_before,
            "after": incident.auto_assign,
        },
        "opened_at": timestamp(incident.opened_at),
        "outcome": incident.outcome,
        "detail": incident.detail,
        "phases": {phase.name.value: _phase(phase) for phase in incident.phases},
        "steps": [_step(step) for step in incident.steps],
        "flows": [
            {
                "name": f.name,
                "passed": f.passed,
                "seconds": f.seconds,
                "detail": f.detail,
            }
            for f in incident.flows
        ],
        "announced": [
            {
                "channel": d.channel,
                "phase": d.phase,
                "at": timestamp(d.at),
                "problem": d.problem,
            }
            for d in incident.deliveries
        ],
        "journal": [
            {"at": timestamp(e.at), "event": e.event, "detail": e.detail}
            for e in incident.journal
        ],
        "verdict": incident.verdict and verdict_document(incident.verdict),
        "backup": incident.backup and asdict(incident.backup),
        "receipt": incident.receipt and receipt_document(incident.receipt),
    }


def receipt_document(receipt: Receipt) -> dict[str, Any]:
    """What a rollback of the schema did."""
    committed = timestamp(receipt.committed_at)
    return asdict(receipt) | {"committed_at": committed}


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "started_at": timestamp(phase.started_at),
        "ended_at": timestamp(phase.ended_at),
        "seconds": round(phase.seconds, 3),
        "budget_seconds": phase.budget_seconds,
        "met": phase.met,
    }


def _step(step: StepRecord) -> dict[str, Any]:
    return {
        "name": step.name,
        "part": step.target or None,
        "from": step.from_deployment or None,
        "to": step.to_deployment or None,
        "status": step.status,
        "started_at": timestamp(step.started_at),
        "seconds": round(step.seconds, 3),
        "detail": step.detail,
        "auto_assign": {"before": step.auto_assign_before, "after": step.auto_assign},
    }


def _signals(states: Sequence[SignalState]) -> dict[str, Any]:
    return {
        state.signal.value: {
            "requests": state.requests,
            "bad": state.bad,
            "proportion": round(state.proportion, 6),
            "threshold": state.threshold,
            "evidence": round(state.evidence, 6),
        }
        for state in states
    }


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """The part of `check` and `gate` that the verdict itself knows."""
    alone = {part.source: part.signals for part in verdict.parts}
    return {
        "deployment": verdict.deployment,
        "verdict": verdict.judgement,
        "row": verdict.row,
        "signal": verdict.signal,
        "reason": verdict.reason,
        "rows": [{"row": row, "says": says} for row, says in verdict.rows],
        "signals": _signals(verdict.signals),
        "proof": verdict.proof,
        "baseline": {
            "deployment": verdict.stable,
            "signals": _signals(verdict.baseline),
            "shared": list(verdict.shared),
        },
        "critical_errors": [error.code for error in verdict.critical_errors],
        "sources": [
            {
                "name": source.name,
                "problem": source.problem,
                "signals": _signals(alone.get(source.name, ())),
            }
            for source in verdict.sources
        ],
    }
