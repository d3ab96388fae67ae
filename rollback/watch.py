"""One deployment from its first look to its verdict: observe, decide, again and again.

Only reads. Acting on the verdict is the engine's business.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio

from . import observe, plan, track
from .errors import RollbackError
from .model import Judgement, PlatformDeployment, Verdict
from .monitor import Monitor
from .ports import Clock, ErrorSource, MetricSource
from .response import Notice, Policy

__all__ = ["Progress", "Watch", "Watches"]

LIVE_EVERY_SECONDS = 10.0  # how often it is asked what is live

Progress = Callable[[Verdict, float], None]
"""Called after every look: the verdict so far, and the seconds that are left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A candidate, the stable deployment as its baseline, and who is asked about them.

    Critical errors count from `since` on.
    """

    candidate: PlatformDeployment
    stable: PlatformDeployment | None
    since: datetime
    sources: Sequence[MetricSource]
    errors: Sequence[ErrorSource]
    clock: Clock
    policy: Policy

    async def back(self, *, probe_seconds: float) -> Verdict:
        """One look back over the window, after probing for a moment."""
        back = int(self.policy.limits.window_seconds - probe_seconds)
        observer = self._observer(back_seconds=max(back, 0))
        async with observer.watching():
            await anyio.sleep(probe_seconds)
            # There is no later look: who has not answered by then has been silent.
            seen = await observer.look(patience_seconds=self.policy.silence_seconds)
        return Monitor(self.policy.limits).take(seen, complete=True)

    async def until(self, ends: float, *, progress: Progress | None) -> Verdict:
        """Look until it has to be rolled back, or until `ends` on anyio's clock."""
        monitor = Monitor(self.policy.limits)
        observer = self._observer()
        async with observer.watching():
            while True:
                await anyio.sleep(self.policy.look_every_seconds)
                seen = await observer.look()
                left = ends - anyio.current_time()
                verdict = monitor.take(seen, complete=left <= 0)
                if progress:
                    progress(verdict, max(left, 0.0))
                if left <= 0 or verdict.judgement is Judgement.ROLL_BACK:
                    return verdict

    def _observer(self, *, back_seconds: int = 0) -> observe.Observer:
        return observe.Observer(
            self.candidate,
            self.stable,
            sources=self.sources,
            errors=self.errors,
            clock=self.clock,
            environment=self.policy.environment,
            codes=self.policy.limits.critical_errors,
            since=self.since,
            back_seconds=back_seconds,
            compare=self.policy.baseline,
            window_seconds=self.policy.limits.window_seconds,
            silence_seconds=self.policy.silence_seconds,
            error_poll_seconds=self.policy.error_poll_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watches:
    """Begins watches, of deployments that are named or of what is live."""

    deployments: track.Deployments
    sources: Sequence[MetricSource]
    errors: Sequence[ErrorSource]
    policy: Policy
    notice: Notice

    async def of(self, deployment_id: str) -> Watch:
        """Begin; raises `UnknownDeployment` for what is not recorded."""
        recorded = await self.deployments.recorded(deployment_id)
        clock = self.deployments.clock
        window = timedelta(seconds=self.policy.limits.window_seconds)
        return Watch(
            candidate=await self.deployments.release(recorded),
            stable=await self.deployments.baseline(candidate=deployment_id),
            since=max(recorded.timestamp, clock.now() - window),
            sources=self.sources,
            errors=self.errors,
            clock=clock,
            policy=self.policy,
        )

    async def while_live(
        self, watch: Watch, ends: float, *, progress: Progress | None
    ) -> Verdict | None:
        """Watch until there is a verdict, or None when something else goes live."""
        verdict = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._until_moved, watch.candidate.id, group.cancel_scope)
            verdict = await watch.until(ends, progress=progress)
            group.cancel_scope.cancel()
        return verdict

    async def _until_moved(self, live: str, scope: anyio.CancelScope) -> None:
        while True:
            await anyio.sleep(LIVE_EVERY_SECONDS)
            with suppress(RollbackError):
                if not plan.is_live(await self.deployments.platform.live(), live):
                    self.notice(f"{live} is no longer live")
                    scope.cancel()

    async def of_next_live(self, ends: float) -> Watch:
        """Begin with what is live now, as soon as that is one recorded deployment.

        Raises what is in the way when it still is at `ends`.
        """
        while True:
            try:
                watch = await self.of(await self.deployments.live())
            except RollbackError as error:
                if anyio.current_time() >= ends:
                    raise
                self.notice(f"what is live cannot be watched: {error.message}")
                await anyio.sleep(LIVE_EVERY_SECONDS)
            else:
                self.notice(f"watching {watch.candidate.id}")
                return watch
