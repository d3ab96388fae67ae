"""The application: production's aliases point at a deployment, and are moved.

The algorithm is the one that survives the traps of the platform's API: read what is
live, ask once, never ask again blindly, believe only what the hosts themselves resolve
to (a job may report success for somebody else's request, and custom aliases stay). What
somebody else has moved meanwhile is theirs: a hotfix is not rolled over.
"""

from collections.abc import Mapping
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
RUNNING = ("pending", "in-progress")


@dataclass(slots=True)
class Application:
    """Rolls production back on a `Platform`. `timeout_seconds` bounds the move."""

    platform: Platform
    timeout_seconds: float = 180.0
    name: str = "application"
    _before: AliasRequest | None = field(default=None, init=False)
    _served: Mapping[str, str] = field(default_factory=dict, init=False)

    async def check(self, step: Step) -> bool:
        """Whether every production host serves the target already."""
        hosts = await self._hosts()
        return bool(hosts) and not _behind(hosts, step)

    async def apply(self, step: Step, *, reason: str) -> str:
        """Ask the platform once. A lost reply is looked into, not repeated.

        Raises `StepFailed` without asking when what is to be undone is live nowhere.
        """
        self._before = await self.platform.last_request()
        self._served = await self.platform.live()
        if step.from_deployment not in self._served.values():
            raise StepFailed(
                f"{step.from_deployment} is no longer live: {_told(self._served)}; "
                "nothing was asked of the platform.",
                mend="Look at what is live now; it may be a fix that came meanwhile.",
            )
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
        behind: dict[str, str | None] = {}
        with anyio.move_on_after(self.timeout_seconds):
            while True:
                # One unanswered look is no reason to give up a move that goes on.
                with suppress(PlatformUnreachable):
                    hosts = await self._hosts()
                    if not hosts:
                        raise StepFailed("The platform serves production on no host.")
                    behind = _behind(hosts, step)
                    if not behind:
                        return f"every production host serves {step.to_deployment}"
                    await self._push(behind, step)
                await anyio.sleep(POLL_SECONDS)
        raise StepFailed(
            f"After {self.timeout_seconds:.0f} s the platform had not moved everything "
            f"to {step.to_deployment}: {_told(behind)}; the request may still run.",
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
        return (
            request is not None
            and request.kind == "rollback"
            and request.to_deployment == step.to_deployment
            and self._newer(request)
        )

    def _newer(self, request: AliasRequest) -> bool:
        return self._before is None or request.requested_at > self._before.requested_at

    async def _hosts(self) -> dict[str, str | None]:
        """What each production host serves; None where the platform names nothing."""
        hosts = await self.platform.production_hosts()
        live = await self.platform.live()
        return {host: live.get(host) for host in sorted({*hosts, *live})}

    async def _push(self, behind: Mapping[str, str | None], step: Step) -> None:
        """Give up on our failed job; assign what a finished one left behind."""
        request = await self.platform.last_request()
        ours = self._ours(request, step)
        if ours and request and request.status in ("failed", "skipped"):
            raise StepFailed(
                f"The platform's job ended as {request.status}; still elsewhere: "
                f"{', '.join(behind)}.",
                mend="Assign the hosts by hand on the platform.",
            )
        if not self._may_assign(request, step):
            return
        for host, serves in behind.items():
            # A host that was moved after we asked is in somebody else's hands.
            if serves is None or serves == self._served.get(host):
                await self.platform.assign(step.to_deployment, host)

    def _may_assign(self, request: AliasRequest | None, step: Step) -> bool:
        """Whether nothing is under way that moves the hosts, here or elsewhere.

        Without a newer request the platform took ours as done already, as it does
        when an earlier run was killed between its job and the custom hosts.
        """
        if request is None:
            return True
        if request.status in RUNNING:
            return False
        done = request.status == "succeeded"
        return not self._newer(request) or (
            done and request.to_deployment == step.to_deployment
        )


def _behind(hosts: Mapping[str, str | None], step: Step) -> dict[str, str | None]:
    return {h: serves for h, serves in hosts.items() if serves != step.to_deployment}


def _told(hosts: Mapping[str, str | None]) -> str:
    told = (f"{host} serves {serves or 'nothing'}" for host, serves in hosts.items())
    return ", ".join(told) or "no host serves anything"
