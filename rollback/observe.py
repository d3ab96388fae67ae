"""Stage 2: sources become counts per second, and say when they are down or silent."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
from anyio.abc import TaskGroup

from .errors import SourceDown
from .model import (
    Counts,
    CriticalError,
    Observation,
    Part,
    PlatformDeployment,
    SourceState,
)
from .ports import Clock, ErrorSource, MetricSource

__all__ = ["Observer", "merge"]

PATIENCE_SECONDS = 1.0  # what a look waits for a source; what comes later is not lost


def merge(parts: Sequence[Sequence[Counts]]) -> tuple[Counts, ...]:
    """Counts of several sources, added up second by second, in order."""
    seconds: dict[int, Counts] = {}
    for part in parts:
        for counts in part:
            known = seconds.get(counts.second)
            seconds[counts.second] = known + counts if known else counts
    return tuple(seconds[second] for second in sorted(seconds))


@dataclass(slots=True)
class _Feed:
    """One source: how far it has been read, and what has come since the last look."""

    source: MetricSource
    next: int
    counts: list[Counts] = field(default_factory=list)
    baseline: list[Counts] = field(default_factory=list)
    read: anyio.Event | None = None  # while it is being read

    def take(self) -> tuple[tuple[Counts, ...], tuple[Counts, ...]]:
        """What has come since the last look."""
        taken = tuple(self.counts), tuple(self.baseline)
        self.counts, self.baseline = [], []
        return taken


def _checked(counts: tuple[Counts, ...]) -> tuple[Counts, ...]:
    for each in counts:
        if not each.possible:
            raise SourceDown(f"It counts what cannot be: {each}.")
    return counts


class Observer:
    """Looks at one deployment again and again; each look holds the new seconds only.

    A source gives a second once, when it can no longer change it; each goes at its own
    pace, so that one which is slow, late or down delays no verdict, and what it could
    not say at once is asked for again. The stable deployment is measured by the same
    sources, as a baseline. Critical errors are the candidate's own: a code that is seen
    on the stable one as often is left out.
    """

    def __init__(
        self,
        candidate: PlatformDeployment,
        stable: PlatformDeployment | None,
        *,
        sources: Sequence[MetricSource],
        errors: Sequence[ErrorSource],
        clock: Clock,
        environment: str,
        codes: Sequence[str],
        since: datetime,
        back_seconds: int = 0,
        compare: bool = True,
        window_seconds: float,
        silence_seconds: int,
        error_poll_seconds: float,
    ) -> None:
        self._candidate, self._stable = candidate, stable
        self._baseline = stable if compare else None
        self._sources, self._errors = sources, errors
        self._clock, self._environment, self._codes = clock, environment, codes
        self._window, self._silence = window_seconds, silence_seconds
        self._poll = error_poll_seconds
        self._errors_since = since.astimezone(UTC)
        now = self._now()
        self._since = now - back_seconds
        self._feeds = [_Feed(source=source, next=self._since) for source in sources]
        self._group: TaskGroup | None = None
        self._lags = {source.name: source.lag_seconds for source in sources}
        names = [s.name for s in sources] + [e.name for e in errors]
        self._spoke = dict.fromkeys(names, now)
        self._silences: dict[str, tuple[int, int]] = {}  # name: its end, its length
        self._problems: dict[str, str] = {}
        self._critical: dict[str, tuple[CriticalError, ...]] = {}

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Measure and ask while the context is open."""
        async with AsyncExitStack() as stack:
            for source in self._sources:
                for deployment in self._deployments:
                    await stack.enter_async_context(source.watching(deployment))
            group = await stack.enter_async_context(anyio.create_task_group())
            for errors in self._errors:
                group.start_soon(self._keep_asking, errors)
            self._group = group
            yield
            group.cancel_scope.cancel()

    async def look(self, *, patience_seconds: float = PATIENCE_SECONDS) -> Observation:
        """What has come to be known since the last look; while `watching`."""
        for feed in self._feeds:
            self._begin(feed)
        with anyio.move_on_after(patience_seconds):
            for feed in self._feeds:
                if feed.read:
                    await feed.read.wait()
        lag = min((feed.source.lag_seconds for feed in self._feeds), default=0)
        since, self._since = self._since, max(self._since, self._now() - lag)
        taken = {feed.source.name: feed.take() for feed in self._feeds}
        return Observation(
            deployment=self._candidate.id,
            since=since,
            until=self._since,
            counts=merge([counts for counts, _ in taken.values()]),
            parts=tuple(
                Part(source=name, counts=counts) for name, (counts, _) in taken.items()
            ),
            critical_errors=self._critical_errors(),
            sources=tuple(
                SourceState(name=name, problem=self._problem(name))
                for name in self._spoke
            ),
            stable=self._baseline.id if self._baseline else None,
            baseline=merge([baseline for _, baseline in taken.values()]),
        )

    @property
    def _deployments(self) -> tuple[PlatformDeployment, ...]:
        measured = (self._candidate, self._baseline)
        return tuple(deployment for deployment in measured if deployment)

    def _now(self) -> int:
        return math.floor(self._clock.now().timestamp())

    def _problem(self, name: str) -> str | None:
        """Down, as it says itself, or silent for too long somewhere in the window."""
        now = self._now()
        silent = now - self._lags.get(name, 0) - self._spoke[name]
        if name in self._problems:
            return f"{name} is down: {self._problems[name]}"
        if silent > self._silence:
            return f"{name} has been silent for {silent} s"
        ended, lasted = self._silences.get(name, (0, 0))
        if ended > now - self._window:
            return f"{name} was silent for {lasted} s"
        return None

    def _speaks(self, name: str, second: int) -> None:
        lasted = second - self._spoke[name]
        if lasted > self._silence:
            self._silences[name] = second, lasted
        self._spoke[name] = max(second, self._spoke[name])

    def _critical_errors(self) -> tuple[CriticalError, ...]:
        found = [error for errors in self._critical.values() for error in errors]
        return tuple(sorted(found, key=lambda error: error.code))

    def _begin(self, feed: _Feed) -> None:
        """Have a source read up to now, unless it is still at it."""
        until = self._now() - feed.source.lag_seconds
        if feed.read is None and self._group and until > feed.next:
            feed.read = anyio.Event()
            self._group.start_soon(self._read, feed, until, feed.read)

    async def _read(self, feed: _Feed, until: int, read: anyio.Event) -> None:
        name, since = feed.source.name, max(feed.next, until - math.ceil(self._window))
        try:
            counts = _checked(
                await feed.source.counts(self._candidate, since=since, until=until)
            )
        except SourceDown as error:
            self._problems[name] = error.message
        else:
            self._problems.pop(name, None)
            feed.next = until
            feed.counts.extend(counts)
            for each in counts:
                self._speaks(name, each.second)
            await self._compare(feed, since, until)
        finally:
            feed.read = None
            read.set()

    async def _compare(self, feed: _Feed, since: int, until: int) -> None:
        """Read the baseline; without one the candidate is judged all the same."""
        if self._baseline is None:
            return
        with suppress(SourceDown):
            feed.baseline += _checked(
                await feed.source.counts(self._baseline, since=since, until=until)
            )

    async def _keep_asking(self, errors: ErrorSource) -> None:
        while True:
            try:
                own = await self._of(errors, self._candidate)
                others = await self._of(errors, self._stable) if self._stable else ()
            except SourceDown as error:
                self._problems[errors.name] = error.message
            else:
                self._problems.pop(errors.name, None)
                self._speaks(errors.name, self._now())
                shared = {error.code: error.count for error in others}
                self._critical[errors.name] = tuple(
                    error for error in own if error.count > shared.get(error.code, 0)
                )
            await anyio.sleep(self._poll)

    async def _of(
        self, errors: ErrorSource, deployment: PlatformDeployment
    ) -> tuple[CriticalError, ...]:
        return await errors.critical_errors(
            deployment,
            codes=self._codes,
            environment=self._environment,
            since=self._errors_since,
        )
