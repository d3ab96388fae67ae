"""The command line: parse, call, print, exit code. No decisions."""

from pathlib import Path
from typing import Any, TypedDict

import click

from . import wiring
from .adopt import commands as adopt
from .checkout import drill, up
from .database_commands import ACCEPTED
from .database_commands import commands as database
from .engine import Ruling
from .errors import (
    BadInput,
    UnknownIncident,
)
from .incident import timestamp
from .model import Incident, Judgement, Outcome, Plan, Verdict
from .monitor import judge_recording
from .parts import BY_OUTCOME
from .parts import commands as parts
from .recording import read_counts, replay
from .recovery_command import commands as recovery
from .render import Screen, deployment_document
from .render_plan import plan_document, show_plan
from .settings import Settings
from .shell import (
    Commands,
    Duration,
    command,
    complain,
    confirm,
    require_terminal,
)
from .versions import commands as versions

__all__ = ["main"]

QUICK_RATE = 10.0  # probes a second for one look, which nobody wants to wait for
QUICK_MARGIN_SECONDS = 3.0  # the newest seconds are not judged

BY_JUDGEMENT = {
    Judgement.HEALTHY: 0,
    Judgement.ROLL_BACK: 1,
    Judgement.INCONCLUSIVE: 3,
    Judgement.WATCHING: 3,
}
WORST = (0, 3, 1, 4, 5)  # of several exit codes the last of these counts
GATED_BY_OUTCOME = BY_OUTCOME | {Outcome.RESTORED: 1, Outcome.NOTHING_TO_DO: 1}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wedsync-rollback")
def main() -> None:
    """Undo a bad release within minutes, and prove every week that it works.

    \b
    What is live is bad, undo it now:   rollback run --reason "checkout is down"
    What would it go back to:           rollback stable
    """  # noqa: D301 - click's mark for a paragraph that is not to be wrapped


# -- at 3 a.m. ----------------------------------------------------------------


@command(main, "run")
@click.option("--from", "candidate", help="The bad deployment; default: what is live.")
@click.option("--to", "target", default="stable", help="A deployment; default: stable.")
@click.option("--only", help="Parts, comma-separated: application,api,database.")
@click.option(
    "--accept",
    multiple=True,
    type=click.Choice(ACCEPTED),
    help="What you agree to of the schema's rollback; may be given several times.",
)
@click.option("--reason", required=True, help="Why; it is announced and recorded.")
@click.option("--plan", "dry", is_flag=True, help="Show what would be done; no change.")
@click.option("--override", is_flag=True, help="Also to what is not known to be good.")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def run(
    settings: Settings,
    screen: Screen,
    *,
    candidate: str | None,
    target: str,
    only: str | None,
    accept: tuple[str, ...],
    reason: str,
    dry: bool,
    override: bool,
    yes: bool,
) -> int:
    """Roll back now.

    Example: rollback run --reason "checkout is down" --yes
    """
    ask: _Ask = {
        "reason": reason,
        "candidate": candidate,
        "target": None if target == "stable" else target,
        "override": override,
        "accept": frozenset(accept),
    }
    async with wiring.engine(settings, notice=screen.notice) as engine:
        known = (*engine.targets, *(["database"] if engine.database else []))
        parts = _only(only, known)
        if dry:
            _show(screen, await engine.plan(**ask, only=parts), settings)
            return 0
        shown = None
        if not yes:
            require_terminal()
            shown = await engine.plan(**ask, only=parts)
            _show(screen, shown, settings)
            if shown is None:
                return 0
            await confirm(f"Roll back {settings.environment} now?")
        undone = await engine.roll_back(**ask, only=parts, shown=shown)
    screen.incident(undone)
    return BY_OUTCOME[undone.outcome or Outcome.ESCALATED]


class _Ask(TypedDict):
    """What `run` asks of the engine, planned or done."""

    reason: str
    candidate: str | None
    target: str | None
    override: bool
    accept: frozenset[str]


