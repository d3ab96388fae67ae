"""The timeline of a scenario: what was measured when, and where that is drawn.

Times are seconds from the scenario's start. Lengths are the drawing's own units, which
are CSS pixels where it is shown at its full width. Nothing here knows of HTML.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from .story import Story

Row = Mapping[str, Any]  # a request or a look, as it was recorded

OUTCOMES = ("ok", "failed", "unknown")
SLOW_MS = 3000.0
UNSEEN_SECONDS = 2.0  # a look says nothing about what comes later than this

LABELS, TOP, BOTTOM, HEIGHT = 32.0, 44.0, 412.0, 452.0
LOAD, TIMES = (66.0, 186.0), (218.0, 308.0)
LANES, LANE_HEIGHT = (338.0, 384.0), 20.0
LEFT, RIGHT = 46.0, 14.0
GLYPH = (
    7.2  # the width of a letter at the labels' size, rather too wide than too narrow
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """The requests that ended within one second."""

    at: int
    ok: int
    failed: int
    unknown: int
    p95_ms: float | None

    @property
    def requests(self) -> int:
        """All of them."""
        return self.ok + self.failed + self.unknown

    @property
    def stack(self) -> tuple[tuple[str, int, int], ...]:
        """Each outcome with where its part of the column begins and ends."""
        edges = pairwise((0, self.ok, self.ok + self.failed, self.requests))
        return tuple((n, *edge) for n, edge in zip(OUTCOMES, edges, strict=True))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Something that was the same on every look for a while."""

    begin: float
    end: float
    value: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at one time; `short` is its name where room is scarce."""

    at: float
    kind: str
    name: str
    short: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that a timeline shows; what was not measured is empty."""

    begin: float
    end: float
    seconds: tuple[Second, ...]
    served: tuple[Stretch, ...]
    health: tuple[Stretch, ...]
    moments: tuple[Moment, ...]
    fault: tuple[float, float] | None


# -- what was measured ----------------------------------------------------------


def since(start: float, at: object) -> float | None:
    """Seconds from `start` (unix time) to a unix time or an ISO 8601 text, if any."""
    if isinstance(at, str):
        try:
            at = datetime.fromisoformat(at).timestamp()
        except ValueError:
            return None
    return at - start if isinstance(at, int | float) else None


def p95(values: Sequence[float]) -> float | None:
    """The 95th percentile by nearest rank."""
    return sorted(values)[math.ceil(95 * len(values) / 100) - 1] if values else None


def per_second(requests: Sequence[Row], start: float) -> tuple[Second, ...]:
    """Requests by the second in which they ended; a second without any is left out."""
    groups = defaultdict(list)
    for each in requests:
        groups[math.floor(each["t"] - start)].append(each)
    return tuple(_second(at, groups[at]) for at in sorted(groups))


def _second(at: int, requests: Sequence[Row]) -> Second:
    outcomes = [r.get("outcome") for r in requests]
    ok, failed = outcomes.count("ok"), outcomes.count("failed")
    unknown = len(outcomes) - ok - failed
    times = [r["ms"] for r in requests if r.get("ms") is not None]
    return Second(at=at, ok=ok, failed=failed, unknown=unknown, p95_ms=p95(times))


def stretches(
    looks: Sequence[Row], start: float, value: Callable[[Row], str]
) -> tuple[Stretch, ...]:
    """Looks with the same value in a row, each from its question to the next one's."""
    found: list[Stretch] = []
    ends = [_asked(look) for look in looks[1:]] + [look["at"] for look in looks[-1:]]
    for look, until in zip(looks, ends, strict=True):
        known = until if until - look["at"] <= UNSEEN_SECONDS else look["at"]
        now = Stretch(_asked(look) - start, known - start, value(look))
        last = found[-1] if found else None
        if last and last.value == now.value and last.end >= now.begin:
            found[-1] = Stretch(last.begin, now.end, now.value)
        else:
            found.append(now)
    return tuple(found)


def _asked(look: Row) -> float:
    return float(look["at"] - (look.get("ms") or 0) / 1000)


def moments(story: Story) -> tuple[Moment, ...]:
    """What happened and when, in order; what has no time is left out."""
    fault, verdict = story.fault or {}, story.verdict or {}
    found = (
        (fault.get("injected_at"), "fault", "fault injected", "broken"),
        (fault.get("proved_at"), "proved", "fault proved", "proved"),
        (verdict.get("decided_at"), "verdict", "verdict", "verdict"),
        (story.restored_at, "restored", "restored", "restored"),
        (fault.get("healed_at"), "healed", "fault healed", "healed"),
    )
    known = [
        Moment(at, kind, name, short)
        for when, kind, name, short in found
        if (at := since(story.started_at, when)) is not None
    ]
    return tuple(sorted(known, key=lambda moment: moment.at))


