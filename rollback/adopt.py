"""How a project begins, `init`, and how it is looked over, `doctor`."""

from collections.abc import Iterable
from typing import Any

import click

from . import wiring
from .adoption import LONGER, Act, Did, FirstStable, lengthen, texts, write
from .availability import too_short
from .checks import Check, Finding
from .errors import NotConfirmed, RollbackError
from .examination import examine
from .model import EnvironmentVariable, Retention
from .render import Screen
from .schema_adoption import adopt_schema
from .settings import Settings
from .shell import command, confirm, require_terminal
from .track import KEPT

__all__ = ["commands"]

commands = click.Group()
BY_WRONG = {"settings": 2}  # without these nothing else could be looked at
STYLES: dict[str, str] = {
    Finding.OK: "green",
    Finding.WARNING: "yellow",
    Finding.WRONG: "red",
    Did.DONE: "green",
    Did.ALREADY: "cyan",
    Did.PLANNED: "cyan",
    Did.LEFT: "yellow",
    Did.FAILED: "red",
}


@command(commands, "init")
@click.option("--migration", default="", help="Version of the schema that is live.")
@click.option(
    "--force", is_flag=True, help="Overwrite files, and hashes that are on record."
)
@click.option("--plan", "dry", is_flag=True, help="Show what would be done; no change.")
@click.option("--yes", is_flag=True, help="Do not ask; lengthen retention if needed.")
async def init(
    settings: Settings,
    screen: Screen,
    *,
    migration: str,
    force: bool,
    dry: bool,
    yes: bool,
) -> int:
    """Begin: write rollback.toml and the gate's workflow, adopt what is live.

    Example: rollback init --migration 20260811
    """
    acts = [
        write(path, text, force=force, plan=dry)
        for path, text in texts(settings).items()
    ]
    try:
        acts += await _adopted(settings, screen, migration=migration, dry=dry)
        acts.append(await _retention(settings, dry=dry, yes=yes))
        acts += await adopt_schema(
            settings, force=force, plan=dry, at=wiring.now(), notice=screen.notice
        )
    except RollbackError as error:
        acts.append(
            Act(name="adopt", did=Did.FAILED, said=error.message, mend=error.mend)
        )
    _show_acts(acts, screen)
    return 1 if any(act.did is Did.FAILED for act in acts) else 0


async def _adopted(
    settings: Settings, screen: Screen, *, migration: str, dry: bool
) -> Iterable[Act]:
    variables: tuple[EnvironmentVariable, ...] = ()
    if not dry:
        variables = await wiring.variables(
            settings, part="application", text=None, notice=screen.notice
        )
    async with wiring.engine(settings, notice=screen.notice) as engine:
        first = FirstStable(
            engine=engine, migration=migration, variables=variables, plan=dry
        )
        return await first.acts()


async def _retention(settings: Settings, *, dry: bool, yes: bool) -> Act:
    project = wiring.project(settings)
    kept = await project.retention()
    agreed = not dry and too_short(kept, wanted=KEPT) and await _agreed(kept, yes=yes)
    return await lengthen(project, kept=kept, agreed=agreed)


async def _agreed(kept: Retention, *, yes: bool) -> bool:
    """Asked on a terminal alone; elsewhere nothing is changed without --yes."""
    if yes:
        return True
    try:
        require_terminal()
        await confirm(f"The platform deletes after {kept.days} days; {LONGER}?")
    except NotConfirmed:
        return False
    return True


def _show_acts(acts: Iterable[Act], screen: Screen) -> None:
    screen.data(
        [
            {"name": a.name, "outcome": a.did, "said": a.said, "mend": a.mend or None}
            for a in acts
        ]
    )
    for act in acts:
        _line(screen, act.did, act.name, act.said, act.mend)


def _line(screen: Screen, word: str, name: str, said: str, mend: str) -> None:
    screen.say(f"{word:8} {name}: {said}", STYLES[word])
    if mend:
        screen.say(f"{'':8} -> {mend}")


@command(commands, "doctor")
async def doctor(settings: Settings, screen: Screen) -> int:
    """Look over settings, credentials and whatever a rollback needs; changes nothing.

    Example: rollback doctor --json
    """
    checks = await examine(settings)
    screen.data([_check(check) for check in checks])
    for check in checks:
        _line(screen, check.finding, check.name, check.said, check.mend)
    wrong = [check.name for check in checks if check.finding is Finding.WRONG]
    return BY_WRONG.get(wrong[0], 1) if wrong else 0


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "finding": check.finding,
        "said": check.said,
        "mend": check.mend or None,
    }