def _show(screen: Screen, planned: Plan | None, settings: Settings) -> None:
    schema = planned.schema if planned else None
    document = schema and plan_document(schema, settings.environment, ())
    screen.plan(planned, settings.environment, schema=document)
    if schema:
        show_plan(screen, schema, settings.environment)


def _only(only: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    parts = tuple(part for part in (only or "").split(",") if part)
    unknown = [part for part in parts if part not in known]
    if unknown:
        raise BadInput(
            f"{', '.join(unknown)} cannot be rolled back alone.",
            mend=f"--only knows: {', '.join(known)}.",
        )
    return parts


@command(main, "stable")
@click.option("--part", default="application", show_default=True, help="Or: api.")
async def stable(settings: Settings, screen: Screen, *, part: str) -> int:
    """What a rollback would go back to.

    Example: rollback stable --json
    """
    async with wiring.engine(settings) as engine:
        recorded = await engine.alone(part).stable()
    screen.data(deployment_document(recorded))
    screen.say(f"{recorded.deployment_id} (commit {recorded.git_sha[:12]})")
    return 0


@main.group(name="incidents", invoke_without_command=True)
@click.pass_context
def incidents(ctx: click.Context) -> None:
    """Past rollbacks.

    Example: rollback incidents show inc-20260102-030405-6a7b8c
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(ctx.command.commands["list"])  # type: ignore[attr-defined]  # a group


@command(incidents, "list")
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True)
async def incidents_list(settings: Settings, screen: Screen, *, limit: int) -> int:
    """The latest, newest first."""
    async with wiring.ledger(settings) as ledger:
        found = await ledger.incidents(settings.environment, limit=limit)
    screen.incidents(found)
    return 0


@command(incidents, "show")
@click.argument("incident")
async def incidents_show(settings: Settings, screen: Screen, *, incident: str) -> int:
    """One of them, whole."""
    async with wiring.ledger(settings) as ledger:
        found = await ledger.incident(incident)
    if found is None:
        raise UnknownIncident(f"The incident {incident} is not known.")
    screen.incident(found)
    return 0


# -- every day ----------------------------------------------------------------

for each in (*versions.commands.values(), *adopt.commands.values()):
    main.add_command(each)


@command(main, "health")
@click.argument("deployment")
async def health(settings: Settings, screen: Screen, *, deployment: str) -> int:
    """Probe a deployment and record its status.

    Example: rollback health dpl_abc
    """
    async with wiring.engine(settings) as engine:
        seen = await engine.health(deployment)
    screen.health(deployment, seen)
    return 0 if seen.healthy else 1


@command(main, "check")
@click.argument("deployment")
@click.option(
    "--from",
    "recording",
    type=click.Path(path_type=Path),
    help="Judge recorded counts (CSV or JSON lines) instead.",
)
async def check(
    settings: Settings, screen: Screen, *, deployment: str, recording: Path | None
) -> int:
    """One look at the metrics, or a replay of recorded counts.

    The look back is over what the app and other sources have counted; probes alone
    are too short for a deployment to be called healthy: for that there is the gate.

    Example: rollback check dpl_abc --from counts.csv
    """
    more: dict[str, Any] = {"environment": settings.environment, "incident": None}
    more["started_at"] = timestamp(wiring.now())
    if recording:
        verdict = _judge(settings, deployment, recording)
        more["decided_second"] = verdict.second
    else:
        rate = max(settings.probe_rate, QUICK_RATE)
        quick = settings.model_copy(update={"probe_rate": rate})
        seconds = settings.healthy_requests / rate + QUICK_MARGIN_SECONDS
        screen.say(f"probing {deployment} for {seconds:.0f} s")
        async with wiring.engine(quick) as engine:
            verdict = await engine.check(deployment, probe_seconds=seconds)
    more["decided_at"] = timestamp(wiring.now())
    screen.verdict(verdict, **more)
    return BY_JUDGEMENT[verdict.judgement]


def _judge(settings: Settings, deployment: str, recording: Path) -> Verdict:
    try:
        text = recording.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{recording} cannot be read: {error}.", mend="Give the path of a file."
        ) from error
    seen = replay(
        deployment,
        read_counts(text),
        silence_seconds=settings.silence_seconds,
        window_seconds=settings.window_seconds,
    )
    return judge_recording(seen, wiring.limits(settings))


@command(main, "gate")
@click.argument("deployment")
@click.option("--window", type=Duration(), help="How long to watch; default: 5m.")
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, max_open=True),
    help="Ask for a stronger proof of health, such as 0.95; takes longer.",
)
@click.option(
    "--on-bad",
    type=click.Choice(["rollback", "report"]),
    default="rollback",
    show_default=True,
)
async def gate(
    settings: Settings,
    screen: Screen,
    *,
    deployment: str,
    window: float | None,
    confidence: float | None,
    on_bad: str,
) -> int:
    """Watch a new deployment; roll it back when it is bad.

    Example: rollback gate dpl_abc --window 5m
    """
    seconds = window or settings.window_seconds
    # The spec's rule is about five minutes, also where the gate watches for longer.
    rule = {"window_seconds": min(seconds, settings.window_seconds)}
    changed = settings.model_copy(update=rule)
    async with wiring.engine(
        changed, confidence=confidence, notice=screen.notice
    ) as engine:
        ruling = await engine.gate(
            deployment,
            seconds=seconds,
            act=on_bad == "rollback",
            progress=screen.progress,
        )
    screen.ruling(ruling, settings.environment)
    return gate_code(ruling)


@command(main, "watch")
@click.argument("deployments", nargs=-1, metavar="[DEPLOYMENT]...")
@click.option("--for", "seconds", type=Duration(), default=1800.0, help="Default: 30m.")
@click.option(
    "--on-bad",
    type=click.Choice(["rollback", "report"]),
    default="rollback",
    show_default=True,
)
async def watch(
    settings: Settings,
    screen: Screen,
    *,
    deployments: tuple[str, ...],
    seconds: float,
    on_bad: str,
) -> int:
    """Keep watching what is live, or the deployments named, side by side.

    When something else goes live, that is watched. What a rollback went back to is
    not rolled back again: trouble with it is told.

    Example: rollback watch --for 30m --on-bad report
    """
    async with wiring.engine(settings, notice=screen.notice) as engine:
        rulings = await engine.watch(
            tuple(dict.fromkeys(deployments)),
            seconds=seconds,
            act=on_bad == "rollback",
            progress=screen.progress,
        )
    screen.rulings(rulings, settings.environment)
    return max((gate_code(ruling) for ruling in rulings), key=WORST.index)


def gate_code(ruling: Ruling) -> int:
    """The gate's exit code; a refusal is explained."""
    if ruling.refusal:
        return complain(ruling.refusal)
    undone: Incident | None = ruling.incident
    if undone:
        return GATED_BY_OUTCOME[undone.outcome or Outcome.ESCALATED]
    return BY_JUDGEMENT[ruling.verdict.judgement]


@command(main, "smoke")
@click.argument("url")
async def smoke(settings: Settings, screen: Screen, *, url: str) -> int:
    """Try the critical flows: supplier signup, form submission, payment.

    Example: rollback smoke https://staging.example.com
    """
    if not url.startswith(("http://", "https://")):
        raise BadInput(
            f"{url} is no address of a site.", mend="Write it with https:// in front."
        )
    async with wiring.site(settings) as site:
        flows = await wiring.smoke(site, url.rstrip("/"))
    screen.flows(url, flows)
    return 0 if all(flow.passed for flow in flows) else 1


# -- a part alone -------------------------------------------------------------

for one in (
    *parts.commands.values(),
    *database.commands.values(),
    *recovery.commands.values(),
):
    main.add_command(one)


# -- from a checkout ----------------------------------------------------------

main.add_command(up)
main.add_command(drill)
