"""Stage 2: sources become counts per second, and say when they are down or silent."""

import csv
import json
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import anyio

from .errors import ReplayInvalid, SourceDown
from .model import (
    Counts,
    CriticalError,
    Observation,
    Part,
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


def is_possible(counts: Counts) -> bool:
    """Whether no more are bad than there are, and none fewer than none."""
    return (
        0 <= counts.failed <= counts.requests
        and 0 <= counts.slow <= counts.requests
        and 0 <= counts.unavailable <= counts.probes
    )


class Observer:
    """Looks at one deployment again and again; each look holds the new seconds only.

    A second is given once, when no source can change it any more. The stable deployment
    is measured by the same sources, as a baseline. Critical errors are the candidate's
    own: a code that is seen on the stable one as often is left out. They are asked for
    beside the looks, so that a slow answer delays no verdict.
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
        self._next = now - back_seconds
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
            yield
            group.cancel_scope.cancel()

    async def look(self) -> Observation:
        """What has happened in the seconds that were closed since the last look."""
        lag = max((source.lag_seconds for source in self._sources), default=0)
        since, until = self._next, max(self._next, self._now() - lag)
        self._next = until
        parts: dict[str, tuple[Counts, ...]] = {s.name: () for s in self._sources}
        beside: list[tuple[Counts, ...]] = []
        if until > since:
            async with anyio.create_task_group() as group:
                for source in self._sources:
                    group.start_soon(self._read, source, since, until, parts)
                    group.start_soon(self._compare, source, since, until, beside)
        return Observation(
            deployment=self._candidate.id,
            since=since,
            until=until,
            counts=merge(tuple(parts.values())),
            parts=tuple(
                Part(source=name, counts=counts) for name, counts in parts.items()
            ),
            critical_errors=self._critical_errors(),
            sources=tuple(
                SourceState(name=name, problem=self._problem(name))
                for name in self._spoke
            ),
            stable=self._baseline.id if self._baseline else None,
            baseline=merge(beside),
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
        silent = now - self._spoke[name]
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

    async def _read(
        self,
        source: MetricSource,
        since: int,
        until: int,
        parts: dict[str, tuple[Counts, ...]],
    ) -> None:
        try:
            counts = await source.counts(self._candidate, since=since, until=until)
        except SourceDown as error:
            self._problems[source.name] = error.message
            return
        impossible = [each for each in counts if not is_possible(each)]
        if impossible:
            self._problems[source.name] = f"It counts what cannot be: {impossible[0]}."
            return
        self._problems.pop(source.name, None)
        parts[source.name] = counts
        for each in counts:
            self._speaks(source.name, each.second)

    async def _compare(
        self,
        source: MetricSource,
        since: int,
        until: int,
        parts: list[tuple[Counts, ...]],
    ) -> None:
        """Read the baseline; without one the candidate is judged all the same."""
        if self._baseline is None:
            return
        with suppress(SourceDown):
            counts = await source.counts(self._baseline, since=since, until=until)
            parts.append(tuple(each for each in counts if is_possible(each)))

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


LONGEST_SECONDS = 366 * 86_400
COLUMNS = ("second", "requests", "failed", "slow", "probes", "unavailable")


def read_counts(text: str) -> tuple[Counts, ...]:
    """Recorded counts: CSV with a header, or JSON lines; raises `ReplayInvalid`."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ReplayInvalid("There are no recorded counts: the file is empty.")
    as_json = lines[0].lstrip().startswith("{")
    rows = enumerate(map(_loads, lines) if as_json else csv.DictReader(lines), 1)
    parsed = [_counts(row, number) for number, row in rows]
    if parsed[-1].second - parsed[0].second > LONGEST_SECONDS:
        raise ReplayInvalid(
            f"Seconds {parsed[0].second} to {parsed[-1].second} are more than a year: "
            "`second` must be in whole seconds."
        )
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
        values = {name: _whole(row.get(name)) for name in COLUMNS}
    except (TypeError, ValueError, OverflowError) as error:
        raise ReplayInvalid(f"Record {number} holds no whole number: {row}.") from error
    counts = Counts(**values)
    if not is_possible(counts):
        raise ReplayInvalid(f"Record {number} has more bad ones than there are: {row}.")
    return counts


def _whole(value: Any) -> int:
    number = int(value or 0)
    if isinstance(value, float) and value != number:
        raise ValueError(value)
    return number


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
