"""A source whose seconds are known late is not a silent one."""

from rollback.adapters.memory import MemorySource
from rollback.model import Observation
from rollback.ports import MetricSource

from .test_observe import fill, looks


def problems(seen: list[Observation]) -> list[str | None]:
    """What the source was said to have, look by look."""
    return [look.sources[0].problem for look in seen]


def test_a_lag_is_no_silence() -> None:
    """However late a source is by its nature, while it speaks nothing is wrong."""

    def sources() -> tuple[MetricSource, ...]:
        late = MemorySource("late", lag_seconds=40)
        fill(late, "v2", 300, requests=5)
        return (late,)

    assert set(problems(looks(sources, 200))) == {None}


def test_what_is_late_can_be_silent_too() -> None:
    """Its silence is told as long after its lag as that of any other source."""

    def sources() -> tuple[MetricSource, ...]:
        late = MemorySource("late", lag_seconds=40)
        fill(late, "v2", 100, requests=5)
        return (late,)

    told = problems(looks(sources, 200))
    first = next(second for second, problem in enumerate(told) if problem)
    assert 168 <= first <= 172
    assert told[first] == "late has been silent for 31 s"
