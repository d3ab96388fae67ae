"""Stage 1: which deployments there were, and which one is the last stable."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from .errors import NoStableDeployment, NotATarget, Refused, UnknownDeployment
from .model import DeploymentVersion, HealthStatus, PlatformDeployment
from .ports import Clock, Ledger, Platform

__all__ = ["KEPT", "Deployments", "last_stable", "require_passing", "version"]

KEPT = 10  # the spec: "Keep last 10 deployments available for instant rollback"


def version(
    *,
    deployment_id: str,
    environment: str,
    at: datetime,
    git_sha: str,
    migration: str,
    part: str = "application",
) -> DeploymentVersion:
    """The record of a deployment that just went out; its health is not known yet."""
    return DeploymentVersion(
        id=f"{environment}-{deployment_id}",
        deployment_id=deployment_id,
        environment=environment,
        timestamp=at,
        git_sha=git_sha,
        db_migration_version=migration,
        part=part,
    )


def may_be_target(deployment: PlatformDeployment) -> bool:
    """Whether the platform can go back to it: built, kept, and once live."""
    return deployment.ready and deployment.candidate and deployment.served


async def last_stable(
    ledger: Ledger,
    platform: Platform,
    environment: str,
    *,
    candidate: str | None,
    part: str = "application",
) -> DeploymentVersion:
    """The newest of this part that passed, is not the candidate, and is still there.

    Raises `NoStableDeployment` when none of the last ten is.
    """
    gone = []
    for recorded in await ledger.history(environment, limit=KEPT, part=part):
        passing = recorded.health_check_status is HealthStatus.PASSING
        if not passing or recorded.deployment_id == candidate:
            continue
        deployment = await platform.deployment(recorded.deployment_id)
        if deployment and may_be_target(deployment):
            return recorded
        gone.append(recorded.deployment_id)
    if gone:
        raise NoStableDeployment(
            "The platform cannot go back to any deployment recorded as passing: "
            + ", ".join(gone)
            + "."
        )
    raise NoStableDeployment


def require_passing(recorded: DeploymentVersion | None, deployment_id: str) -> None:
    """Refuse (`NotATarget`) what was not recorded as passing."""
    if recorded and recorded.health_check_status is HealthStatus.PASSING:
        return
    status = recorded.health_check_status if recorded else "not recorded"
    raise NotATarget(
        f"{deployment_id} is not recorded as passing, but as {status}.",
        mend="Probe it with `rollback health`, or override with a reason.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployments:
    """The deployments of one part: as recorded, and as the platform has them."""

    ledger: Ledger
    platform: Platform
    clock: Clock
    environment: str
    part: str = "application"

    async def live(self) -> str:
        """The deployment that is live; raises `Refused` when hosts differ."""
        live = set((await self.platform.live()).values())
        if len(live) != 1:
            raise Refused(
                f"The production hosts serve {len(live)} deployments: "
                f"{', '.join(sorted(live)) or 'none'}.",
                mend="Name the bad one with --from.",
            )
        return live.pop()

    async def recorded(self, deployment_id: str) -> DeploymentVersion:
        """Its record; raises `UnknownDeployment` without one."""
        recorded = await self.ledger.find(deployment_id, self.environment)
        if recorded is None:
            raise UnknownDeployment(deployment_id, where="to the ledger")
        return recorded

    async def on_platform(self, deployment_id: str) -> PlatformDeployment:
        """As the platform knows it; raises `UnknownDeployment` if it does not."""
        deployment = await self.platform.deployment(deployment_id)
        if deployment is None:
            raise UnknownDeployment(deployment_id, where="on the platform")
        return deployment

    async def release(self, recorded: DeploymentVersion) -> PlatformDeployment:
        """As on the platform; its commit as recorded, which the platform may lack."""
        deployment = await self.on_platform(recorded.deployment_id)
        return replace(deployment, git_sha=recorded.git_sha)

    async def stable(self, *, candidate: str) -> DeploymentVersion:
        """The last stable one; raises `NoStableDeployment`."""
        return await last_stable(
            self.ledger,
            self.platform,
            self.environment,
            candidate=candidate,
            part=self.part,
        )

    async def baseline(self, *, candidate: str) -> PlatformDeployment | None:
        """The last stable one as on the platform, to compare with; None without one."""
        with suppress(Refused):
            return await self.release(await self.stable(candidate=candidate))
        return None

    async def set_health(self, deployment_id: str, status: HealthStatus) -> None:
        """Record a health status; what was never recorded has none."""
        with suppress(UnknownDeployment):
            await self.ledger.set_health(
                deployment_id, self.environment, status, self.clock.now()
            )
