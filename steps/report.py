"""The report of a drill: one HTML file that needs nothing else.

What was not measured is None in here and "not measured" on the page, by the
template's own rule for printing; it is never made up and never counts as good.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template, Undefined

from . import timeline
from .story import MARKS, OUTCOMES, Story
from .timeline import Drawing, Record, since

WIDTHS = {"wide": 1040.0, "middle": 680.0, "narrow": 340.0}
PHASES = ("identify", "initiate", "carry_out", "verify", "communicate")
NOT_MEASURED = "not measured"
SPACE = "\N{NO-BREAK SPACE}"


def write(document: Mapping[str, Any], stories: Sequence[Story], path: Path) -> None:
    """Write the report of a run; `document` is its `drill.json`.

    Raises:
        OSError: the file cannot be written.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(document, stories), encoding="utf-8")


def render(document: Mapping[str, Any], stories: Sequence[Story]) -> str:
    """The report as text."""
    cards = [card(story, index) for index, story in enumerate(stories, 1)]
    return _template().render(
        run=document,
        cards=cards,
        # Both, so that neither a slip there nor one here can make it a pass.
        passed=document.get("passed") is True
        and all(c.story.outcome == "passed" for c in cards),
        counts=counts(stories),
        figures=figures(cards),
        marks=MARKS,
        geometry=timeline,
    )


@cache
def _template() -> Template:
    world = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: NOT_MEASURED if _missing(value) else value,
    )
    filters = (duration, percent, number, ms, day, clock, words)
    world.filters.update({function.__name__: _known(function) for function in filters})
    return world.get_template("report.html.j2")


def counts(stories: Sequence[Story]) -> dict[str, int]:
    """How many scenarios ended how; an outcome nobody knows is no pass."""
    seen = Counter(s.outcome if s.outcome in OUTCOMES else "failed" for s in stories)
    return {name: seen[name] for name in OUTCOMES}


# -- a scenario ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A time against its budget, both in seconds; `share` of it in percent."""

    name: str
    seconds: float | None
    budget: float | None
    missed: bool

    @property
    def share(self) -> float | None:
        """How much of the budget was used."""
        if self.seconds is None or not self.budget:
            return None
        return 100 * self.seconds / self.budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A scenario as the page shows it; times in seconds."""

    id: str
    story: Story
    breaks: bool
    record: Record
    drawings: Mapping[str, Drawing]
    summary: str
    happened: str
    to_verdict: float | None
    to_restored: float | None
    total: float | None
    phases: tuple[Bar, ...]

    @property
    def seconds(self) -> float | None:
        """How long it took; None when it never ended."""
        return self.story.seconds


def card(story: Story, index: int) -> Card:
    """Everything that is worked out for one scenario."""
    record = timeline.record(story)
    at = {moment.kind: moment.at for moment in record.moments}
    return Card(
        id=f"scenario-{index}",
        story=story,
        breaks=story.fault is not None or "chaos" in story.tags,
        record=record,
        drawings={n: timeline.draw(record, width) for n, width in WIDTHS.items()},
        summary=summary(story, record),
        happened=happened(record),
        to_verdict=_between(at, "fault", "verdict"),
        to_restored=_between(at, "verdict", "restored"),
        total=_between(at, "fault", "restored"),
        phases=phases(story),
    )


def _between(at: Mapping[str, float], begin: str, end: str) -> float | None:
    return at[end] - at[begin] if begin in at and end in at else None


def phases(story: Story) -> tuple[Bar, ...]:
    """The five phases of a rollback; none where no rollback was asked for."""
    if story.incident is None and "rollback" not in story.tags:
        return ()
    measured = (story.incident or {}).get("phases", {})
    return tuple(_bar(name, measured.get(name, {})) for name in PHASES)


def _bar(name: str, phase: Mapping[str, Any]) -> Bar:
    seconds, budget = phase.get("seconds"), phase.get("budget_seconds")
    over = seconds is not None and budget is not None and seconds > budget
    missed = over or phase.get("met") is False
    return Bar(name=words(name), seconds=seconds, budget=budget, missed=missed)


def summary(story: Story, record: Record) -> str:
    """The load of a scenario in words."""
    if not record.seconds:
        return "Requests: not measured."
    total = Counter[str]()
    for second in record.seconds:
        total.update({name: getattr(second, name) for name in timeline.OUTCOMES})
    said = ", ".join(f"{total[name]} {name}" for name in timeline.OUTCOMES)
    end = math.inf if story.ended_at is None else story.ended_at
    late = sum(r["t"] > end for r in story.requests)
    slowest = max(record.seconds, key=lambda second: second.p95_ms or 0)
    return (
        f"{len(story.requests)} requests: {said}"
        f"{f'; {late} of them after the end, as the load stopped' if late else ''}. "
        f"The slowest second was second {slowest.at}, with a p95 of "
        f"{NOT_MEASURED if slowest.p95_ms is None else ms(slowest.p95_ms)}."
    )


def happened(record: Record) -> str:
    """The marks of a timeline in words."""
    return " ".join(f"{m.name} at {m.at:.1f} s.".capitalize() for m in record.moments)


# -- the key figures ----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The slowest scenario's time, and the scenarios that have none."""

    bar: Bar
    slowest: str
    of: int
    unmeasured: tuple[str, ...]


