"""Stage 2: sources become counts per second, and say when they are down or silent."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
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
    merge,
)
from .ports import Clock, ErrorSource, MetricSource
from .silence import Silence

__all__ = ["Observer"]

PATIENCE_SECONDS = 1.0  # what a look waits for a source; what comes later is not lost


@dataclass(slots=True)
class _Feed:
    """One source about one deployment: how far it was read, what came since a look."""

    source: MetricSource
    deployment: PlatformDeployment
    next: int
    counts: list[Counts] = field(default_factory=list)
    read: anyio.Event | None = None  # while it is being read
    punctual: bool = True

    def take(self) -> Part:
        """What has come since the last look."""
        taken, self.counts = tuple(self.counts), []
        return Part(source=self.source.name, counts=taken, until=self.next)


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
        self._errors = errors
        self._clock, self._environment, self._codes = clock, environment, codes
        self._window, self._poll = window_seconds, error_poll_seconds
        self._errors_since = since.astimezone(UTC)
        now = self._now()
        self._since = now - back_seconds
        self._feeds = [
            _Feed(source=source, deployment=candidate, next=self._since)
            for source in sources
        ]
        self._beside = [
            _Feed(source=source, deployment=self._baseline, next=self._since)
            for source in sources
            if self._baseline
        ]
        self._group: TaskGroup | None = None
        lags = {source.name: source.lag_seconds for source in sources}
        self._silence = Silence(
            lags | {error.name: 0 for error in errors},
            now,
            allowed=silence_seconds,
            window=window_seconds,
        )
        self._names = (*lags, *(error.name for error in errors))
        self._critical: dict[str, tuple[CriticalError, ...]] = {}

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Measure and ask while the context is open."""
        async with AsyncExitStack() as stack:
            for feed in (*self._feeds, *self._beside):
                watching = feed.source.watching(feed.deployment)
                await stack.enter_async_context(watching)
            group = await stack.enter_async_context(anyio.create_task_group())
            for errors in self._errors:
                group.start_soon(self._keep_asking, errors)
            self._group = group
            yield
            group.cancel_scope.cancel()

    async def look(self, *, patience_seconds: float = PATIENCE_SECONDS) -> Observation:
        """What has come to be known since the last look; while `watching`.

        Who was late the last time is waited for only with more patience than usual.
        """
        usual = patience_seconds <= PATIENCE_SECONDS
        for feed in (*self._feeds, *self._beside):
            self._begin(feed)
        with anyio.move_on_after(patience_seconds):
            for feed in (*self._feeds, *self._beside):
                if feed.read and (feed.punctual or not usual):
                    await feed.read.wait()
        for feed in (*self._feeds, *self._beside):
            feed.punctual = feed.read is None
        lag = min((feed.source.lag_seconds for feed in self._feeds), default=0)
        now = self._now()
        since, self._since = self._since, max(self._since, now - lag)
        parts = tuple(feed.take() for feed in self._feeds)
        return Observation(
            deployment=self._candidate.id,
            since=since,
            until=self._since,
            counts=merge([part.counts for part in parts]),
            parts=parts,
            critical_errors=self._critical_errors(),
            sources=tuple(
                SourceState(name=name, problem=self._silence.problem(name, now))
                for name in self._names
            ),
            stable=self._baseline.id if self._baseline else None,
            baseline=tuple(feed.take() for feed in self._beside),
        )

    def _now(self) -> int:
        return math.floor(self._clock.now().timestamp())

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
        since = max(feed.next, until - math.ceil(self._window))
        try:
            counts = _checked(
                await feed.source.counts(feed.deployment, since=since, until=until)
            )
        except SourceDown as error:
            self._answers(feed, error.message)
        except Exception as error:  # noqa: BLE001 - a source that breaks is down, and ends no watch
            self._answers(feed, f"it broke off: {error!r}")
        else:
            feed.next = until
            feed.counts.extend(counts)
            self._answers(feed)
        finally:
            feed.read = None
            read.set()

    def _answers(self, feed: _Feed, why_not: str | None = None) -> None:
        """Without a baseline the candidate is judged all the same."""
        if feed.deployment is not self._candidate:
            return
        self._silence.answers(feed.source.name, why_not)
        for each in feed.counts:
            self._silence.speaks(feed.source.name, each.second)

    async def _keep_asking(self, errors: ErrorSource) -> None:
        while True:
            why_not: str | None = None
            try:
                own = await self._of(errors, self._candidate)
                self._silence.speaks(errors.name, self._now())
                self._critical[errors.name] = await self._own(errors, own)
            except SourceDown as error:
                why_not = error.message
            except Exception as error:  # noqa: BLE001 - as above
                why_not = f"it broke off: {error!r}"
            self._silence.answers(errors.name, why_not)
            await anyio.sleep(self._poll)

    async def _own(
        self, errors: ErrorSource, seen: tuple[CriticalError, ...]
    ) -> tuple[CriticalError, ...]:
        """Without those that the stable one shows as often.

        Where that cannot be asked they count: whether going back can help is looked at
        again, by the health checks of both, before anything moves.
        """
        if self._stable is None or not seen:
            return seen
        try:
            others = await self._of(errors, self._stable)
        except SourceDown:
            return seen
        shared = {error.code: error.count for error in others}
        return tuple(each for each in seen if each.count > shared.get(each.code, 0))

    async def _of(
        self, errors: ErrorSource, deployment: PlatformDeployment
    ) -> tuple[CriticalError, ...]:
        return await errors.critical_errors(
            deployment,
            codes=self._codes,
            environment=self._environment,
            since=self._errors_since,
        )


def _checked(counts: tuple[Counts, ...]) -> tuple[Counts, ...]:
    for each in counts:
        if not each.possible:
            raise SourceDown(f"It counts what cannot be: {each}.")
    return counts
