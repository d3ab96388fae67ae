"""One feature: its flag is switched, and what the edge has kept of it is purged.

Two targets, as the second must not undo the first: a flag that is off stays off while
the edge is still being asked to forget. A step names the feature in `from_deployment`
and what it is switched to in `to_deployment`: `OFF`, or `BACK`, which undoes that.
"""

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import quote

import anyio

from rollback.errors import FlagsUnreachable, StepFailed, Unreachable
from rollback.model import Step
from rollback.ports import Cache, Clock, FlagStore, Platform, Site

__all__ = ["BACK", "OFF", "PART", "EdgeCache", "Flags", "steps", "tag"]

PART = "flags"
OFF, BACK = "disabled", "as it was"
POLL_SECONDS = 0.5
LOOK_SECONDS = 5.0
# An answer that was under way while the cache was purged can be kept after it.
SEEN_IN_A_ROW = 3
PURGE_AGAIN_SECONDS = 2.0


def tag(feature: str) -> str:
    """The tag under which the edge keeps what depends on this feature."""
    return f"feature:{feature}"


def steps(feature: str, *, back: bool) -> tuple[Step, ...]:
    """The steps that switch a feature off, or back to what it was."""
    to = BACK if back else OFF
    switched = f"put the flag {feature} back" if back else f"switch {feature} off"
    named = (
        (PART, switched),
        ("cdn", f"purge {tag(feature)} at the edge"),
    )
    return tuple(
        Step(target=target, name=name, from_deployment=feature, to_deployment=to)
        for target, name in named
    )


@dataclass(slots=True)
class Flags:
    """Switches flags in a `FlagStore`."""

    store: FlagStore
    clock: Clock
    name: str = PART

    async def check(self, step: Step) -> bool:
        """Whether the flag is so already; raises for one that cannot be switched."""
        if step.to_deployment == BACK:
            return await self.store.is_back(step.from_deployment)
        return await self.store.is_off(step.from_deployment)

    async def apply(self, step: Step, *, reason: str) -> str:  # noqa: ARG002 - the port's
        """Switch it, in one step with what is saved of it."""
        at, feature = self.clock.now(), step.from_deployment
        if step.to_deployment == BACK:
            await self.store.restore(feature, at=at)
        else:
            await self.store.disable(feature, at=at)
        return f"the store has taken {feature} as {step.to_deployment}"

    async def verify(self, step: Step) -> str:
        """Read it again: a store may forget what it has taken."""
        try:
            there = await self.check(step)
        except FlagsUnreachable as error:
            raise StepFailed(
                f"{step.from_deployment} was switched, and cannot be read again: "
                f"{error.message}"
            ) from error
        if not there:
            raise StepFailed(
                f"{step.from_deployment} was switched, and is not "
                f"{step.to_deployment}: somebody switches it too."
            )
        return f"{step.from_deployment} is {step.to_deployment}"


@dataclass(slots=True)
class EdgeCache:
    """Purges a feature's tag, and sees the edge answer anew at the feature's address.

    The address is on `site_url`, or else on the platform's first production host;
    `timeout_seconds` bounds the look.
    """

    cache: Cache
    site: Site
    platform: Platform
    site_url: str | None = None
    timeout_seconds: float = 30.0
    name: str = "cdn"
    _purged_at: float = field(default=0.0, init=False)

    async def check(self, step: Step) -> bool:  # noqa: ARG002 - the port's
        """Never: one look cannot tell what the edge keeps elsewhere."""
        return False

    async def apply(self, step: Step, *, reason: str) -> str:  # noqa: ARG002 - the port's
        """Purge; raises `StepFailed` when that was not taken, and the flag stays."""
        feature = step.from_deployment
        try:
            await self._purge(feature)
        except Unreachable as error:
            raise StepFailed(
                f"The flag {feature} is {step.to_deployment}, but the edge was not "
                f"purged: {error.message}",
                mend=f"Purge the tag {tag(feature)} by hand, or run this again.",
            ) from error
        return f"the platform has purged {tag(feature)}"

    async def verify(self, step: Step) -> str:
        """Wait until the edge answers anew, several times without a break."""
        seen, said = 0, "nothing was asked"
        with anyio.move_on_after(self.timeout_seconds):
            while True:
                try:
                    said = await self._look(step)
                except Unreachable as error:
                    said = error.message
                seen = 0 if said else seen + 1
                if seen == SEEN_IN_A_ROW:
                    return f"the edge answers {step.from_deployment} anew"
                await anyio.sleep(POLL_SECONDS)
        raise StepFailed(
            f"The flag {step.from_deployment} is {step.to_deployment}, but within "
            f"{self.timeout_seconds:.0f} s the edge was not seen to answer so: {said}.",
            mend=f"Look at /api/features/{step.from_deployment} on the site.",
        )

    async def _purge(self, feature: str) -> None:
        await self.cache.purge((tag(feature),))
        self._purged_at = anyio.current_time()

    async def _look(self, step: Step) -> str:
        """What is wrong with the answer of now; empty when nothing is.

        What was kept from before is purged again, but not without a pause.
        """
        feature = step.from_deployment
        base = self.site_url or await self.platform.site_url()
        url = f"{base}/api/features/{quote(feature, safe='')}"
        expected: bool | str = False
        if step.to_deployment == BACK:
            # Which answer a state gives is the app's: it is asked past the cache.
            expected = await self._enabled(f"{url}?at={anyio.current_time():.6f}")
        shown = await self._enabled(url)
        if not isinstance(shown, bool) or not isinstance(expected, bool):
            return str(shown if isinstance(expected, bool) else expected)
        if shown == expected:
            return ""
        if anyio.current_time() - self._purged_at >= PURGE_AGAIN_SECONDS:
            await self._purge(feature)
        return f"{url} answers as before"

    async def _enabled(self, url: str) -> bool | str:
        """Whether the feature is shown there, or why that cannot be told."""
        answer = await self.site.request("GET", url, timeout_seconds=LOOK_SECONDS)
        if answer.status != HTTPStatus.OK:
            return f"{url} answered {answer.status or answer.problem}"
        try:
            enabled = json.loads(answer.body)["enabled"]
        except (ValueError, LookupError, TypeError):
            enabled = None
        return enabled if isinstance(enabled, bool) else f"{url} says not `enabled`"
