"""Stage 2: sources become counts per second, and say when they are down or silent."""

import csv
import json
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise

import anyio

from .errors import ReplayInvalid, SourceDown
from .model import (
    Counts,
    CriticalError,
    Observation,
    PlatformDeployment,
    SourceState,
)
from .ports import Clock, ErrorSource, MetricSource

__all__ = ["Observer", "merge", "read_counts", "replay"]


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


COLUMNS = ("second", "requests", "failed", "slow", "probes", "unavailable")


def read_counts(text: str) -> tuple[Counts, ...]:
    """Recorded counts: CSV with a header, or JSON lines; raises `ReplayInvalid`."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ReplayInvalid("There are no recorded counts: the file is empty.")
    as_json = lines[0].lstrip().startswith("{")
    rows = enumerate(map(_loads, lines) if as_json else csv.DictReader(lines), 1)
    parsed = [_counts(row, number) for number, row in rows]
    for before, after in pairwise(parsed):
        if after.second <= before.second:
            raise ReplayInvalid(
                f"Second {after.second} comes after second {before.second}: "
                "seconds must rise."
            )
    return tuple(parsed)


def _loads(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _counts(row: object, number: int) -> Counts:
    if not isinstance(row, dict) or "second" not in row:
        raise ReplayInvalid(f"Record {number} has no column `second`.")
    try:
        values = {name: int(row.get(name) or 0) for name in COLUMNS}
    except (TypeError, ValueError) as error:
        raise ReplayInvalid(f"Record {number} holds no whole number: {row}.") from error
    counts = Counts(**values)
    bad = max(counts.failed, counts.slow)
    impossible = bad > counts.requests or counts.unavailable > counts.probes
    if impossible or min(values.values()) < 0:
        raise ReplayInvalid(f"Record {number} has more bad ones than there are: {row}.")
    return counts


def replay(
    deployment: str, counts: Sequence[Counts], *, silence_seconds: int
) -> Iterator[Observation]:
    """What a live observer would have seen, second by second."""
    spoke = counts[0].second
    seconds = {c.second: c for c in counts}
    for second in range(counts[0].second, counts[-1].second + 1):
        found = seconds.get(second)
        spoke = second if found else spoke
        silent = second - spoke
        problem = f"the recording has been silent for {silent} s"
        yield Observation(
            deployment=deployment,
            since=second,
            until=second + 1,
            counts=(found,) if found else (),
            sources=(
                SourceState(
                    name="recording",
                    problem=problem if silent >= silence_seconds else None,
                ),
            ),
        )
