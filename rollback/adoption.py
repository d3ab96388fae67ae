"""What `rollback init` does: the files that a project needs, and its first stable.

Each act looks first, so that a second run changes nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from .availability import LEAST_DAYS, too_short
from .engine import Engine
from .errors import BadInput
from .model import DeploymentVersion, EnvironmentVariable, HealthStatus, Retention
from .ports import Project
from .settings import Settings
from .track import KEPT

__all__ = ["LONGER", "Act", "Did", "FirstStable", "lengthen", "texts", "write"]

WORKFLOW = Path(".github/workflows/rollback-gate.yml")
CONFIG = Path("rollback.toml")
# Never a secret: what may stand in a file that is committed.
PLAIN = (
    "vercel_team_id",
    "vercel_project_id",
    "site_url",
    "sentry_org",
    "sentry_project",
)
LONGER = f"keep production deployments for {LEAST_DAYS} days"


class Did(StrEnum):
    """What became of one act."""

    DONE = "done"
    ALREADY = "already"
    PLANNED = "planned"
    LEFT = "left"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that is to be so afterwards, and what became of it."""

    name: str
    did: Did
    said: str
    mend: str = ""


# -- files ----------------------------------------------------------------------


def texts(settings: Settings) -> dict[Path, str]:
    """The files, as they are to be: what is known is filled in."""
    shipped = files(__package__).joinpath("templates")
    config = shipped.joinpath("rollback.toml").read_text("utf-8")
    lines = [_filled(line, settings) for line in config.splitlines()]
    return {
        CONFIG: "\n".join(lines) + "\n",
        WORKFLOW: shipped.joinpath("rollback-gate.yml").read_text("utf-8"),
    }


def _filled(line: str, settings: Settings) -> str:
    name = line.removeprefix("#").partition(" =")[0]
    if name == "environment":
        return f"environment = {json.dumps(settings.environment)}"
    value = getattr(settings, name) if name in PLAIN else None
    return f"{name} = {json.dumps(value)}" if value else line


def write(path: Path, text: str, *, force: bool, plan: bool) -> Act:
    """Write one file. One that is there and different is left, unless forced."""
    name, there = str(path), path.exists()
    try:
        if there and path.read_text("utf-8") == text:
            return Act(name=name, did=Did.ALREADY, said="is as it would be written")
        if there and not force:
            return Act(
                name=name,
                did=Did.LEFT,
                said="is there, and was left as it is",
                mend="--force overwrites it.",
            )
        if plan:
            said = "would be overwritten" if there else "would be written"
            return Act(name=name, did=Did.PLANNED, said=said)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} cannot be written: {type(error).__name__}.",
            mend="Run it in the project's folder, as somebody who may write there.",
        ) from error
    return Act(name=name, did=Did.DONE, said="overwritten" if there else "written")


# -- the first stable --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStable:
    """Adopts what is live: recorded as it is, and as passing only where it passes."""

    engine: Engine
    migration: str
    variables: tuple[EnvironmentVariable, ...]
    plan: bool

    async def acts(self) -> Iterable[Act]:
        """The record of what is live, and its health."""
        live = await self.engine.preparation.deployments.live()
        known = await self.engine.ledger.find(live, self.engine.policy.environment)
        return await self._record(live, known), await self._health(live, known)

    async def _record(self, live: str, known: DeploymentVersion | None) -> Act:
        name = "record what is live"
        if known and self.migration in ("", known.db_migration_version):
            return Act(name=name, did=Did.ALREADY, said=f"{live} is on record")
        if self.plan:
            return Act(name=name, did=Did.PLANNED, said=f"{live} would be recorded")
        deployment = await self.engine.platform.deployment(live)
        recorded = await self.engine.record(
            live,
            git_sha=deployment.git_sha if deployment else "",
            migration=self.migration or (known.db_migration_version if known else ""),
            variables=self.variables,
        )
        at = f"at migration {recorded.db_migration_version or 'not known'}"
        return Act(name=name, did=Did.DONE, said=f"{live} is recorded, {at}")

    async def _health(self, live: str, known: DeploymentVersion | None) -> Act:
        name = "the first stable"
        if known and known.health_check_status is HealthStatus.PASSING:
            return Act(name=name, did=Did.ALREADY, said=f"{live} passes, as recorded")
        if self.plan:
            said = f"{live} would be probed, and recorded as passing if it does"
            return Act(name=name, did=Did.PLANNED, said=said)
        seen = await self.engine.health(live)
        if seen.healthy:
            return Act(name=name, did=Did.DONE, said=f"{live} passes")
        why = seen.problem or f"unhealthy: {', '.join(sorted(seen.unhealthy))}"
        return Act(
            name=name,
            did=Did.FAILED,
            said=f"{live} does not pass: {why}",
            mend="Mend it, or deploy a release that passes; then run this again.",
        )


# -- retention ---------------------------------------------------------------------


async def lengthen(project: Project, *, kept: Retention, agreed: bool) -> Act:
    """Keep production deployments long enough, where that was agreed to."""
    name = f"keep the last {KEPT}"
    days = "for ever" if kept.days is None else f"{kept.days} days"
    said = f"kept {days}, and the newest {kept.kept} in any case"
    if not too_short(kept, wanted=KEPT):
        return Act(name=name, did=Did.ALREADY, said=said)
    if not agreed:
        return Act(name=name, did=Did.LEFT, said=said, mend=f"--yes lets it {LONGER}.")
    await project.keep_longer(days=LEAST_DAYS)
    return Act(name=name, did=Did.DONE, said=f"kept {LEAST_DAYS} days from now on")
