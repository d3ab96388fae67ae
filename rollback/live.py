"""A watch as it goes on: a view that is redrawn on a terminal, lines in a pipe."""

import math

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .decide import NAMES
from .evidence import SUSPICION
from .model import Judgement, SignalState, Verdict

__all__ = ["COLOURS", "LiveView", "clock"]

COLOURS: dict[str, str] = {
    Judgement.HEALTHY: "green",
    Judgement.ROLL_BACK: "red",
    Judgement.INCONCLUSIVE: "yellow",
    Judgement.WATCHING: "cyan",
}

PLAIN_EVERY = 10.0  # in a pipe, one line in so many seconds
BAR_WIDTH = 24
IN_FULL = 2  # more deployments than that are shown in a line each, the worst first


class LiveView:
    """Shows every look at every deployment that is under watch.

    `update` is called after each look, `stop` before anything else is shown.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._latest: dict[str, tuple[Verdict, float]] = {}
        self._longest = 0.0
        self._said: dict[str, tuple[float, Judgement]] = {}
        self._live: Live | None = None

    def update(self, verdict: Verdict, left: float) -> None:
        """Show a verdict so far, and the seconds that are left."""
        self._latest[verdict.deployment] = verdict, left
        self._longest = max(self._longest, left)
        if not self._console.is_terminal:
            self._line(verdict, left)
            return
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(self._view(), refresh=True)

    def stop(self) -> None:
        """Take the view away."""
        if self._live:
            self._live.stop()
            self._live = None

    def _line(self, verdict: Verdict, left: float) -> None:
        """One now and then, and one whenever the verdict changes."""
        known = self._said.get(verdict.deployment)
        if known and known[1] is verdict.judgement and known[0] - left < PLAIN_EVERY:
            return
        self._said[verdict.deployment] = left, verdict.judgement
        of = f"{verdict.deployment} " if len(self._latest) > 1 else ""
        signals = "  ".join(
            f"{NAMES[s.signal]} {s.bad}/{s.requests} ({_evidence(s, verdict)})"
            for s in verdict.signals
        )
        said = f"{clock(left)} left  {of}{verdict.judgement.value}  {signals}"
        self._console.print(Text(said), soft_wrap=True)

    def _view(self) -> RenderableType:
        if len(self._latest) > IN_FULL:
            return _brief([verdict for verdict, _ in self._latest.values()])
        parts: list[RenderableType] = []
        for verdict, left in self._latest.values():
            parts += [self._head(verdict, left), _signals(verdict), _foot(verdict)]
        return Group(*parts)

    def _head(self, verdict: Verdict, left: float) -> RenderableType:
        head = Table.grid(padding=(0, 2))
        passed = ProgressBar(
            total=self._longest or 1.0,
            completed=self._longest - left,
            width=BAR_WIDTH,
            complete_style=COLOURS[verdict.judgement],
        )
        said = Text(verdict.judgement.value.replace("_", " "))
        said.stylize(f"bold {COLOURS[verdict.judgement]}")
        head.add_row(
            Text(verdict.deployment, "bold"), said, passed, f"{clock(left)} left"
        )
        return head


def _brief(verdicts: list[Verdict]) -> RenderableType:
    """A line for each deployment with its clearest signal; the worst comes first."""
    table = Table.grid(padding=(0, 2))
    clearest = [(max(v.signals, key=lambda s: s.evidence), v) for v in verdicts]
    for state, verdict in sorted(clearest, key=lambda one: -one[0].evidence):
        table.add_row(
            Text(verdict.deployment, "bold"),
            Text(verdict.judgement.value, COLOURS[verdict.judgement]),
            f"{NAMES[state.signal]} {state.bad} of {state.requests}",
            _bar(state, verdict),
            Text(_evidence(state, verdict), "dim"),
        )
    return table


def _signals(verdict: Verdict) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("signal")
    for name in ("bad", "of", "share", "at most"):
        table.add_column(name, justify="right")
    table.add_column("evidence")
    table.add_column("")
    beside = {state.signal: state for state in verdict.baseline}
    if beside:
        table.add_column(f"{verdict.stable} beside it", style="dim")
    for state in verdict.signals:
        bad = "red" if state.proportion > state.threshold else ""
        row: list[RenderableType] = [
            NAMES[state.signal],
            str(state.bad),
            str(state.requests),
            Text(f"{state.proportion:.2%}", bad),
            f"{state.threshold:.0%}",
            _bar(state, verdict),
            Text(_evidence(state, verdict), "dim"),
        ]
        if beside:
            other = beside[state.signal]
            row.append(f"{other.bad} of {other.requests}")
        table.add_row(*row)
    return table


def _bar(state: SignalState, verdict: Verdict) -> RenderableType:
    """How far the evidence has come on its way to the proof, in orders of magnitude."""
    reached = math.log(max(state.evidence, 1.0)) / math.log(max(verdict.proof, 2.0))
    style = "yellow" if state.evidence >= SUSPICION else "cyan"
    return ProgressBar(
        total=1.0,
        completed=min(reached, 1.0),
        width=BAR_WIDTH,
        complete_style="red" if reached >= 1 else style,
        finished_style="red",
    )


def _evidence(state: SignalState, verdict: Verdict) -> str:
    return f"{state.evidence:.3g} of {verdict.proof:,.0f}"


def _foot(verdict: Verdict) -> RenderableType:
    """What the sources say of themselves, and what stands in the way of a verdict."""
    problems = [source.problem for source in verdict.sources if source.problem]
    names = ", ".join(source.name for source in verdict.sources) or "nobody"
    foot = Text(f"seen by {names}", "dim")
    if verdict.judgement is not Judgement.WATCHING:
        foot.append(f"\n{verdict.reason}", COLOURS[verdict.judgement])
    elif problems:
        foot.append("\n" + "; ".join(problems), "yellow")
    return foot


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}:{rest:02d}"
