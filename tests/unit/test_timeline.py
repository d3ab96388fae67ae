"""A scenario's timeline: what it shows, and where it is drawn."""

import re
from itertools import pairwise
from typing import Any

import pytest

from steps import timeline
from steps.report import WIDTHS
from steps.story import Story, iso

START = 1_763_812_800.0
V1, V2 = "dpl_stable", "dpl_candidate"


def story(**measured: Any) -> Story:
    """A scenario of twelve seconds with what was measured in it."""
    return Story(
        name="Database loss is rolled back",
        feature="A bad release",
        tags=("chaos",),
        started_at=START,
        ended_at=START + 12,
        **measured,
    )


def request(at: float, outcome: str = "ok", ms: float = 20) -> dict[str, Any]:
    """One request of the load, as Locust records it."""
    return {"t": START + at, "ms": ms, "outcome": outcome, "deployment": V2}


def look(
    at: float, *, healthy: bool = True, ms: float = 10, by: str | None = V2
) -> dict[str, Any]:
    """One look from outside."""
    return {"at": START + at, "healthy": healthy, "ms": ms, "deployment": by}


def test_columns_add_up_to_the_requests() -> None:
    """No request is lost and none is made up, those outside the scenario included."""
    outcomes = ["ok"] * 40 + ["failed"] * 7 + ["unknown"] * 3 + ["never heard of"]
    requests = [request(i / 10, outcome) for i, outcome in enumerate(outcomes)]
    requests += [request(14.2), request(-0.5)]
    seconds = timeline.record(story(requests=requests)).seconds
    assert sum(s.requests for s in seconds) == len(requests)
    assert sum(s.failed for s in seconds) == 7
    assert sum(s.unknown for s in seconds) == 4
    assert [s.at for s in seconds] == [-1, 0, 1, 2, 3, 4, 5, 14]


def test_the_parts_of_a_column_stand_on_one_another() -> None:
    """Each begins where the one below ends, and the last ends at all requests."""
    second = timeline.Second(at=0, ok=5, failed=2, unknown=1, p95_ms=None)
    assert second.stack == (("ok", 0, 5), ("failed", 5, 7), ("unknown", 7, 8))
    assert second.requests == 8


@pytest.mark.parametrize("late", [-1.0, 0.0, 4.0, 11.9, 12.5])
@pytest.mark.parametrize("width", WIDTHS.values())
def test_marks_and_labels_stay_within_the_drawing(width: float, late: float) -> None:
    """Also where everything happens at once: at the start, before it, at the end."""
    at = [iso(START + late + i / 100) for i in range(4)]
    names = ("injected_at", "proved_at", "healed_at")
    shown = timeline.record(
        story(
            fault=dict(zip(names, at[:3], strict=True)),
            verdict={"decided_at": at[3]},
            restored_at=START + late,
        )
    )
    drawing = timeline.draw(shown, width)
    assert len(drawing.labels) == 5
    for moment, text, centre in drawing.labels:
        half = len(text) * timeline.GLYPH / 2
        assert centre - half >= 0
        assert centre + half <= width
        assert drawing.x.begin <= drawing.x(moment.at) <= drawing.x.end
    for (_, before, left), (_, after, right) in pairwise(drawing.labels):
        assert right - left >= (len(before) + len(after)) * timeline.GLYPH / 2


def test_columns_and_line_stay_within_their_panels() -> None:
    """The busiest second and the slowest one fit, whatever they are."""
    requests = [request(1 + i / 1000, ms=9 * i) for i in range(900)]
    shown = timeline.record(story(requests=requests))
    drawing = timeline.draw(shown, 680)
    assert timeline.LOAD[0] < drawing.load(900) < drawing.load(0) == timeline.LOAD[1]
    slowest = shown.seconds[0].p95_ms
    assert slowest is not None
    assert timeline.TIMES[0] < drawing.times(slowest) < drawing.times(timeline.SLOW_MS)


def test_labels_stay_where_there_is_room() -> None:
    """Only labels that would overlap are moved, each as far as the other."""
    assert timeline.spread([50, 200, 210], [40, 40, 40], 0, 400) == [50, 185, 225]


def test_labels_at_an_edge_are_pushed_inwards() -> None:
    """A label is whole, wherever its mark stands."""
    assert timeline.spread([1, 99], [30, 30], 0, 100) == [15, 85]


def test_what_has_no_time_is_no_moment() -> None:
    """A fault that was never proved or healed has no marks for it, nor has a typo."""
    fault = {"injected_at": iso(START + 2), "proved_at": None, "healed_at": "soon"}
    shown = timeline.record(story(fault=fault))
    assert [moment.kind for moment in shown.moments] == ["fault"]
    assert shown.fault == (2, 12)


def test_p95_is_the_nearest_rank() -> None:
    """One slow request in twenty is within 5 %, two are not."""
    assert timeline.p95([10.0] * 19 + [4000]) == 10
    assert timeline.p95([10.0] * 18 + [4000, 4000]) == 4000
    assert timeline.p95([]) is None


def test_the_p95_line_is_broken_where_nothing_was_measured() -> None:
    """A second without a request is a gap and not a time of nought."""
    requests = [request(1.1), request(2.1), request(5.1)]
    drawing = timeline.draw(timeline.record(story(requests=requests)), 1040)
    assert re.findall("[ML]", drawing.line) == ["M", "L", "M"]


def test_health_is_claimed_only_while_somebody_looked() -> None:
    """A stretch ends where the looks end, and a slow look counts from its question."""
    looks = [look(1), look(1.25), look(9), look(9.25, healthy=False, ms=150)]
    health = timeline.record(story(looks=looks)).health
    assert [(s.value, round(s.begin, 2), round(s.end, 2)) for s in health] == [
        ("healthy", 0.99, 1.25),
        ("healthy", 8.99, 9.1),
        ("unhealthy", 9.1, 9.25),
    ]


def test_deployments_are_named_by_their_part() -> None:
    """The lane says who is the candidate and who the stable one, or how an id ends."""
    looks = [look(1), look(2, by=V1), look(3, by=None), look(4, by="dpl_somebody")]
    rolled_back = story(
        looks=looks, verdict={"deployment": V2}, incident={"from": V2, "to": V1}
    )
    served = timeline.record(rolled_back).served
    assert [s.value for s in served] == ["candidate", "stable", "no answer", "…mebody"]


def test_the_axis_begins_where_something_is_known() -> None:
    """The time before the first measurement takes no room; its seconds still count."""
    shown = timeline.record(story(requests=[request(7.5)], looks=[look(6.2)]))
    assert (shown.begin, shown.end) == (6, 12)


@pytest.mark.parametrize("low", [0, 17])
@pytest.mark.parametrize("span", [1, 3, 28, 47, 3600, 12_000])
def test_ticks_are_few_and_reach_far(low: float, span: float) -> None:
    """An axis has at most the steps asked for, all of them on it."""
    found = timeline.ticks(low, low + span, 4)
    assert 1 <= len(found) <= 5
    assert low <= found[0] < low + span
    assert low + span / 2 < found[-1] <= low + span
