"""Several sources at their own pace, the stable one beside the candidate."""

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from typing import Any

import anyio
import trio
from trio.testing import MockClock

from rollback.adapters.memory import AnyioClock, MemorySource
from rollback.model import Counts, Observation, PlatformDeployment, merge
from rollback.observe import Observer
from rollback.ports import MetricSource

CLOCK = AnyioClock()


def deployment(name: str) -> PlatformDeployment:
    """A release as the platform knows it."""
    return PlatformDeployment(
        id=name,
        url=f"https://{name}.example",
        git_sha=name * 20,
        created_at=CLOCK.now() - timedelta(days=1),
        ready=True,
        candidate=True,
        served=True,
    )


class SlowSource(MemorySource):
    """A source whose every answer takes a while."""

    def __init__(self, name: str, *, takes: float) -> None:
        super().__init__(name)
        self._takes = takes

    async def counts(
        self, deployment: PlatformDeployment, *, since: int, until: int
    ) -> tuple[Counts, ...]:
        """Answer late with what was there when it was asked."""
        await anyio.sleep(self._takes)
        return await super().counts(deployment, since=since, until=until)


class Careless:
    """A source that says more are bad than there are."""

    name = "careless"
    lag_seconds = 0

    def watching(self, _: PlatformDeployment) -> AbstractAsyncContextManager[None]:
        """Do nothing."""
        return nullcontext()

    async def counts(
        self,
        deployment: PlatformDeployment,  # noqa: ARG002 - the port's
        *,
        since: int,
        until: int,
    ) -> tuple[Counts, ...]:
        """One second that cannot be."""
        await anyio.lowlevel.checkpoint()
        return (Counts(second=until - 1, requests=1, failed=until - since + 1),)


def fill(source: MemorySource, name: str, seconds: int, **counts: int) -> None:
    """Count the same in each of the coming seconds."""
    now = int(CLOCK.now().timestamp())
    for second in range(now, now + seconds):
        source.add(name, Counts(second=second, **counts))


def looks(
    sources: Callable[[], Sequence[MetricSource]],
    seconds: int,
    *,
    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None,
    compare: bool = True,
    patience_seconds: float = 1.0,
) -> list[Observation]:
    """Look once a second, on a clock that jumps."""

    async def play() -> list[Observation]:
        observer = Observer(
            deployment("v2"),
            deployment("v1"),
            sources=sources(),
            errors=(),
            clock=CLOCK,
            environment="production",
            codes=(),
            since=CLOCK.now(),
            compare=compare,
            window_seconds=300,
            silence_seconds=30,
            error_poll_seconds=2,
        )
        seen = []
        async with anyio.create_task_group() as group:
            if meanwhile:
                group.start_soon(meanwhile)
            async with observer.watching():
                for _ in range(seconds):
                    await anyio.sleep(1)
                    seen.append(await observer.look(patience_seconds=patience_seconds))
            group.cancel_scope.cancel()
        return seen

    return trio.run(play, clock=MockClock(autojump_threshold=0))


def total(seen: Sequence[Observation], source: str) -> int:
    """How many requests a source has counted in all looks."""
    return sum(
        counts.requests
        for look in seen
        for part in look.parts
        if part.source == source
        for counts in part.counts
    )


def test_counts_of_one_second_add_up() -> None:
    """Probes and the app's own counters are one measurement."""
    probes = (Counts(second=10, probes=4, unavailable=1), Counts(second=11, probes=4))
    counters = (Counts(second=10, requests=7, slow=2),)

    assert merge((probes, counters)) == (
        Counts(second=10, requests=7, slow=2, probes=4, unavailable=1),
        Counts(second=11, probes=4),
    )


def test_a_source_that_is_late_delays_no_other() -> None:
    """Each second comes once, from each source when that one cannot change it."""

    def sources() -> tuple[MetricSource, ...]:
        quick = MemorySource("quick", lag_seconds=1)
        late = MemorySource("late", lag_seconds=20)
        fill(quick, "v2", 60, requests=3)
        fill(late, "v2", 60, requests=5)
        return quick, late

    seen = looks(sources, 40)

    first = [
        next((n for n, look in enumerate(seen) if look.parts[index].counts), len(seen))
        for index in (0, 1)
    ]
    assert first[0] <= 2
    assert 19 <= first[1] <= 21
    assert 38 * 3 <= total(seen, "quick") <= 40 * 3
    assert 19 * 5 <= total(seen, "late") <= 21 * 5


