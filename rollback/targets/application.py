"""The application: production's aliases point at a deployment, and are moved.

The algorithm is the one that survives the traps of the platform's API: read what is
live, ask once, never ask again blindly, believe only what the hosts themselves resolve
to (a job may report success for somebody else's request, and custom aliases stay).
"""

from contextlib import suppress
from dataclasses import dataclass, field

import anyio

from rollback.errors import PlatformUnreachable, StepFailed
from rollback.model import AliasRequest, Step
from rollback.ports import Platform

__all__ = ["Application"]

POLL_SECONDS = (
    1.0  # the platform's limits are per endpoint; its own CLI asks 4 a second
)


@dataclass(slots=True)
class Application:
    """Rolls production back on a `Platform`. `timeout_seconds` bounds the move."""

    platform: Platform
    timeout_seconds: float = 180.0
    name: str = "application"
    _before: AliasRequest | None = field(default=None, init=False)

    async def check(self, step: Step) -> bool:
        """Whether every production host serves the target already."""
        live = await self.platform.live()
        return set(live.values()) == {step.to_deployment}

    async def apply(self, step: Step, *, reason: str) -> str:
        """Ask the platform once. A lost reply is looked into, not repeated."""
        self._before = await self.platform.last_request()
        try:
            await self.platform.roll_back(step.to_deployment, description=reason[:250])
        except PlatformUnreachable as error:
            if not self._ours(await self._after_lost_reply(error), step):
                raise StepFailed(
                    f"The platform did not take the request: {error.message}"
                ) from error
        return f"the platform accepted a rollback to {step.to_deployment}"

    async def verify(self, step: Step) -> str:
        """Wait until every production host serves the target."""
        hosts: tuple[str, ...] = ()
        with anyio.move_on_after(self.timeout_seconds):
            while True:
                # One unanswered look is no reason to give up a move that goes on.
                with suppress(PlatformUnreachable):
                    hosts = await self._behind(step.to_deployment)
                    if not hosts:
                        return f"every production host serves {step.to_deployment}"
                    await self._push(hosts, step)
                await anyio.sleep(POLL_SECONDS)
        raise StepFailed(
            f"After {self.timeout_seconds:.0f} s the platform had not moved "
            f"{', '.join(hosts)} to {step.to_deployment}; the request may still run.",
            mend="Look at the project on the platform and assign the hosts by hand.",
        )

    async def _after_lost_reply(
        self, error: PlatformUnreachable
    ) -> AliasRequest | None:
        try:
            return await self.platform.last_request()
        except PlatformUnreachable:
            raise StepFailed(
                f"Whether the platform took the request is not known: {error.message}"
            ) from error

    def _ours(self, request: AliasRequest | None, step: Step) -> bool:
        """Whether this is a rollback to our target, requested after we asked."""
        if request is None or request.kind != "rollback":
            return False
        newer = self._before is None or request.requested_at > self._before.requested_at
        return newer and request.to_deployment == step.to_deployment

    async def _behind(self, target: str) -> tuple[str, ...]:
        live = await self.platform.live()
        return tuple(sorted(host for host, serves in live.items() if serves != target))

    async def _push(self, hosts: tuple[str, ...], step: Step) -> None:
        """Give up on a failed job; assign the hosts that a finished one left behind."""
        request = await self.platform.last_request()
        if request is None or not self._ours(request, step):
            return
        if request.status in ("failed", "skipped"):
            raise StepFailed(
                f"The platform's job ended as {request.status}; still elsewhere: "
                f"{', '.join(hosts)}.",
                mend="Assign the hosts by hand on the platform.",
            )
        if request.status == "succeeded":
            for host in hosts:
                await self.platform.assign(step.to_deployment, host)
