"""Stage 2: sources become counts per second, and say when they are down or silent."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import anyio

from .errors import SourceDown
from .model import (
    Counts,
    CriticalError,
    Observation,
    PlatformDeployment,
    SourceState,
)
from .ports import Clock, ErrorSource, MetricSource

__all__ = ["Observer", "merge"]


def merge(parts: Sequence[Sequence[Counts]]) -> tuple[Counts, ...]:
    """Counts of several sources, added up second by second, in order."""
    seconds: dict[int, Counts] = {}
    for part in parts:
        for counts in part:
            known = seconds.get(counts.second)
            seconds[counts.second] = known + counts if known else counts
    return tuple(seconds[second] for second in sorted(seconds))


class Observer:
    """Looks at one deployment again and again; each look holds the new seconds only.

    A second is given once, when no source can change it any more. Critical errors are
    the candidate's own: a code that is seen on the stable deployment too is left out.
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
        silence_seconds: int,
        error_poll_seconds: float,
    ) -> None:
        self._candidate, self._stable = candidate, stable
        self._sources, self._errors = sources, errors
        self._clock, self._environment, self._codes = clock, environment, codes
        self._silence, self._poll = silence_seconds, error_poll_seconds
        self._errors_since = since
        self._start = self._next = math.floor(clock.now().timestamp())
        self._spoke = dict.fromkeys((s.name for s in sources), self._start)
        self._problems: dict[str, str] = {}
        self._critical: tuple[CriticalError, ...] = ()
        self._asked = -math.inf

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Measure actively while the context is open."""
        async with AsyncExitStack() as stack:
            for source in self._sources:
                await stack.enter_async_context(source.watching(self._candidate))
            yield

    def backdate(self, seconds: float) -> None:
        """Look back: begin that long before now."""
        self._start = self._next = self._start - int(seconds)

    async def look(self) -> Observation:
        """What has happened in the seconds that were closed since the last look."""
        lag = max((source.lag_seconds for source in self._sources), default=0)
        until = max(self._next, math.floor(self._clock.now().timestamp()) - lag)
        since, self._next = self._next, until
        parts: list[tuple[Counts, ...]] = []
        async with anyio.create_task_group() as group:
            for source in self._sources:
                group.start_soon(self._read, source, since, until, parts)
            if anyio.current_time() - self._asked >= self._poll:
                self._asked = anyio.current_time()
                group.start_soon(self._ask)
        names = [s.name for s in self._sources] + [e.name for e in self._errors]
        return Observation(
            deployment=self._candidate.id,
            since=since,
            until=until,
            counts=merge(parts),
            critical_errors=self._critical,
            sources=tuple(
                SourceState(name=name, problem=self._problems.get(name))
                for name in names
            ),
        )

    async def _read(
        self,
        source: MetricSource,
        since: int,
        until: int,
        parts: list[tuple[Counts, ...]],
    ) -> None:
        self._problems.pop(source.name, None)
        if until <= since:
            counts: tuple[Counts, ...] = ()
        else:
            try:
                counts = await source.counts(self._candidate, since=since, until=until)
            except SourceDown as error:
                self._problems[source.name] = f"{source.name} is down: {error.message}"
                return
        parts.append(counts)
        if counts:
            self._spoke[source.name] = counts[-1].second
        silent = until - self._spoke[source.name]
        if silent >= self._silence:
            self._problems[source.name] = (
                f"{source.name} has been silent for {silent} s"
            )

    async def _ask(self) -> None:
        found: dict[str, CriticalError] = {}
        for source in self._errors:
            self._problems.pop(source.name, None)
            try:
                own = await self._of(source, self._candidate)
                stable = await self._of(source, self._stable) if self._stable else ()
            except SourceDown as error:
                self._problems[source.name] = f"{source.name} is down: {error.message}"
                continue
            shared = {error.code for error in stable}
            found.update({e.code: e for e in own if e.code not in shared})
        self._critical = tuple(found[code] for code in sorted(found))

    async def _of(
        self, source: ErrorSource, deployment: PlatformDeployment
    ) -> tuple[CriticalError, ...]:
        return await source.critical_errors(
            deployment,
            codes=self._codes,
            environment=self._environment,
            since=self._errors_since.astimezone(UTC),
        )
