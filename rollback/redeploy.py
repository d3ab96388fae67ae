"""What is live built and started anew, as a step of a recovery.

A rollback moves production to functions that were built before, with the environment
variables of then. Where these have changed since, or what the functions hold in memory
is wrong, the same sources are built again. The new deployment is another one: it is
looked at before production is moved to it, and recorded. Where the platform lets new
builds go live by themselves, which it does not after a rollback, it is looked at then.
"""

from contextlib import suppress
from dataclasses import dataclass

import anyio

from .engine import Engine
from .errors import LedgerUnreachable, PlatformUnreachable, StepFailed
from .model import PlatformDeployment, Step
from .ports import Notice, Platform
from .targets.application import Application

__all__ = ["Redeployed"]

POLL_SECONDS = 2.0
LOST_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class Redeployed:
    """Has what is live built again. `token` marks the build: one for a recovery."""

    engine: Engine
    token: str
    notice: Notice
    build_seconds: float = 900.0
    name: str = "redeploy"

    async def check(self, step: Step) -> bool:  # noqa: ARG002 - the port's
        """Whether this recovery's build is live."""
        found = await self._platform.redeployed(self.token)
        return found is not None and await self._live() == found.id

    async def apply(self, step: Step, *, reason: str) -> str:  # noqa: ARG002 - the port's
        """Ask once for a build; one that a killed run has asked for is taken."""
        if await self._platform.redeployed(self.token) is None:
            live = await self._live()
            try:
                await self._platform.redeploy(live, token=self.token)
            except PlatformUnreachable:
                if not await self._was_taken():
                    raise
        return "the platform builds"

    async def verify(self, step: Step) -> str:
        """Wait for the build, look at it, move production to it, and record it."""
        built = await self._built()
        seen = await self.engine.preparation.health(built)
        before = await self._live()
        if not seen.healthy:
            why = seen.problem or ", ".join(sorted(seen.unhealthy))
            serves = (
                "serves it already" if before == built.id else "was not moved to it"
            )
            raise StepFailed(
                f"{built.id} was built anew and is not healthy ({why}): production "
                f"{serves}.",
                mend="Look at the environment variables of the project.",
            )
        if before != built.id:
            await self._move(before, built.id, step)
        await self._record(before, built)
        return f"production serves {built.id}, built anew"

    async def _built(self) -> PlatformDeployment:
        self.notice("waiting for the build")
        with anyio.move_on_after(self.build_seconds):
            while True:
                with suppress(PlatformUnreachable):
                    found = await self._platform.redeployed(self.token)
                    if found and found.ready:
                        return found
                await anyio.sleep(POLL_SECONDS)
        raise StepFailed(
            f"The build was not ready after {self.build_seconds:.0f} s.",
            mend="Look at it on the platform; run this again when it is ready.",
        )

    async def _was_taken(self) -> bool:
        """Whether a build shows within a few seconds of a lost reply."""
        with anyio.move_on_after(LOST_SECONDS):
            while True:
                with suppress(PlatformUnreachable):
                    if await self._platform.redeployed(self.token):
                        return True
                await anyio.sleep(1)
        return False

    async def _move(self, before: str, after: str, step: Step) -> None:
        """Promoted as going forward is; what new builds do stays as it was."""
        forward = Step(
            target="application",
            name=step.name,
            from_deployment=before,
            to_deployment=after,
            forward=True,
            auto_assign=await self._platform.auto_assigns(),
            hosts=await self._platform.other_hosts(before),
        )
        move = Application(self._platform)
        if not await move.check(forward):
            await move.apply(forward, reason=step.name)
        self.notice(await move.verify(forward))

    async def _record(self, before: str, built: PlatformDeployment) -> None:
        """With the facts of what it was built from: it is what passes now."""
        environment = self.engine.policy.environment
        with suppress(LedgerUnreachable):
            known = await self.engine.ledger.find(before, environment)
            await self.engine.record(
                built.id,
                git_sha=known.git_sha if known else built.git_sha,
                migration=known.db_migration_version if known else "",
            )
            await self.engine.health(built.id)

    async def _live(self) -> str:
        return await self.engine.preparation.deployments.live()

    @property
    def _platform(self) -> Platform:
        return self.engine.platform
