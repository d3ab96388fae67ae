"""The commands of version tracking: what is recorded, and what became of it."""

from pathlib import Path
from typing import Any

import anyio
import click

from . import wiring
from .availability import Availability, Place
from .environment import Difference, difference
from .errors import BadInput, UnknownDeployment
from .incident import timestamp
from .model import DeploymentVersion, HealthRecord
from .ports import Ledger
from .render import Screen, deployment_document
from .schema_adoption import record_schema
from .settings import Settings
from .shell import command

__all__ = ["commands"]

commands = click.Group()


@command(commands, "record")
@click.argument("deployment")
@click.option("--git-sha", required=True)
@click.option("--migration", required=True, help="Version of the database's schema.")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Environment variables; default: the platform's. Values are never kept.",
)
@click.option(
    "--backward-compatible/--backward-incompatible",
    default=None,
    help="Whether the release before runs on this one's schema; default: not known.",
)
async def record(
    settings: Settings,
    screen: Screen,
    *,
    deployment: str,
    git_sha: str,
    migration: str,
    env_file: Path | None,
    backward_compatible: bool | None,
) -> int:
    """Record a deployment that has gone out.

    With it the hashes of the rollback scripts that are here, and the schema's
    fingerprint: a rollback of the schema runs no other scripts.

    Example: rollback record dpl_abc --git-sha "$GITHUB_SHA" --migration 20260811
    """
    text = _read(env_file) if env_file else None
    async with wiring.engine(settings, notice=screen.notice) as engine:
        part = (await engine.of(deployment)).part
        variables = await wiring.variables(
            settings, part=part, text=text, notice=screen.notice
        )
        recorded = await engine.record(
            deployment,
            git_sha=git_sha,
            migration=migration,
            variables=variables,
            backward_compatible=backward_compatible,
        )
        await record_schema(settings, migration, at=wiring.now(), notice=screen.notice)
    screen.data(deployment_document(recorded))
    screen.say(f"recorded {deployment} in {settings.environment}")
    if variables and not settings.fingerprint_key:
        screen.notice(
            "environment variables by name alone: set ROLLBACK_FINGERPRINT_KEY "
            "to be told which ones change"
        )
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} cannot be read: {type(error).__name__}.",
            mend="Give the path of a file with lines NAME=value.",
        ) from None


@command(commands, "history")
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--diff",
    nargs=2,
    metavar="A B",
    help="What changed between two deployments, environment variables too.",
)
@click.option("--health", is_flag=True, help="Every health status, with its time.")
async def history(
    settings: Settings,
    screen: Screen,
    *,
    limit: int,
    diff: tuple[str, str] | None,
    health: bool,
) -> int:
    """What was deployed, newest first, and whether the platform still has it.

    Example: rollback history --diff dpl_old dpl_new
    """
    async with wiring.ledger(settings, notice=screen.notice) as ledger:
        if diff:
            await _show_difference(ledger, settings.environment, diff, screen)
            return 0
        recorded = await ledger.history(settings.environment, limit=limit)
        past = await _past(ledger, settings.environment, recorded)
    places = await _places(settings, screen, recorded)
    screen.data(
        [
            deployment_document(version)
            | _place_document(place)
            | {"health_history": _health_document(past[version.deployment_id])}
            for version, place in zip(recorded, places, strict=True)
        ]
    )
    if health:
        _show_health(recorded, past, screen)
    else:
        _show(recorded, places, screen)
    _warn(places, screen)
    return 0


async def _past(
    ledger: Ledger, environment: str, recorded: tuple[DeploymentVersion, ...]
) -> dict[str, tuple[HealthRecord, ...]]:
    past: dict[str, tuple[HealthRecord, ...]] = {}

    async def ask(name: str) -> None:
        past[name] = await ledger.health_history(name, environment)

    async with anyio.create_task_group() as group:
        for each in recorded:
            group.start_soon(ask, each.deployment_id)
    return past