def test_a_source_that_answers_slowly_delays_no_look() -> None:
    """Nor is anything of it lost or counted twice."""

    def sources() -> tuple[MetricSource, ...]:
        slow = SlowSource("slow", takes=7.5)
        fill(slow, "v2", 300, requests=2)
        return (slow,)

    seen = looks(sources, 60)

    assert seen[-1].until - seen[0].until <= 60 + 2
    seconds = [c.second for look in seen for c in look.parts[0].counts]
    assert len(seconds) == len(set(seconds))
    assert seconds == list(range(min(seconds), max(seconds) + 1))
    assert len(seconds) > 40


def test_who_looks_once_waits_for_a_slow_answer() -> None:
    """There is no later look that it could come in."""

    def sources() -> tuple[MetricSource, ...]:
        slow = SlowSource("slow", takes=7.5)
        fill(slow, "v2", 60, requests=2)
        return (slow,)

    patient = looks(sources, 1, patience_seconds=30)
    hasty = looks(sources, 1, patience_seconds=5)

    assert total(patient, "slow") == 2
    assert total(hasty, "slow") == 0


def test_what_could_not_be_read_at_once_is_read_later() -> None:
    """A source that was down for a minute has lost nothing."""
    source = MemorySource("redis")

    async def outage() -> None:
        await anyio.sleep(10)
        source.down = "connection refused"
        await anyio.sleep(60)
        source.down = None

    def sources() -> tuple[MetricSource, ...]:
        fill(source, "v2", 120, requests=1)
        return (source,)

    seen = looks(sources, 90, meanwhile=outage)

    assert any("down" in str(look.sources[0].problem) for look in seen[15:65])
    assert seen[-1].sources[0].problem is None
    seconds = [c.second for look in seen for c in look.parts[0].counts]
    assert seconds == sorted(set(seconds))
    assert 89 <= len(seconds) <= 91


def test_the_stable_one_is_measured_apart() -> None:
    """Its counts are the baseline, and never the candidate's."""

    def sources() -> tuple[MetricSource, ...]:
        source = MemorySource("probes")
        fill(source, "v2", 30, requests=3)
        fill(source, "v1", 30, requests=1, failed=1)
        return (source,)

    seen = looks(sources, 10)
    alone = looks(sources, 10, compare=False)

    assert {look.stable for look in seen} == {"v1"}
    assert all(c.failed == 0 for look in seen for c in look.counts)
    assert (
        sum(c.failed for look in seen for part in look.baseline for c in part.counts)
        >= 9
    )
    assert {look.stable for look in alone} == {None}
    assert not any(look.baseline for look in alone)


class Broken(MemorySource):
    """A source with a mistake in it."""

    async def counts(self, *_: object, **__: object) -> tuple[Counts, ...]:
        """Break off as nobody thought of."""
        await anyio.lowlevel.checkpoint()
        raise RuntimeError("a mistake")


def test_a_source_that_breaks_off_is_down_and_ends_nothing() -> None:
    """The others are heard all the same."""

    def sources() -> tuple[MetricSource, ...]:
        good = MemorySource("good")
        fill(good, "v2", 30, requests=3)
        return Broken("broken"), good

    seen = looks(sources, 10)

    assert "broken is down: it broke off: RuntimeError" in str(
        seen[-1].sources[0].problem
    )
    assert total(seen, "good") >= 9 * 3


def test_counts_that_cannot_be_are_a_source_that_is_down() -> None:
    """A writer's mistake is nobody's failure, and no proof of health."""
    seen = looks(lambda: (Careless(),), 3)

    assert not any(look.counts for look in seen)
    assert "counts what cannot be" in str(seen[-1].sources[0].problem)
