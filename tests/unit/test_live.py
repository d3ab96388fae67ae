"""The view of a watch that goes on, on a terminal and in a pipe."""

import io
import re

from rich.console import Console

from rollback.live import LiveView, clock
from rollback.model import Judgement, Signal, SignalState, SourceState, Verdict

MARKS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def verdict(
    judgement: Judgement = Judgement.WATCHING,
    *,
    name: str = "dpl_v2",
    evidence: float = 0.5,
    problem: str | None = None,
) -> Verdict:
    """A verdict so far, with one signal."""
    return Verdict(
        deployment=name,
        judgement=judgement,
        row="watching",
        reason="because of what was seen",
        signals=(_error_rate(evidence, bad=6),),
        proof=3000.0,
        stable="dpl_v1",
        baseline=(_error_rate(0.1, bad=0),),
        sources=(SourceState(name="probes", problem=problem),),
    )


def _error_rate(evidence: float, *, bad: int) -> SignalState:
    return SignalState(
        signal=Signal.ERROR_RATE,
        requests=100,
        bad=bad,
        threshold=0.05,
        evidence=evidence,
    )


def terminal() -> tuple[LiveView, io.StringIO]:
    """A view on a terminal of 120 columns."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=120, color_system=None)
    return LiveView(console), file


def plain(file: io.StringIO) -> str:
    """What was written, without marks."""
    return MARKS.sub("", file.getvalue())


def test_a_terminal_shows_counts_share_evidence_and_time() -> None:
    """All that the verdict will rest on, and the stable release beside it."""
    view, file = terminal()
    view.update(verdict(evidence=55.0), 290.2)
    view.stop()

    shown = " ".join(plain(file).split())
    assert "dpl_v2 watching" in shown
    assert "4:51 left" in shown
    assert "error rate 6 100 6.00% 5%" in shown
    assert "55 of 3,000" in shown
    assert "dpl_v1 beside it" in shown
    assert "0 of 100" in shown
    assert "seen by probes" in shown


def test_the_bar_grows_with_the_evidence() -> None:
    """From nothing at 1 to full at the proof, in orders of magnitude."""
    lengths = []
    for evidence in (0.5, 10.0, 1000.0, 3000.0):
        file = io.StringIO()
        console = Console(file=file, width=160, force_terminal=True, color_system=None)
        view = LiveView(console)
        view.update(verdict(evidence=evidence), 60)
        view.stop()
        row = next(
            line for line in plain(file).splitlines() if line.startswith("error rate")
        )
        lengths.append(sum(row.count(mark) for mark in "━╸╺"))
    assert lengths == sorted(lengths)
    assert lengths[0] == 0
    assert lengths[-1] == 24


def test_what_a_source_says_of_itself_is_shown() -> None:
    """Silence is seen while it lasts, not only at the end."""
    view, file = terminal()
    view.update(verdict(problem="probes has been silent for 31 s"), 60)
    view.stop()

    assert "probes has been silent for 31 s" in plain(file)


def test_a_pipe_gets_a_line_now_and_then() -> None:
    """One in ten seconds, and one at once when the verdict changes."""
    file = io.StringIO()
    view = LiveView(Console(file=file, width=300))
    for second in range(31):
        view.update(verdict(), 300.0 - second)
    view.update(verdict(Judgement.ROLL_BACK), 269.0)
    view.stop()

    lines = file.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("5:00 left  watching  error rate 6/100 (0.5 of 3,000)")
    assert "roll_back" in lines[-1]


def test_several_deployments_are_told_apart() -> None:
    """Each has its own lines in a pipe, and its own part of the view."""
    file = io.StringIO()
    view = LiveView(Console(file=file, width=300))
    for second in range(15):
        for name in ("dpl_v2", "dpl_v3"):
            view.update(verdict(name=name), 300.0 - second)

    lines = file.getvalue().splitlines()
    assert sum("dpl_v3 " in line for line in lines) == 2
    shown, screen = terminal()
    for name in ("dpl_v2", "dpl_v3"):
        shown.update(verdict(name=name), 60)
    shown.stop()
    assert plain(screen).count("dpl_v2") >= 1
    assert plain(screen).count("dpl_v3") >= 1


def test_many_deployments_fit_with_the_worst_on_top() -> None:
    """A bad one must not be below the edge of the screen."""
    view, file = terminal()
    for number in range(6):
        view.update(verdict(name=f"dpl_{number}", evidence=10.0**number), 60)
    view.stop()

    shown = [line.split()[0] for line in plain(file).splitlines() if "dpl_" in line]
    assert shown[-6:] == [f"dpl_{n}" for n in range(5, -1, -1)]


def test_time_is_said_in_minutes_and_seconds() -> None:
    """Rounded up, so that it is never over too early."""
    assert [clock(s) for s in (0, 0.2, 59.9, 60, 125)] == [
        "0:00",
        "0:01",
        "1:00",
        "1:00",
        "2:05",
    ]
