"""The plot: false rollbacks against delay, a point for each rule."""

from dataclasses import dataclass
from math import isinf
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import Fault, Healthy
from .rules import ALPHA
from .run import Results

__all__ = ["plot"]

PANELS = ((0.05, 1), (0.05, 10), (0.01, 1), (0.01, 10))
WORSE = 5  # the fault of the plot: so many times the threshold
HALF = 0.5  # the healthy service of the plot: so much of the threshold
NONE = 1e-5  # where "none at all" stands
NOT_FOUND = 900  # where "not within the watch" stands
SIZE = 9.0  # of the text
OURS, SPEC, FLAGGER, ARGO = "#0b6e4f", "#9a5200", "#2f4b9c", "#8a1f5c"
LABELS = {
    "ours: evidence": ("our evidence", OURS),
    "ours: whole matrix": ("our matrix", OURS),
    "literal, every 1 s": ("literal, 1 s", SPEC),
    "literal, every 10 s": ("literal, 10 s", SPEC),
    "Flagger's, threshold 1": ("Flagger 1", FLAGGER),
    "Flagger's, threshold 5": ("Flagger 5", FLAGGER),
    "Flagger's, threshold 10": ("Flagger 10", FLAGGER),
    "Argo's, failureLimit 0": ("Argo 0", ARGO),
    "Argo's, failureLimit 3": ("Argo 3", ARGO),
}


@dataclass(frozen=True, slots=True)
class Spot:
    """A point of the plot; rules that fall together share it."""

    x: float
    y: float
    label: str
    colour: str


@dataclass(frozen=True, slots=True)
class Box:
    """Where something is drawn, in points of the page."""

    left: float
    right: float
    low: float
    high: float

    def meets(self, other: "Box") -> bool:
        """Whether they overlap."""
        apart = self.right < other.left or other.right < self.left
        return not apart and self.low < other.high and other.low < self.high


def plot(results: Results, to: Path) -> None:
    """Draw it as SVG, with text as text."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "decide"}):
        figure = Figure(figsize=(11, 8.6), dpi=72, facecolor="white")
        figure.subplots_adjust(0.09, 0.1, 0.985, 0.89, wspace=0.06, hspace=0.14)
        figure.suptitle(
            "Down and to the left is better. Across: median from fault to verdict, "
            "five times the threshold after 20 minutes.\nUp: healthy half-hour watches "
            "rolled back, at half the threshold. The peers' rules are re-implemented.",
            fontsize=11,
        )
        every = figure.subplots(2, 2, sharex=True, sharey=True).flat
        for axes, (threshold, rate) in zip(every, PANELS, strict=True):
            _axes(axes, f"threshold {threshold:.0%}, {rate} req/s")
            _draw(axes, _spots(results, threshold, rate))
        figure.savefig(to, format="svg", metadata={"Date": None})


def _axes(axes: Axes, title: str) -> None:
    axes.set(xscale="log", yscale="log", xlim=(8, 2000), ylim=(NONE / 2.5, 15))
    axes.set_title(title, fontsize=SIZE + 1)
    axes.axhline(ALPHA, color="#777777", linewidth=0.8, linestyle="--")
    axes.text(9, ALPHA * 1.15, "our bound", color="#777777", fontsize=SIZE - 1)
    axes.set_xticks([10, 30, 60, 120, 300, NOT_FOUND])
    axes.set_xticklabels(["10 s", "30", "60", "120", "300", "not within\nthe watch"])
    axes.set_yticks([NONE, 1e-4, 1e-3, 1e-2, 1e-1, 1])
    axes.set_yticklabels(["none", "0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
    axes.minorticks_off()
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)


def _spots(results: Results, threshold: float, rate: int) -> list[Spot]:
    delays = results.delay[Fault(threshold, rate, WORSE * threshold, later=True)]
    false = results.false[Healthy(threshold, rate, HALF, 0.0)]
    found: dict[tuple[float, float], Spot] = {}
    for name, (label, colour) in LABELS.items():
        bad, of = false[name]
        x = delays[name].median
        at = (NOT_FOUND if isinf(x) else x, max(bad / of, NONE))
        together = f"{found[at].label}, {label}" if at in found else label
        found[at] = Spot(*at, together.replace(", our ", ", "), colour)
    return list(found.values())


def _draw(axes: Axes, spots: list[Spot]) -> None:
    """Points and their labels, each where it covers nothing."""
    ends = axes.transAxes.transform([(0, 0), (1, 1)])
    frame = Box(ends[0][0], ends[1][0], ends[0][1], ends[1][1])
    places = axes.transData.transform([(spot.x, spot.y) for spot in spots])
    taken = [Box(x - 5, x + 5, y - 5, y + 5) for x, y in places]
    for spot, (x, y) in zip(spots, places, strict=True):
        across, up, box = _free(x, y, 0.56 * SIZE * len(spot.label), frame, taken)
        taken.append(box)
        axes.plot(spot.x, spot.y, "o", color=spot.colour, markersize=7)
        axes.annotate(
            spot.label,
            (spot.x, spot.y),
            xytext=(across, up),
            textcoords="offset points",
            color=spot.colour,
            fontsize=SIZE,
            horizontalalignment="left" if across > 0 else "right",
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "color": spot.colour, "linewidth": 0.6}
            if up
            else None,
        )


def _free(
    x: float, y: float, width: float, frame: Box, taken: list[Box]
) -> tuple[float, float, Box]:
    """The nearest place beside a point at which a label is free of all others."""
    for up in sorted(range(-90, 91, 6), key=abs):
        for across in (8.0, -8.0):
            left = x + across if across > 0 else x + across - width
            box = Box(left, left + width, y + up - SIZE / 2, y + up + SIZE / 2)
            inside = box.left > frame.left and box.right < frame.right
            inside = inside and box.low > frame.low and box.high < frame.high
            if inside and not any(box.meets(other) for other in taken):
                return across, up, box
    raise ValueError("The plot has no room for its labels.")
