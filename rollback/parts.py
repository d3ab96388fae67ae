"""The commands for a part of the site alone."""

from functools import partial
from typing import Any

import click

from . import wiring
from .model import Outcome, Plan
from .render import Screen
from .settings import Settings
from .shell import BY_OUTCOME, command, confirm, require_terminal

__all__ = ["BY_OUTCOME", "commands"]

commands = click.Group("parts")


@command(commands, "flag")
@click.argument("name")
@click.option("--restore", is_flag=True, help="Put its former state back.")
@click.option("--reason", default="by hand", help="Why; it is announced and recorded.")
@click.option("--plan", "dry", is_flag=True, help="Show what would be done; no change.")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def flag(
    settings: Settings,
    screen: Screen,
    *,
    name: str,
    restore: bool,
    reason: str,
    dry: bool,
    yes: bool,
) -> int:
    """Switch one feature off, or back.

    Its state is saved, and what the edge has kept of it is purged. Doing it again does
    no harm.

    Example: rollback flag timeline --reason "it shows wrong times" --yes
    """
    async with wiring.switch(settings, notice=screen.notice) as switch:
        look = partial(switch.plan, name, reason=reason, back=restore)
        planned = await look()
        if dry:
            _show(screen, planned, as_result=True)
            return 0
        if not yes:
            require_terminal()
            _show(screen, planned)
            await confirm(f"Do that in {settings.environment} now?")
            planned = await look()  # it may have taken a while
        switched = await switch.carry_out(planned)
    screen.incident(switched)
    return BY_OUTCOME[switched.outcome or Outcome.ESCALATED]


def _show(screen: Screen, plan: Plan, *, as_result: bool = False) -> None:
    if as_result:
        screen.data(_document(plan))
    for number, step in enumerate(plan.steps, 1):
        screen.say(f"{number}. {step.target}: {step.name}")


def _document(plan: Plan) -> dict[str, Any]:
    return {
        "environment": plan.environment,
        "from": plan.from_deployment,
        "to": plan.to_deployment,
        "reason": plan.reason,
        "steps": [{"target": step.target, "name": step.name} for step in plan.steps],
    }


@command(commands, "undo")
@click.argument("incident")
@click.option("--reason", help="Why; it is announced and recorded.")
@click.option("--plan", "dry", is_flag=True, help="Show what would be done; no change.")
@click.option(
    "--override",
    is_flag=True,
    help="Also to what is not healthy now, or over a later one.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
async def undo(
    settings: Settings,
    screen: Screen,
    *,
    incident: str,
    reason: str | None,
    dry: bool,
    override: bool,
    yes: bool,
) -> int:
    """Go forward again: promote what a rollback went away from.

    Refused when something else went live meanwhile. Flags and the schema stay as they
    are: `rollback flag NAME --restore`, `rollback db refill VERSION`.

    Example: rollback undo inc-20260102-030405-6a7b8c --reason "it was the database"
    """
    why = reason or f"{incident} is undone"
    async with wiring.engine(settings, notice=screen.notice) as engine:
        forward = engine.forward
        look = partial(forward.plan, incident, reason=why, override=override)
        if dry:
            screen.plan(await look(), settings.environment)
            return 0
        if not yes:
            require_terminal()
            if planned := await look():
                _show(screen, planned)
                await confirm(f"Go forward again in {settings.environment} now?")
        undone = await forward.undo(incident, reason=why, override=override)
    screen.incident(undone)
    return BY_OUTCOME[undone.outcome or Outcome.ESCALATED]
