"""Figure c: our mean delay beside the bounds and a CUSUM that knows the fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .clairvoyant import Cusum, calibrated, first_order, robust
from .figures import LATER, QUIET, Fault, random
from .ours import Evidences, Values
from .rules import ALPHA, PROOF
from .traffic import Bad, Dice, probabilities

__all__ = ["Ratio", "bound", "ratio"]

PATIENCE = 40_000  # seconds after which a watch that proves nothing is given up
SWEEP = 100  # so often the watches that are done are dropped


class Statistic(Protocol):
    """What grows until it reaches a bound."""

    def take(self, bad: Bad) -> Values:
        """Take in one second of all watches."""

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Go on with these watches alone."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """One cell of figure c: mean delays in seconds."""

    ours: float  # at 1 / alpha, as the bounds and the CUSUM
    shared: float  # at 3 / alpha, as it ships
    clairvoyant: float
    first_order: float
    robust: float


def bound(cell: Fault, watches: int) -> float:
    """Calibrate the CUSUM for this fault; when the fault comes does not matter."""
    return calibrated(
        random(4, cell.threshold, cell.rate, cell.bad),
        threshold=cell.threshold,
        bad=cell.bad,
        rate=cell.rate,
        watches=watches,
    )


def ratio(cell: Fault, bounds: Mapping[Fault, float], watches: int) -> Ratio:
    """Watch until everything is proved, however long that takes."""
    cusum_bound = bounds[replace(cell, later=False)]
    draw = random(5, cell.threshold, cell.rate, cell.bad, cell.later)
    ours = Evidences(cell.threshold, cell.rate, watches)
    mean, mean_shared = _means(draw, cell, ours, (1 / ALPHA, PROOF), watches)
    cusum = Cusum(cell.threshold, cell.bad, cell.rate, watches)
    (clairvoyant,) = _means(draw, cell, cusum, (cusum_bound,), watches)
    known = (cell.threshold, cell.bad, cell.rate)
    return Ratio(
        ours=mean,
        shared=mean_shared,
        clairvoyant=clairvoyant,
        first_order=first_order(*known, later=cell.later),
        robust=robust(*known, later=cell.later),
    )


def _means(
    draw: Generator,
    cell: Fault,
    statistic: Statistic,
    bounds: Sequence[float],
    watches: int,
) -> list[float]:
    """Mean delays to rising bounds, of the watches without a false alarm before."""
    begins = LATER if cell.later else 0
    good = Dice(probabilities(cell.rate, QUIET * cell.threshold, 0))
    faulty = Dice(probabilities(cell.rate, cell.bad, 0))
    at = np.full((len(bounds), watches), np.inf)
    active = np.arange(watches)
    for second in range(1, PATIENCE):
        dice = faulty if second > begins else good
        values = statistic.take(dice.throw(draw, (len(active),)))
        for row, limit in zip(at, bounds, strict=True):
            new = (values >= limit) & np.isinf(row[active])
            row[active[new]] = second
        if second % SWEEP == 0:
            going = np.isinf(at[-1, active])
            statistic.keep(going)
            active = active[going]
            if not len(active):
                break
    waits = at - begins
    return [float(row[row > 0].mean()) for row in waits]
