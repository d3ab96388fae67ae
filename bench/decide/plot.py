"""The plot: false rollbacks against delay, a point for each rule."""

from math import isinf
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import Fault, Healthy
from .rules import ALPHA, RULES
from .run import Results

__all__ = ["plot"]

PANELS = ((0.05, 1), (0.05, 10), (0.01, 1), (0.01, 10))
WORSE = 5  # the fault of the plot: so many times the threshold
HALF = 0.5  # the healthy service of the plot: so much of the threshold
NONE = 1e-5  # where "none at all" stands
NOT_FOUND = 900  # where "not within the watch" stands
WIDE, HIGH = 105, 11  # of a label, about, in points
COLOURS = {"ours": "#0b6e4f", "literal": "#8a4f00", "Flagger's": "#2f4b9c"}
OTHERS = "#7a1f5c"


def plot(results: Results, to: Path) -> None:
    """Draw it as SVG, with text as text."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "decide"}):
        figure = Figure(figsize=(11, 8.4), facecolor="white", layout="constrained")
        figure.suptitle(
            "Down and to the left is better: a fault of five times the threshold after "
            "20 minutes,\nand healthy half-hour watches at half of the threshold",
            fontsize=12,
        )
        for axes, (threshold, rate) in zip(
            figure.subplots(2, 2, sharex=True, sharey=True).flat, PANELS, strict=True
        ):
            _panel(axes, results, threshold, rate)
        figure.supxlabel("from fault to verdict, median", fontsize=10)
        figure.supylabel("healthy watches rolled back", fontsize=10)
        figure.savefig(to, format="svg", metadata={"Date": None})


def _panel(axes: Axes, results: Results, threshold: float, rate: int) -> None:
    delays = results.delay[Fault(threshold, rate, WORSE * threshold, later=True)]
    false = results.false[Healthy(threshold, rate, HALF, 0.0)]
    axes.set(xscale="log", yscale="log", xlim=(8, 2600), ylim=(NONE / 1.8, 2.2))
    axes.set_title(f"threshold {threshold:.0%}, {rate} request(s)/s", fontsize=11)
    axes.axhline(ALPHA, color="#999999", linewidth=0.8, linestyle="--")
    axes.set_xticks([10, 30, 60, 120, 300, NOT_FOUND])
    axes.set_xticklabels(["10 s", "30", "60", "120", "300", "not within\nthe watch"])
    axes.set_yticks([NONE, 1e-4, 1e-3, 1e-2, 1e-1, 1])
    axes.set_yticklabels(["none", "0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
    axes.minorticks_off()
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)
    points = []
    for name in RULES:
        bad, of = false[name]
        at = delays[name].median
        points.append((name, NOT_FOUND if isinf(at) else at, max(bad / of, NONE)))
    for name, x, y, lift in _spread(points):
        colour = COLOURS.get(name.split(":")[0].split(",")[0].split(" ")[0], OTHERS)
        axes.plot(x, y, "o", color=colour, markersize=7)
        axes.annotate(
            name,
            (x, y),
            xytext=(8, lift),
            textcoords="offset points",
            color=colour,
            fontsize=8.5,
            verticalalignment="center",
        )


def _spread(
    points: list[tuple[str, float, float]],
) -> list[tuple[str, float, float, float]]:
    """How far up each label has to move so that none covers another."""
    placed: list[tuple[float, float]] = []
    found = []
    for name, x, y in sorted(points, key=lambda point: (point[2], point[1])):
        across, up = np.log(x) * 60, np.log(y) * 22
        lift = 0.0
        while any(
            abs(across - a) < WIDE and abs(up + lift - u) < HIGH for a, u in placed
        ):
            lift += 3
        placed.append((across, up + lift))
        found.append((name, x, y, lift))
    return found
