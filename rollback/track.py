"""Stage 1: which deployments there were, and which one is the last stable."""

from datetime import datetime

from .errors import NoStableDeployment, NotATarget
from .model import DeploymentVersion, HealthStatus, PlatformDeployment
from .ports import Ledger, Platform

__all__ = ["KEPT", "last_stable", "require_passing", "version"]

KEPT = 10  # the spec: "Keep last 10 deployments available for instant rollback"


def version(
    *,
    deployment_id: str,
    environment: str,
    at: datetime,
    git_sha: str,
    migration: str,
) -> DeploymentVersion:
    """The record of a deployment that just went out; its health is not known yet."""
    return DeploymentVersion(
        id=f"{environment}-{deployment_id}",
        deployment_id=deployment_id,
        environment=environment,
        timestamp=at,
        git_sha=git_sha,
        db_migration_version=migration,
    )


def may_be_target(deployment: PlatformDeployment) -> bool:
    """Whether the platform can go back to it: built, kept, and once live."""
    return deployment.ready and deployment.candidate and deployment.served


async def last_stable(
    ledger: Ledger, platform: Platform, environment: str, *, candidate: str | None
) -> DeploymentVersion:
    """The newest deployment that passed, is not the candidate, and is still there.

    Raises `NoStableDeployment` when none of the last ten is.
    """
    gone = []
    for recorded in await ledger.history(environment, limit=KEPT):
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