def role(story: Story) -> Callable[[Row], str]:
    """Who answered a look: its part in this scenario, or the end of its id."""
    stable = (story.incident or {}).get("to")
    names = {stable: "stable", (story.verdict or {}).get("deployment"): "candidate"}

    def name(look: Row) -> str:
        who = look.get("deployment")
        return "no answer" if who is None else names.get(who) or f"…{str(who)[-6:]}"

    return name


def record(story: Story) -> Record:
    """What a scenario's timeline shows."""
    start = story.started_at
    seconds = per_second(story.requests, start)
    health = stretches(
        story.looks, start, lambda look: "healthy" if look["healthy"] else "unhealthy"
    )
    points = moments(story)
    at = {moment.kind: moment.at for moment in points}
    begins = [*at.values(), *(s.begin for s in health), *(s.at for s in seconds)]
    begin = math.floor(min(begins, default=0))
    ends = [story.seconds or 0.0, *at.values(), *(s.end for s in health)]
    end = math.ceil(max(begin + 1, *ends, *(s.at + 1 for s in seconds)))
    return Record(
        begin=begin,
        end=end,
        seconds=seconds,
        served=stretches(story.looks, start, role(story)),
        health=health,
        moments=points,
        fault=(at["fault"], at.get("healed", end)) if "fault" in at else None,
    )


# -- where it is drawn ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to places; what lies outside is put at the edge."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        return round(self.begin + share * (self.end - self.begin), 2)


def ticks(low: float, high: float, most: int) -> tuple[int, ...]:
    """At most so many round steps from `low` to `high`: those of 1, 2, 5, 10..."""
    span = max(high - low, 1)
    power = 10 ** max(math.floor(math.log10(span / most)), 0)
    step = next(n * power for n in (1, 2, 5, 10) if span / (n * power) <= most)
    return tuple(range(math.ceil(low / step) * step, math.floor(high) + 1, step))


def spread(
    wanted: Sequence[float], widths: Sequence[float], low: float, high: float
) -> list[float]:
    """Centres for labels, in the order given: near to where wanted, none overlapping.

    The mean of pushing them apart rightwards and leftwards keeps what both keep: the
    distances, and, where there is room for all, the edges.
    """
    right = _push_left(_push_right(wanted, widths, low), widths, high)
    left = _push_right(_push_left(wanted, widths, high), widths, low)
    return [round((a + b) / 2, 2) for a, b in zip(right, left, strict=True)]


def _push_right(
    wanted: Sequence[float], widths: Sequence[float], edge: float
) -> list[float]:
    centres = []
    for centre, width in zip(wanted, widths, strict=True):
        centres.append(max(centre, edge + width / 2))
        edge = centres[-1] + width / 2
    return centres


def _push_left(
    wanted: Sequence[float], widths: Sequence[float], edge: float
) -> list[float]:
    mirrored = _push_right([-c for c in reversed(wanted)], widths[::-1], -edge)
    return [-c for c in reversed(mirrored)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A timeline at one width: scales, and all that needs more than a scale."""

    width: float
    x: Scale
    load: Scale
    times: Scale
    line: str
    labels: tuple[tuple[Moment, str, float], ...]
    every: tuple[int, ...]


def draw(shown: Record, width: float) -> Drawing:
    """Lay a timeline out; `width` below 500 takes the short names."""
    x = Scale(shown.begin, shown.end, LEFT, width - RIGHT)
    most = max([1, *(s.requests for s in shown.seconds)])
    slowest = max([SLOW_MS, *(s.p95_ms or 0 for s in shown.seconds)])
    times = Scale(0, slowest * 1.2, TIMES[1], TIMES[0])
    return Drawing(
        width=width,
        x=x,
        load=Scale(0, most * 1.1, LOAD[1], LOAD[0]),
        times=times,
        line=line(shown.seconds, x, times),
        labels=_labels(shown.moments, x, width),
        every=ticks(shown.begin, shown.end, int(width / 75)),
    )


def line(seconds: Sequence[Second], x: Scale, y: Scale) -> str:
    """An SVG path through the p95 of each second, broken where one has none."""
    points = [(s.at, s.p95_ms) for s in seconds if s.p95_ms is not None]
    # A stroke of no length with round ends shows a second that stands alone.
    path = [f"M{x(at + 0.5)},{y(ms)}h0" for at, ms in points[:1]]
    for (before, _), (at, ms) in pairwise(points):
        place = f"{x(at + 0.5)},{y(ms)}"
        path.append(f"L{place}" if at == before + 1 else f"M{place}h0")
    return "".join(path)


def _labels(
    shown: Sequence[Moment], x: Scale, width: float
) -> tuple[tuple[Moment, str, float], ...]:
    texts = [m.short if width < 500 else m.name for m in shown]
    widths = [max(len(text), 6) * GLYPH + 10 for text in texts]
    centres = spread([x(m.at) for m in shown], widths, 0, width)
    return tuple(zip(shown, texts, centres, strict=True))
