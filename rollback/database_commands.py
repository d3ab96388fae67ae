"""The commands for the database alone: its schema, its backups, its migrations."""

from contextlib import suppress

import click

from . import database_wiring, wiring
from .errors import RollbackError, Unreachable
from .model import Outcome
from .plan import schema_as_agreed
from .ports import Database
from .render import Screen
from .render_database import (
    backup_document,
    show_archived,
    show_backups,
    show_change,
    show_refilled,
    show_stairs,
)
from .render_plan import (
    destruction,
    plan_document,
    show_nothing,
    show_plan,
    show_refusal,
)
from .schema import SchemaPlan
from .settings import Settings
from .shell import BY_OUTCOME, command, complain, confirm, require_terminal

__all__ = ["ACCEPTED", "commands"]

ALONE = ""  # what the usage calls it: nothing
ACCEPTED = ("unrecorded", "stall", "no-transaction")


class Alone(click.Group):
    """A group that works without a subcommand too: then it is the nameless one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Anything but a subcommand, and a call for help, is its own."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [ALONE, *args]
        return super().parse_args(ctx, args)

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Those of its own command, and the subcommands."""
        self.commands[ALONE].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


commands = click.Group("database")


@commands.group("db", cls=Alone, options_metavar="--to VERSION [OPTIONS]")
def db() -> None:
    """Roll back the database's schema alone; its backups.

    Every rollback begins with a verified backup, archives what it destroys, and is one
    transaction: it commits whole or not at all.

    \b
    What would it do:    rollback db --to 20260811 --plan
    Do it:               rollback db --to 20260811 --reason "orders are lost"
    """  # noqa: D301 - click's mark for a paragraph that is not to be wrapped


@command(db, ALONE, hidden=True)
@click.option("--to", required=True, metavar="VERSION", help="Where to go back to.")
@click.option("--plan", "dry", is_flag=True, help="Show what would be done; no change.")
@click.option("--rehearse", is_flag=True, help="Do it to the restored backup first.")
@click.option(
    "--accept",
    multiple=True,
    type=click.Choice(ACCEPTED),
    help="What you have looked at and agree to; may be given several times.",
)
@click.option("--reason", default="by hand", help="Why; it is announced and recorded.")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def roll_back(
    settings: Settings,
    screen: Screen,
    *,
    to: str,
    dry: bool,
    rehearse: bool,
    accept: tuple[str, ...],
    reason: str,
    yes: bool,
) -> int:
    """Roll back the database's schema to a version.

    Example: rollback db --to 20260811 --plan
    """
    accepted = frozenset(accept)
    async with database_wiring.schema_change(settings, notice=screen.notice) as change:
        if dry:
            return await _show(settings, screen, change.database, to, accepted)
        if not yes:
            require_terminal()
        planned = await change.database.plan(to, accept=accepted)
        if planned is None:
            show_nothing(screen, settings.environment, to, planned=False)
            return 0
        show_plan(screen, planned, settings.environment)
        if not yes:
            await confirm(
                f"{destruction(planned)} Roll the schema of {settings.environment} "
                f"back to {to} now?"
            )
            planned = await _again(change.database, planned, accepted)
        changed = await change.carry_out(planned, reason=reason, rehearse=rehearse)
    show_change(screen, changed.incident)
    if changed.refusal:
        return complain(changed.refusal)
    return BY_OUTCOME[changed.incident.outcome or Outcome.ESCALATED]


async def _show(
    settings: Settings,
    screen: Screen,
    database: Database,
    to: str,
    accepted: frozenset[str],
) -> int:
    try:
        planned = await database.plan(to, accept=accepted)
    except Unreachable:
        raise
    except RollbackError as error:
        show_refusal(
            screen,
            settings.environment,
            current=await _current(database),
            to=to,
            error=error,
        )
        return complain(error)
    if planned is None:
        show_nothing(screen, settings.environment, to, planned=True)
        return 0
    screen.data(plan_document(planned, settings.environment, accepted))
    show_plan(screen, planned, settings.environment)
    return 0


async def _current(database: Database) -> str | None:
    """The version, where what refuses the plan does not keep it from being read."""
    with suppress(RollbackError):
        return await database.version()
    return None


async def _again(
    database: Database, shown: SchemaPlan, accepted: frozenset[str]
) -> SchemaPlan:
    """It may have taken a while to answer: what was agreed to must be what is done."""
    return schema_as_agreed(
        shown, await database.plan(shown.to_version, accept=accepted)
    )


@command(db, "refill")
@click.argument("version")
@click.option("--plan", "dry", is_flag=True, help="Show what is archived; no change.")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def refill(
    settings: Settings, screen: Screen, *, version: str, dry: bool, yes: bool
) -> int:
    """Put back what rolling VERSION back has archived.

    Apply the migration again first. What is there is not overwritten; what could not go
    back is listed, and stays archived.

    Example: rollback db refill 20260811
    """
    if not (dry or yes):
        require_terminal()
    async with wiring.database(settings, notice=screen.notice) as database:
        if dry or not yes:
            show_archived(screen, await database.archived(version), as_result=dry)
        if dry:
            return 0
        if not yes:
            await confirm(f"Put that back into {settings.environment} now?")
        refilled = await database.refill(version, notice=screen.notice)
    show_refilled(screen, refilled)
    return 0


@command(db, "stairway")
@click.option("--url", help="A server for scratch databases; default: the settings'.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the rows.")
async def stairway(
    settings: Settings, screen: Screen, *, url: str | None, seed: int
) -> int:
    """Take every migration up, down and up again; compare schema and values.

    It all happens in a scratch database: for CI, on every pull request.

    Example: rollback db stairway --url postgresql://postgres@localhost/postgres
    """
    stairs = await database_wiring.stairway(
        settings, url=url, seed=seed, notice=screen.notice
    )
    show_stairs(screen, stairs)
    return 0 if all(stair.ok for stair in stairs) else 1


@command(db, "backup")
async def back_up(settings: Settings, screen: Screen) -> int:
    """Take a backup now, and verify it.

    Every rollback takes its own; this one is for the day before you need it.

    Example: rollback db backup
    """
    async with wiring.database(settings, notice=screen.notice) as database:
        backup = await database.back_up("by-hand", notice=screen.notice)
    screen.data(backup_document(backup))
    screen.say(f"{backup.path} is verified", "green")
    return 0


@command(db, "backups")
@click.option("--check", "name", metavar="NAME", help="Verify this one again.")
async def backups(settings: Settings, screen: Screen, *, name: str | None) -> int:
    """The backups, newest first; or one of them, verified again.

    Example: rollback db backups --check 20260811T030405Z-before
    """
    async with wiring.database(settings, notice=screen.notice) as database:
        if name is None:
            show_backups(screen, await database.backups.known())
            return 0
        backup = await database.backups.find(name)
        await database.backups.check(backup)
    screen.data(backup_document(backup) | {"checked": True})
    screen.say(f"{backup.name} is whole: its hashes agree, and it can be read", "green")
    return 0
