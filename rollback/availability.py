"""Whether what was deployed can still be gone back to: each one is looked up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import anyio

from .errors import NotATarget, Unreachable
from .model import DeploymentVersion, PlatformDeployment, Retention
from .ports import Platform, Project

__all__ = ["LEAST_DAYS", "Availability", "Place", "Shelf", "too_short"]

SOON = timedelta(days=7)
LEAST_DAYS = 90  # ten deployments of a team that deploys once a week, and some days


class Place(StrEnum):
    """Where a recorded deployment is now."""

    LIVE = "live"
    KEPT = "kept"
    LEAVING = "leaving"
    NOT_SERVABLE = "not servable"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """A recorded deployment on the platform.

    `leaves_at` is when retention may delete it; None where that is not foreseen.
    """

    deployment_id: str
    place: Place
    leaves_at: datetime | None = None


def too_short(retention: Retention, *, wanted: int) -> bool:
    """Whether retention may take one of the deployments that are to be kept."""
    short = retention.days is not None and retention.days < LEAST_DAYS
    return short and retention.kept < wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What the platform keeps. Without a platform every place is unknown."""

    platform: Platform | None
    project: Project | None
    now: datetime
    notice: Callable[[str], None] = lambda _: None

    async def look_up(
        self, recorded: Sequence[DeploymentVersion]
    ) -> tuple[Availability, ...]:
        """Where each of them is now, all looked up side by side."""
        found: dict[str, Availability] = {}
        try:
            if self.platform is not None:
                found = await self._look_up(self.platform, recorded)
        except (Unreachable, NotATarget) as error:
            self.notice(f"what the platform still has is not known: {error.message}")
        return tuple(
            found.get(each.deployment_id)
            or Availability(deployment_id=each.deployment_id, place=Place.UNKNOWN)
            for each in recorded
        )

    async def _look_up(
        self, platform: Platform, recorded: Sequence[DeploymentVersion]
    ) -> dict[str, Availability]:
        live = set((await platform.live()).values())
        newest = [each.id for each in await platform.candidates()]
        retention = await self._retention()
        seen: dict[str, PlatformDeployment | None] = {}
        problems: list[Unreachable | NotATarget] = []

        async def look(deployment_id: str) -> None:
            try:
                seen[deployment_id] = await platform.deployment(deployment_id)
            except (Unreachable, NotATarget) as error:
                problems.append(error)

        async with anyio.create_task_group() as group:
            for each in recorded:
                group.start_soon(look, each.deployment_id)
        if problems:
            self.notice(f"not every one could be looked up: {problems[0].message}")
        return {
            name: self._place(name, known, live, newest, retention)
            for name, known in seen.items()
        }

    async def _retention(self) -> Retention | None:
        try:
            return await self.project.retention() if self.project else None
        except (Unreachable, NotATarget) as error:
            self.notice(f"how long the platform keeps is not known: {error.message}")
            return None

    def _place(
        self,
        name: str,
        known: PlatformDeployment | None,
        live: set[str],
        newest: list[str],
        retention: Retention | None,
    ) -> Availability:
        if name in live:
            return Availability(deployment_id=name, place=Place.LIVE)
        if known is None or not known.ready:
            return Availability(deployment_id=name, place=Place.GONE)
        if not (known.candidate and known.served):
            return Availability(deployment_id=name, place=Place.NOT_SERVABLE)
        leaves = _leaves_at(known, newest, retention)
        leaving = leaves is not None and leaves - self.now < SOON
        place = Place.LEAVING if leaving else Place.KEPT
        return Availability(deployment_id=name, place=place, leaves_at=leaves)


def _leaves_at(
    known: PlatformDeployment, newest: list[str], retention: Retention | None
) -> datetime | None:
    """When its time is over; the newest ones are kept whatever their age."""
    if retention is None or retention.days is None:
        return None
    if known.id in newest[: retention.kept]:
        return None
    return known.created_at + timedelta(days=retention.days)
