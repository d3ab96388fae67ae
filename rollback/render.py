"""How people and programs are told: JSON as the contract has it, tables and colour.

People's output goes to stderr when JSON is asked for, so that stdout is one document.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from .decide import NAMES
from .engine import Ruling
from .incident import document, timestamp, verdict_document
from .live import COLOURS as BY_JUDGEMENT
from .live import LiveView
from .model import (
    DeploymentVersion,
    FlowResult,
    Health,
    Incident,
    Outcome,
    Plan,
    SignalState,
    Verdict,
)

__all__ = ["Screen"]

COLOURS: dict[str, str] = {
    **BY_JUDGEMENT,
    Outcome.RESTORED: "green",
    Outcome.ESCALATED: "red",
    Outcome.REFUSED: "yellow",
    Outcome.NOTHING_TO_DO: "cyan",
    "passing": "green",
    "healthy": "green",
    "done": "green",
    "already": "cyan",
    "failing": "red",
    "unhealthy": "red",
    "failed": "red",
    "destroys": "red",
    "locks": "yellow",
    "archived": "green",
    "verified": "green",
    "not verified": "red",
}


class _Deaf(Console):
    """A console that goes on when nobody listens any more: a rollback is under way."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on."""
        self.file = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end


class Screen:
    """Where results are shown. `as_json` makes stdout one JSON document."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = _Deaf(stderr=as_json, highlight=False, soft_wrap=True)
        # What is redrawn must know its height, so nothing of it may wrap by itself.
        self._live = LiveView(_Deaf(stderr=as_json, highlight=False))

    def data(self, value: Any) -> None:
        """Print the one JSON document, if that was asked for."""
        if self._as_json:
            sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
            sys.stdout.flush()

    def say(self, text: str, style: str = "") -> None:
        """One line for people."""
        self._live.stop()
        self._console.print(Text(text, style=style))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on a terminal, tab-separated lines in a pipe; nothing of no rows."""
        if not rows:
            return
        if not self._console.is_terminal:
            for row in rows:
                # As text, its tabs would be printed as spaces.
                line = Segment("\t".join(row) + "\n")
                self._console.print(Segments([line]), end="")
            return
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
        self._console.print(table)

    # -- what is shown --------------------------------------------------------

    def deployments(self, recorded: Sequence[DeploymentVersion]) -> None:
        """The history, newest first."""
        self.data([deployment_document(version) for version in recorded])
        self.table(
            ("deployment", "health", "recorded", "commit", "migration"),
            [
                (
                    v.deployment_id,
                    v.health_check_status.value,
                    str(timestamp(v.timestamp)),
                    v.git_sha[:12],
                    v.db_migration_version,
                )
                for v in recorded
            ],
        )

    def health(self, deployment: str, health: Health) -> None:
        """One look at a health check."""
        components = dict(health.components)
        status = "passing" if health.healthy else "failing"
        self.data(
            {
                "deployment": deployment,
                "status": status,
                "components": components,
                "problem": health.problem,
            }
        )
        self.say(f"{deployment} is {status}", COLOURS[status])
        if health.problem:
            self.say(health.problem)
        self.table(("component", "health"), list(components.items()))

    def progress(self, verdict: Verdict, left: float) -> None:
        """Where a watch stands, after every look."""
        self._live.update(verdict, left)

    def notice(self, text: str) -> None:
        """What is being done, for people who wait."""
        self.say(text, "dim")

    def verdict(self, verdict: Verdict, **more: Any) -> None:
        """A verdict with the row that said it."""
        self.data(verdict_document(verdict) | more)
        self._verdict(verdict)
        self.table(
            ("row", "says"),
            [(row, says or "-") for row, says in verdict.rows],
        )
        if "decided_second" in more:
            began = verdict.bad_since
            after = (
                f", {verdict.second - began} s after it began"
                if began is not None
                else ""
            )
            self.say(f"decided at second {verdict.second}{after}")

    def _verdict(self, verdict: Verdict) -> None:
        said = verdict.judgement.value.replace("_", " ").upper()
        self.say(f"{said} ({verdict.row})", f"bold {COLOURS[verdict.judgement]}")
        self.say(verdict.reason)
        asked = ", ".join(source.name for source in verdict.sources)
        self.say(f"seen by {asked or 'nobody'}", "dim")
        self.table(
            ("signal", "requests", "bad", "proportion", "at most", "evidence"),
            [
                row
                for state in verdict.signals
                for row in (_row(NAMES[state.signal], state), *_rows(verdict, state))
            ],
        )

    def ruling(self, ruling: Ruling, environment: str) -> None:
        """What a gate came to."""
        self.data(_ruling_document(ruling, environment))
        self._ruling(ruling)

    def rulings(self, rulings: Sequence[Ruling], environment: str) -> None:
        """What came of several watches."""
        self.data(
            {
                "environment": environment,
                "deployments": [_ruling_document(r, environment) for r in rulings],
            }
        )
        for ruling in rulings:
            if len(rulings) > 1:
                self.say(ruling.verdict.deployment, "bold")
            self._ruling(ruling)

    def _ruling(self, ruling: Ruling) -> None:
        self._verdict(ruling.verdict)
        if ruling.incident:
            self._incident(ruling.incident)

    def incident(self, incident: Incident) -> None:
        """One incident, whole."""
        self.data(document(incident))
        self._incident(incident)

    def _incident(self, incident: Incident) -> None:
        outcome = incident.outcome or "open"
        style = COLOURS.get(outcome, "yellow")
        self.say(
            f"{incident.environment} {outcome.replace('_', ' ')}: {incident.detail}",
            f"bold {style}",
        )
        self.say(f"from {incident.from_deployment} to {incident.to_deployment}")
        for moved in incident.also:
            self.say(f"{moved.part}: {moved.from_deployment} to {moved.to_deployment}")
        self.say(f"because {incident.reason}")
        self.table(
            ("phase", "took", "budget", ""),
            [
                (
                    phase.name.value.replace("_", " "),
                    f"{phase.seconds:.1f} s",
                    f"{phase.budget_seconds:.0f} s" if phase.budget_seconds else "-",
                    "met" if phase.met else "missed",
                )
                for phase in incident.phases
            ],
        )
        self.table(
            ("step", "status", "detail"),
            [(s.name, s.status.value, s.detail) for s in incident.steps],
        )
        if backup := incident.backup:
            self.say(
                f"backup {backup.path}, verified"
                if backup.verified
                else f"no backup: {backup.problem}",
                "" if backup.verified else "yellow",
            )
        if incident.id:
            self.say(f"incident {incident.id}")
        if incident.id and incident.auto_assign is False and not incident.undoes:
            self.say(
                "new builds do not go live by themselves: promote the one with the "
                f"fix, or go forward again with `rollback undo {incident.id}`",
                "yellow",
            )

    def incidents(self, incidents: Sequence[Incident]) -> None:
        """Past rollbacks, newest first."""
        self.data([document(incident) for incident in incidents])
        self.table(
            ("incident", "outcome", "from", "to", "because"),
            [
                (
                    i.id,
                    str(i.outcome or "open"),
                    i.from_deployment,
                    i.to_deployment or "-",
                    i.reason,
                )
                for i in incidents
            ],
        )

    def plan(self, plan: Plan | None, environment: str, **more: Any) -> None:
        """What would be done; `more` goes into the document."""
        if plan is None:
            self.data({"environment": environment, "outcome": "nothing_to_do"})
            self.say("nothing to do: it is not live, or live already")
            return
        self.data(
            {
                "environment": plan.environment,
                "from": plan.from_deployment,
                "to": plan.to_deployment,
                "reason": plan.reason,
                "moves": list(plan.moves),
                "part": plan.part,
                "steps": [
                    {
                        "target": step.target,
                        "part": step.target,
                        "name": step.name,
                        "from": step.from_deployment,
                        "to": step.to_deployment,
                    }
                    for step in plan.steps
                ],
            }
            | more
        )
        self.say(
            f"{plan.environment}: from {plan.from_deployment} to {plan.to_deployment}"
        )
        for moved in plan.also:
            self.say(f"{moved.part}: {moved.from_deployment} to {moved.to_deployment}")
        self.say(f"hosts that move: {', '.join(plan.moves) or 'none by themselves'}")
        for number, step in enumerate(plan.steps, 1):
            self.say(f"{number}. {step.target}: {step.name}")

    def flows(self, url: str, flows: Sequence[FlowResult]) -> None:
        """The critical flows, tried."""
        passed = all(flow.passed for flow in flows)
        self.data(
            {
                "url": url,
                "passed": passed,
                "flows": [
                    {
                        "name": flow.name,
                        "passed": flow.passed,
                        "seconds": round(flow.seconds, 3),
                        "detail": flow.detail,
                    }
                    for flow in flows
                ],
            }
        )
        self.table(
            ("flow", "result", "took", "detail"),
            [
                (
                    f.name,
                    "done" if f.passed else "failed",
                    f"{f.seconds:.2f} s",
                    f.detail,
                )
                for f in flows
            ],
        )


