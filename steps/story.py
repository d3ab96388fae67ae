"""What happened in a scenario, told on the terminal and kept for the report.

The record is filled by the steps from what they measured; nothing is filled in
afterwards. A scenario that did not run to its end never counts as passed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

OUTCOMES = ("passed", "failed", "inconclusive", "not_run")
MARKS = {"passed": "✓", "failed": "✗", "inconclusive": "?", "not_run": "-"}
STYLES = {
    "passed": "green",
    "failed": "red",
    "inconclusive": "yellow",
    "not_run": "yellow",
}


class Inconclusive(AssertionError):
    """What had to be measured was not: nothing is proved, in neither direction."""


def iso(seconds: float | datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds."""
    if seconds is None:
        return None
    if isinstance(seconds, float):
        seconds = datetime.fromtimestamp(seconds, UTC)
    return (
        seconds.astimezone(UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


@dataclass(slots=True, kw_only=True)
class Story:
    """One scenario: what was promised, what was done, what was seen.

    `started_at` is when it was put into the book until it has begun.
    """

    name: str
    feature: str
    tags: tuple[str, ...]
    started_at: float
    ended_at: float | None = None
    begun: bool = True
    outcome: str = "not_run"
    problem: str = ""
    fault: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None
    incident: dict[str, Any] | None = None
    restored_at: float | None = None
    told: list[tuple[float, str]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    looks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """How long it took; None when it never began or never ended."""
        if self.ended_at is None or not self.begun:
            return None
        return self.ended_at - self.started_at

    def document(self) -> dict[str, Any]:
        """The scenario as the contract's JSON."""
        phases = (self.incident or {}).get("phases", {})
        return {
            "name": self.name,
            "feature": self.feature,
            "tags": list(self.tags),
            "outcome": self.outcome,
            "problem": self.problem,
            "started_at": iso(self.started_at) if self.begun else None,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "fault": self.fault,
            "verdict": self.verdict,
            "phases": phases,
            "incident": (self.incident or {}).get("incident"),
            "restored_at": iso(self.restored_at),
            "told": [{"at": iso(at), "text": text} for at, text in self.told],
            "load": summary(self.requests),
        }


def summary(requests: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The load's own figures: how many, how fast, how many failed."""
    if not requests:
        return None
    times = sorted(r["ms"] for r in requests)
    span = max(requests[-1]["t"] - requests[0]["t"], 1e-3)
    outcomes = [r["outcome"] for r in requests]
    return {
        "requests": len(requests),
        "per_second": round(len(requests) / span, 1),
        "failed": outcomes.count("failed"),
        "unknown": outcomes.count("unknown"),
        "p50_ms": round(times[len(times) // 2], 1),
        "p95_ms": round(times[int(len(times) * 0.95)], 1),
    }


class Book:
    """All stories of a run, told as they happen when somebody is listening."""

    def __init__(self, *, listening: bool, seed: int, stack: str) -> None:
        self.stories: list[Story] = []
        self.seed, self.stack = seed, stack
        self.started_at = datetime.now(UTC).timestamp()
        self.notes: list[str] = []
        self.stopped = ""  # why the run did not reach a good end
        self._console = Console(highlight=False, soft_wrap=True, quiet=not listening)
        self._status = self._console.status("")

    def say(self, text: str, style: str = "") -> None:
        """A line on the terminal that belongs to no scenario."""
        self._console.print(Text(text, style=style))

    @property
    def passed(self) -> bool:
        """Every scenario passed, there was one, and the run reached its end."""
        all_passed = all(story.outcome == "passed" for story in self.stories)
        return bool(self.stories) and all_passed and not self.stopped

    def expect(self, name: str, feature: str, tags: Iterable[str]) -> Story:
        """A scenario that is to be run; until then it counts as not run."""
        story = Story(
            name=name,
            feature=feature,
            tags=tuple(sorted(tags)),
            started_at=datetime.now(UTC).timestamp(),
            begun=False,
        )
        self.stories.append(story)
        return story

    def begin(self, story: Story) -> None:
        """A scenario begins."""
        story.started_at, story.begun = datetime.now(UTC).timestamp(), True
        self._console.print(Text(f"\n{story.name}", style="bold"))

    def doing(self, text: str) -> None:
        """What is under way: a line that moves on a terminal, nothing in a pipe."""
        self._status.update(Text(text, style="dim"))
        self._status.start()

    def tell(self, story: Story, text: str) -> None:
        """Something happened."""
        now = datetime.now(UTC).timestamp()
        story.told.append((now, text))
        line = Text(f"  {now - story.started_at:5.1f} s  ", style="dim")
        line.append(text, style="not dim")
        self._console.print(line)

    def end(self, story: Story, outcome: str, problem: str = "") -> None:
        """A scenario ended."""
        self._status.stop()
        story.outcome, story.problem = outcome, problem
        style, took = STYLES[outcome], f": {story.name}"
        if story.begun:
            story.ended_at = datetime.now(UTC).timestamp()
            took = f" in {story.ended_at - story.started_at:.1f} s"
        self._console.print(Text(f"  {MARKS[outcome]} {outcome}{took}", style=style))
        if problem:
            self._console.print(Text(f"    {problem}", style=style))

    def document(self) -> dict[str, Any]:
        """The run as the contract's drill.json."""
        now = datetime.now(UTC).timestamp()
        scenarios = [story.document() for story in self.stories]
        return {
            "passed": self.passed,
            "stopped": self.stopped,
            "seed": self.seed,
            "stack": self.stack,
            "started_at": iso(self.started_at),
            "seconds": round(now - self.started_at, 3),
            "notes": self.notes,
            "scenarios": scenarios,
            "summary": {
                outcome: sum(s["outcome"] == outcome for s in scenarios)
                for outcome in OUTCOMES
            },
        }

    def write(self, folder: Path) -> dict[str, Any]:
        """Write drill.json; returns what was written."""
        folder.mkdir(parents=True, exist_ok=True)
        document = self.document()
        (folder / "drill.json").write_text(json.dumps(document, indent=2) + "\n")
        return document
