"""The command that recovers the state: explained, confirmed, told as it goes."""

import sys
from typing import Any

import anyio
import click

from .backup_choice import Restoring
from .errors import BadInput, NotConfirmed
from .incident import timestamp
from .model import Outcome
from .recovery_plan import Ask, RecoveryPlan
from .recovery_wiring import recovery
from .render import Screen
from .settings import Settings
from .shell import BY_OUTCOME, command, confirm, require_terminal

__all__ = ["commands"]

WORD = "restore"

commands = click.Group("recovery")


@command(commands, "recover")
@click.option("--with-database", is_flag=True, help="Restore the last good backup.")
@click.option("--backup", metavar="NAME", help="Restore this backup.")
@click.option("--swap", is_flag=True, help="Restore into a new database, then swap.")
@click.option("--redeploy", is_flag=True, help="Build and start the functions anew.")
@click.option("--anew", is_flag=True, help="Go on with nothing that was cut short.")
@click.option("--reason", default="by hand", help="Why; it is announced and recorded.")
@click.option("--plan", "dry", is_flag=True, help="Show what would be done; no change.")
@click.option("--yes", is_flag=True, help="Do not ask, not even before a restore.")
async def recover(
    settings: Settings,
    screen: Screen,
    *,
    dry: bool,
    yes: bool,
    **asked: Any,
) -> int:
    """Recover the state: backup, last good deployment, restore, caches.

    A backup of what is there now comes first. Production is let serve what has passed;
    the database is restored if that is asked, and nothing of it is destroyed; caches
    are emptied by their prefixes and tags, and nothing beside them. Cut short, it goes
    on where it stopped when it is run again.

    Example: rollback recover --with-database --plan
    """
    ask = Ask(**asked)
    if not ask.with_database and (ask.backup or ask.swap):
        raise BadInput(
            "--backup and --swap say how the database is restored.",
            mend="Add --with-database to restore it.",
        )
    async with recovery(settings, notice=screen.notice) as work:
        planned = await work.plan(ask)
        if dry:
            screen.data(_document(planned))
        _show(screen, planned)
        if dry:
            return 0
        if not yes:
            require_terminal()
            await _confirm(planned, settings.environment)
        ended = await work.carry_out(planned)
    screen.incident(ended)
    return BY_OUTCOME[ended.outcome or Outcome.ESCALATED]


async def _confirm(planned: RecoveryPlan, environment: str) -> None:
    """A yes; where writes will be lost, the word for it, with the backup's time."""
    restoring = planned.restoring
    if restoring is None or restoring.done_at:
        await confirm(f"Recover the state of {environment} now?")
        return
    taken = f"{restoring.backup.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    click.echo(
        f"What was written in {environment} since {taken} will not be there any more.\n"
        f'Type "{WORD}" to go back to {taken}: ',
        err=True,
        nl=False,
    )
    await anyio.wait_readable(sys.stdin)
    if sys.stdin.readline().strip().lower() != WORD:
        raise NotConfirmed


def _show(screen: Screen, planned: RecoveryPlan) -> None:
    if planned.resumes:
        screen.say(f"going on with {planned.resumes}, which was cut short", "cyan")
    for number, (step, says) in enumerate(
        zip(planned.plan.steps, planned.says, strict=True), 1
    ):
        screen.say(f"{number}. {step.name}", "bold")
        for line in says:
            screen.say(f"   {line}")
    for note in planned.notes:
        screen.say(f"note: {note}", "yellow")


def _document(planned: RecoveryPlan) -> dict[str, Any]:
    return {
        "environment": planned.plan.environment,
        "reason": planned.plan.reason,
        "resumes": planned.resumes,
        "steps": [
            {"target": step.target, "name": step.name, "says": list(says)}
            for step, says in zip(planned.plan.steps, planned.says, strict=True)
        ],
        "restores": planned.restoring and _restoring(planned.restoring),
        "notes": list(planned.notes),
    }


def _restoring(found: Restoring) -> dict[str, Any]:
    return {
        "backup": found.backup.name,
        "taken_at": timestamp(found.backup.taken_at),
        "version": found.backup.version,
        "swap": found.swap,
        "restored_at": timestamp(found.done_at),
        "rows": None
        if found.rows is None
        else [
            {"table": loss.table, "now": loss.now, "backup": loss.backup}
            for loss in found.rows
        ],
    }