def figures(cards: Sequence[Card]) -> tuple[Figure, ...]:
    """Three times over all scenarios that break something; none if none does."""
    broken = [c for c in cards if c.breaks]
    if not broken:
        return ()
    verdict, restored = ("identify",), ("initiate", "verify")
    return (
        _figure("fault to verdict", broken, lambda c: c.to_verdict, verdict),
        _figure("verdict to restored", broken, lambda c: c.to_restored, restored),
        _figure("fault to restored", broken, lambda c: c.total, verdict + restored),
    )


def _figure(
    name: str,
    cards: Sequence[Card],
    value: Callable[[Card], float | None],
    parts: Sequence[str],
) -> Figure:
    measured = [(seconds, c) for c in cards if (seconds := value(c)) is not None]
    seconds, worst = max(measured, key=lambda pair: pair[0], default=(None, None))
    budgets = [b for c in cards if (b := _budget(c, parts)) is not None]
    budget = min(budgets, default=None)
    missed = seconds is not None and budget is not None and seconds > budget
    return Figure(
        bar=Bar(name=name, seconds=seconds, budget=budget, missed=missed),
        slowest=worst.story.name if worst else "",
        of=len(measured),
        unmeasured=tuple(c.story.name for c in cards if value(c) is None),
    )


def _budget(shown: Card, parts: Sequence[str]) -> float | None:
    """The sum of these phases' budgets, as the engine reported them."""
    known = [bar.budget for bar in shown.phases if bar.name in parts and bar.budget]
    return sum(known) if len(known) == len(parts) else None


# -- how values are said; None where there is nothing to say --------------------


def _missing(value: object) -> bool:
    return value is None or isinstance(value, Undefined)


def _known(function: Callable[..., str | None]) -> Callable[..., str | None]:
    def said(value: Any, *more: Any) -> str | None:
        return None if _missing(value) else function(value, *more)

    return said


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    said = f"{minutes}{SPACE}min"
    return f"{said} {rest}{SPACE}s" if rest else said


def percent(share: float) -> str:
    """A proportion for people, as exact as a threshold of 5 % asks for."""
    return f"{100 * share:.1f}{SPACE}%"


def number(value: float) -> str:
    """A number with its thousands apart; a large one by its power of ten."""
    if not math.isfinite(value):
        return "\N{INFINITY}"
    if value >= 1e7:
        mantissa, power = f"{value:.1e}".split("e")
        digits = str(int(power)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa}{SPACE}\N{MULTIPLICATION SIGN}{SPACE}10{digits}"
    if 0 < value < 0.01:
        return f"<{SPACE}0.01"
    said = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2f}"
    return said.replace(",", "\N{NARROW NO-BREAK SPACE}")


def ms(value: float) -> str:
    """Milliseconds for people."""
    return f"{number(round(value))}{SPACE}ms"


def day(at: str) -> str:
    """The day and time of a contract's timestamp."""
    moment = datetime.fromisoformat(at).astimezone(UTC)
    return f"{moment:%A} {moment.day} {moment:%B %Y, %H:%M} UTC"


def clock(at: object, start: float) -> str | None:
    """A time as seconds from the scenario's start."""
    passed = since(start, at)
    return None if passed is None else f"{passed:.1f}{SPACE}s"


def words(name: str) -> str:
    """A name of the code as words."""
    return re.sub(r"[_-]+", " ", name)
