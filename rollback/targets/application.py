"""The application: production's hosts point at a deployment, and are moved.

The algorithm is the one that survives the traps of the platform's API: read what is
live, ask once, never ask again blindly, believe only what the hosts themselves resolve
to (a job may report success for somebody else's request, and hosts that were pointed by
hand stay). What somebody else has moved meanwhile is theirs: a hotfix is not rolled
over. A rolling release of the bad deployment is live too, and ends with the same
request. The way forward again, a promotion, is the same with another verb.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio

from rollback.errors import (
    NotATarget,
    PlatformBusy,
    PlatformDenied,
    PlatformUnreachable,
    StepFailed,
    Unreachable,
)
from rollback.model import AliasRequest, RollingRelease, Step
from rollback.ports import Platform

__all__ = ["Application"]

POLL_SECONDS = (
    1.0  # the platform's limits are per endpoint; its own CLI asks 4 a second
)
RUNNING = ("pending", "in-progress")
BUSY_SECONDS = 45.0  # of the 60 in which a rollback has to be initiated
NOTHING = "nothing of this project"
LOST_SECONDS = 5.0  # how long a request whose reply was lost may take to show


@dataclass(slots=True)
class Application:
    """Moves production on a `Platform`. `timeout_seconds` bounds the move."""

    platform: Platform
    timeout_seconds: float = 180.0
    name: str = "application"
    _before: AliasRequest | None = field(default=None, init=False)
    _served: Mapping[str, str | None] = field(default_factory=dict, init=False)
    _rolling: bool = field(default=False, init=False)

    async def check(self, step: Step) -> bool:
        """Whether every host serves the target already, and nothing else rolls out."""
        hosts = await self._hosts(step)
        rolling = await self._rolling_release()
        return bool(hosts) and not _behind(hosts, step) and not _rolls(rolling, step)

    async def apply(self, step: Step, *, reason: str) -> str:
        """Ask the platform once. A lost reply is looked into, not repeated.

        Raises `StepFailed` without asking when what is to be undone is live nowhere.
        """
        self._before = await self.platform.last_request()
        await self._require_live(step)
        deadline = anyio.current_time() + BUSY_SECONDS
        while True:
            try:
                await self._ask(step, reason)
            except PlatformBusy as error:
                await self._wait(error, deadline)
                await self._require_live(step)
            except PlatformUnreachable as error:
                if not await self._was_taken(step, error):
                    raise StepFailed(
                        f"The platform did not take the request: {error.message}"
                    ) from error
                break
            else:
                break
        return f"the platform accepted a {_kind(step)} to {step.to_deployment}"

    async def verify(self, step: Step) -> str:
        """Wait until every host serves the target; tell what builds do from now on."""
        behind: dict[str, str | None] = {}
        moved = False
        with anyio.move_on_after(self.timeout_seconds):
            while not moved:
                # One unanswered look is no reason to give up a move that goes on.
                with suppress(PlatformUnreachable):
                    hosts = await self._hosts(step)
                    if not hosts:
                        raise StepFailed("The platform serves production on no host.")
                    behind = _behind(hosts, step)
                    moved = not behind and not await self._still_rolls(step)
                    if not moved:
                        await self._push(behind, step)
                if not moved:
                    await anyio.sleep(POLL_SECONDS)
        if moved:
            done = f"every production host serves {step.to_deployment}"
            return done + await self._builds(step)
        raise StepFailed(
            f"After {self.timeout_seconds:.0f} s the platform had not moved everything "
            f"to {step.to_deployment}: {_told(behind)}; the request may still run.",
            mend="Look at the project on the platform and assign the hosts by hand.",
        )

    # -- asking ---------------------------------------------------------------

    async def _require_live(self, step: Step) -> None:
        """What is to be undone must be live: else a fix came meanwhile."""
        rolling = await self._rolling_release()
        self._rolling = _rolls(rolling, step)
        self._served = await self._hosts(step)
        if step.forward and rolling:
            raise StepFailed(
                f"A rolling release of {rolling.canary} is under way: "
                "nothing was asked of the platform.",
                mend="Complete or abort it first.",
            )
        if step.from_deployment not in self._served.values() and not self._rolling:
            raise StepFailed(
                f"{step.from_deployment} is no longer live: {_told(self._served)}; "
                "nothing was asked of the platform.",
                mend="Look at what is live now; it may be a fix that came meanwhile.",
            )

    async def _ask(self, step: Step, reason: str) -> None:
        if not step.forward:
            await self.platform.roll_back(step.to_deployment, description=reason[:250])
        elif not await self.platform.promote(step.to_deployment):
            raise StepFailed(
                f"The platform queued {step.to_deployment} behind a rolling release.",
                mend="It goes live when that is completed or aborted.",
            )

    async def _wait(self, error: PlatformBusy, deadline: float) -> None:
        """As long as the platform asks: it said that it took nothing."""
        wait = error.wait_seconds
        if wait is None or anyio.current_time() + wait > deadline:
            raise StepFailed(
                f"The platform did not take the request: {error.message}",
                mend="Run it again when the platform takes requests.",
            ) from error
        await anyio.sleep(max(wait, POLL_SECONDS))

    async def _was_taken(self, step: Step, lost: PlatformUnreachable) -> bool:
        """Whether our request shows within a few seconds of its lost reply."""
        seen = False
        with anyio.move_on_after(LOST_SECONDS):
            while True:
                with suppress(PlatformUnreachable):
                    if self._ours(await self.platform.last_request(), step):
                        return True
                    seen = True
                await anyio.sleep(POLL_SECONDS)
        if not seen:
            raise StepFailed(
                f"Whether the platform took the request is not known: {lost.message}"
            ) from lost
        return False

    def _ours(self, request: AliasRequest | None, step: Step) -> bool:
        """Whether this is our kind of move to our target, requested after we asked."""
        return (
            request is not None
            and request.kind == _kind(step)
            and request.to_deployment == step.to_deployment
            and self._newer(request)
        )

    def _newer(self, request: AliasRequest) -> bool:
        return self._before is None or request.requested_at > self._before.requested_at

    # -- looking --------------------------------------------------------------

    async def _hosts(self, step: Step) -> dict[str, str | None]:
        """What each host serves; None where the platform names nothing."""
        hosts = await self.platform.production_hosts()
        live = dict(await self.platform.live())
        for host in step.hosts:
            served = await self.platform.deployment(host)
            if served:
                live[host] = served.id
        return {h: live.get(h) for h in sorted({*hosts, *live, *step.hosts})}

    async def _rolling_release(self) -> RollingRelease | None:
        """None, too, where the plan or the token does not reach as far."""
        with suppress(Unreachable, NotATarget):
            return await self.platform.rolling_release()
        return None

    async def _still_rolls(self, step: Step) -> bool:
        return self._rolling and _rolls(await self._rolling_release(), step)

    # -- moving ---------------------------------------------------------------

    async def _push(self, behind: Mapping[str, str | None], step: Step) -> None:
        """Give up on our failed job; assign what a finished one left behind."""
        request = await self.platform.last_request()
        ours = self._ours(request, step)
        if ours and request and request.status not in (*RUNNING, "succeeded"):
            raise StepFailed(
                f"The platform's job ended as {request.status}; still elsewhere: "
                f"{', '.join(behind)}.",
                mend="Assign the hosts by hand on the platform.",
            )
        if not self._may_assign(request, step):
            return
        await self._assign(await self._left_behind(behind, step), step)

    async def _left_behind(
        self, behind: Mapping[str, str | None], step: Step
    ) -> list[str]:
        """What served the old one when we asked and still does, or serves nothing.

        Whatever else a host serves is in somebody else's hands, now or already then.
        """
        dark = await self.platform.dark_hosts() if None in behind.values() else ()
        mine = (None, step.from_deployment)
        return [
            host
            for host, serves in behind.items()
            if self._served.get(host) in mine
            and (host in dark if serves is None else serves == step.from_deployment)
        ]

    async def _assign(self, hosts: Sequence[str], step: Step) -> None:
        """Each host, whatever became of another; then what was refused is raised."""
        refused: list[tuple[str, PlatformDenied | NotATarget]] = []
        lost: PlatformUnreachable | None = None
        for host in hosts:
            try:
                await self.platform.assign(step.to_deployment, host)
            except PlatformUnreachable as error:
                lost = error
            except (PlatformDenied, NotATarget) as error:
                refused.append((host, error))
        if lost:
            raise lost  # they are looked at, and tried, again
        if refused:
            told = "; ".join(f"{host}: {error.message}" for host, error in refused)
            first = refused[0][1]
            raise type(first)(f"Not assigned: {told}", mend=first.mend) from first

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

    async def _builds(self, step: Step) -> str:
        """What new builds do from now on. Forward, they do what they did before."""
        try:
            on = await self.platform.auto_assigns()
            if step.forward and on and step.auto_assign is False:
                await self.platform.set_auto_assign(on=False)
                return "; new builds wait to be promoted, as before"
        except (Unreachable, NotATarget) as error:
            return f"; what new builds do now is not known: {error.message}"
        return "" if on is not False else "; new builds do not go live by themselves"


def _kind(step: Step) -> str:
    return "promote" if step.forward else "rollback"


def _rolls(rolling: RollingRelease | None, step: Step) -> bool:
    return rolling is not None and rolling.canary == step.from_deployment


def _behind(hosts: Mapping[str, str | None], step: Step) -> dict[str, str | None]:
    return {h: serves for h, serves in hosts.items() if serves != step.to_deployment}


def _told(hosts: Mapping[str, str | None]) -> str:
    told = (f"{host} serves {serves or NOTHING}" for host, serves in hosts.items())
    return ", ".join(told) or "no host serves anything"