async def _places(
    settings: Settings, screen: Screen, recorded: tuple[DeploymentVersion, ...]
) -> tuple[Availability, ...]:
    """Each is looked up in the project of its own part."""
    found: dict[str, Availability] = {}
    for part in sorted({each.part for each in recorded}):
        shelf = wiring.shelf(settings, part=part, notice=screen.notice)
        of_part = [each for each in recorded if each.part == part]
        places = await shelf.look_up(of_part)
        found |= {place.deployment_id: place for place in places}
    return tuple(found[each.deployment_id] for each in recorded)


def _show(
    recorded: tuple[DeploymentVersion, ...],
    places: tuple[Availability, ...],
    screen: Screen,
) -> None:
    screen.table(
        ("deployment", "health", "recorded", "commit", "migration", "on the platform"),
        [
            (
                each.deployment_id,
                each.health_check_status.value,
                str(timestamp(each.timestamp)),
                each.git_sha[:12],
                each.db_migration_version,
                place.place.value,
            )
            for each, place in zip(recorded, places, strict=True)
        ],
    )


def _show_health(
    recorded: tuple[DeploymentVersion, ...],
    past: dict[str, tuple[HealthRecord, ...]],
    screen: Screen,
) -> None:
    screen.table(
        ("deployment", "at", "health"),
        [
            (each.deployment_id, str(timestamp(known.at)), known.status.value)
            for each in recorded
            for known in past[each.deployment_id]
        ],
    )


def _warn(places: tuple[Availability, ...], screen: Screen) -> None:
    """Say of what a rollback cannot go back to, or soon cannot."""
    for place in places:
        if place.place is Place.GONE:
            screen.say(f"{place.deployment_id} is gone from the platform", "yellow")
        if place.place is Place.LEAVING:
            screen.say(
                f"{place.deployment_id} is about to go: the platform may delete it "
                f"from {timestamp(place.leaves_at)} on",
                "yellow",
            )


def _place_document(place: Availability) -> dict[str, Any]:
    return {"available": place.place, "leaves_at": timestamp(place.leaves_at)}


def _health_document(past: tuple[HealthRecord, ...]) -> list[dict[str, Any]]:
    return [{"status": each.status, "at": timestamp(each.at)} for each in past]


async def _show_difference(
    ledger: Ledger, environment: str, names: tuple[str, str], screen: Screen
) -> None:
    before, after = [await _recorded(ledger, environment, name) for name in names]
    found = difference(before.environment_variables, after.environment_variables)
    screen.data(
        {
            "from": before.deployment_id,
            "to": after.deployment_id,
            "git_sha": {"from": before.git_sha, "to": after.git_sha},
            "db_migration_version": {
                "from": before.db_migration_version,
                "to": after.db_migration_version,
            },
            "environment_variables": _difference_document(found),
        }
    )
    screen.table(
        ("what", "before", "after"),
        [
            ("commit", before.git_sha[:12], after.git_sha[:12]),
            ("migration", before.db_migration_version, after.db_migration_version),
        ],
    )
    _say_difference(found, screen)


def _say_difference(found: Difference, screen: Screen) -> None:
    if not found.comparable:
        screen.say("one of the two has no environment variables on record", "yellow")
    for word in ("added", "removed", "changed", "unknown"):
        for name in getattr(found, word):
            screen.say(f"{word}\t{name}")
    if found == Difference():
        screen.say("no environment variable changed")


def _difference_document(found: Difference) -> dict[str, Any]:
    return {
        "comparable": found.comparable,
        "added": list(found.added),
        "removed": list(found.removed),
        "changed": list(found.changed),
        "unknown": list(found.unknown),
    }


async def _recorded(ledger: Ledger, environment: str, name: str) -> DeploymentVersion:
    found = await ledger.find(name, environment)
    if found is None:
        raise UnknownDeployment(name, where="to the ledger")
    return found
