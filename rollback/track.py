"""Stage 1: which deployments there were, and which one is the last stable."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from .errors import (
    LedgerUnreachable,
    NoStableDeployment,
    NotATarget,
    Refused,
    UnknownDeployment,
)
from .model import (
    DeploymentVersion,
    EnvironmentVariable,
    Health,
    HealthStatus,
    PlatformDeployment,
)
from .ports import Clock, Ledger, Platform

__all__ = [
    "KEPT",
    "Deployments",
    "last_served",
    "last_stable",
    "require_healthy",
    "require_passing",
    "version",
]

KEPT = 10  # the spec: "Keep last 10 deployments available for instant rollback"


def version(
    *,
    deployment_id: str,
    environment: str,
    at: datetime,
    git_sha: str,
    migration: str,
    part: str = "application",
    variables: tuple[EnvironmentVariable, ...] = (),
    backward_compatible: bool | None = None,
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
        environment_variables=variables,
        backward_compatible=backward_compatible,
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


async def last_served(
    platform: Platform,
    *,
    candidate: str | None,
    part: str,
    environment: str,
    failing: frozenset[str] = frozenset(),
) -> DeploymentVersion:
    """What a rollback goes back to while the ledger cannot be reached.

    The platform does not know what passed. Of its rollback candidates this is the
    newest that has served production, is not live, is not what its own last rollback
    went away from, and is not one of `failing`, which the ledger was to be told of. A
    gate acts on it too, because

    - the candidate has been proved bad, with users on it, and what this names has
      carried them before;
    - it has to pass its whole health check just before (`require_healthy`), also the
      components that the candidate fails on; one that is unhealthy only on account of a
      newer schema is refused, as nothing here knows the schema;
    - it may still be one that was rolled back earlier, which only the ledger knows:
      then the site is found not restored, from outside, and a person is called.
      Nothing goes back a second time.

    Raises `NoStableDeployment` when there is none.
    """
    live = set((await platform.live()).values())
    request = await platform.last_request()
    left = {request.from_deployment} if request and request.kind == "rollback" else ()
    for deployment in await platform.candidates():
        passed_over = {candidate, *live, *left, *failing}
        if may_be_target(deployment) and deployment.id not in passed_over:
            return _unrecorded(deployment, part=part, environment=environment)
    raise NoStableDeployment(
        "The ledger cannot be reached, and the platform has no other deployment "
        "that has served production."
    )


def _unrecorded(
    deployment: PlatformDeployment, *, part: str, environment: str
) -> DeploymentVersion:
    """A deployment as far as the platform alone knows it: nothing of its health."""
    return version(
        deployment_id=deployment.id,
        environment=environment,
        at=deployment.created_at,
        git_sha=deployment.git_sha,
        migration="",
        part=part,
    )


def require_healthy(health: Health, deployment_id: str) -> None:
    """Refuse (`NotATarget`) what does not pass its whole health check just now."""
    if health.healthy:
        return
    why = health.problem or f"unhealthy: {', '.join(sorted(health.unhealthy))}"
    raise NotATarget(
        f"Whether {deployment_id} ever passed is not known without the ledger, "
        f"and it does not pass now ({why}).",
        mend="Restore the ledger, or name a target with --to and --override.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployments:
    """The deployments of one part: as recorded, and as the platform has them."""

    ledger: Ledger
    platform: Platform
    clock: Clock
    environment: str
    part: str = "application"
    notice: Callable[[str], None] = lambda _: None

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
        """Its record; raises `UnknownDeployment` without one.

        Without the ledger it is what the platform knows of it.
        """
        try:
            recorded = await self.ledger.find(deployment_id, self.environment)
        except LedgerUnreachable as error:
            self.notice(f"what is recorded of {deployment_id} is not known: {error}")
            known = await self.on_platform(deployment_id)
            return _unrecorded(known, part=self.part, environment=self.environment)
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
        """The last stable one; raises `NoStableDeployment`.

        Without the ledger it is the last one that served (`last_served`).
        """
        try:
            return await last_stable(
                self.ledger,
                self.platform,
                self.environment,
                candidate=candidate,
                part=self.part,
            )
        except LedgerUnreachable as error:
            found = await last_served(
                self.platform,
                candidate=candidate,
                part=self.part,
                environment=self.environment,
                failing=error.failing,
            )
            self.notice(
                f"the ledger cannot be asked: {error} The platform's newest one that "
                f"served before is taken, if it is healthy: {found.deployment_id}"
            )
            return found

    async def passed(self, deployment_id: str) -> bool:
        """Whether it is recorded as passing; False where the ledger cannot say.

        Raises `NotATarget` for what the ledger knows otherwise.
        """
        try:
            recorded = await self.ledger.find(deployment_id, self.environment)
        except LedgerUnreachable as error:
            self.notice(f"whether {deployment_id} passed is not known: {error}")
            return False
        require_passing(recorded, deployment_id)
        return True

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