def _row(name: str, state: SignalState) -> tuple[str, ...]:
    return (
        name,
        str(state.requests),
        str(state.bad),
        f"{state.proportion:.2%}",
        f"{state.threshold:.0%}",
        f"{state.evidence:.3g}",
    )


def _rows(verdict: Verdict, state: SignalState) -> Iterator[tuple[str, ...]]:
    """The same signal by source, where several have seen it, and of the stable one."""
    parts = [
        (f"  by {part.source}", alone)
        for part in verdict.parts
        for alone in part.signals
        if alone.signal is state.signal and alone.requests
    ]
    if len(parts) > 1:
        yield from (_row(*part) for part in parts)
    for other in verdict.baseline:
        if other.signal is state.signal:
            yield _row(f"  of {verdict.stable}", other)


def _ruling_document(ruling: Ruling, environment: str) -> dict[str, Any]:
    undone = ruling.incident
    return verdict_document(ruling.verdict) | {
        "environment": environment,
        "started_at": timestamp(ruling.started_at),
        "decided_at": timestamp(ruling.decided_at),
        "incident": undone.id if undone else None,
        "rollback": document(undone) if undone else None,
    }


def deployment_document(version: DeploymentVersion) -> dict[str, Any]:
    """One record as the contract's JSON."""
    return {
        "id": version.id,
        "deployment": version.deployment_id,
        "environment": version.environment,
        "part": version.part,
        "timestamp": timestamp(version.timestamp),
        "git_sha": version.git_sha,
        "db_migration_version": version.db_migration_version,
        "backward_compatible": version.backward_compatible,
        "health_check_status": version.health_check_status,
        "environment_variables": [v.name for v in version.environment_variables],
    }
