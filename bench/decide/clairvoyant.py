"""What cannot be beaten by much: a CUSUM that knows the fault, and the known bounds."""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .rules import ALPHA
from .traffic import WATCH, Bad, Dice, probabilities

__all__ = ["Cusum", "calibrated", "first_order", "robust"]

Values = NDArray[np.float64]


class Cusum:
    """Page's CUSUM of the likelihood ratio of the true bad rate against the threshold.

    It knows what nobody knows: how bad the service will be.
    """

    def __init__(self, threshold: float, bad: float, rate: int, watches: int) -> None:
        k = np.arange(rate + 1)
        gain = k * math.log(bad / threshold)
        if bad < 1:
            gain += (rate - k) * math.log((1 - bad) / (1 - threshold))
        else:
            gain[:-1] = -math.inf  # one good request, and it cannot be that fault
        self._gain = gain
        self._sum = np.zeros(watches)

    def take(self, bad: Bad) -> Values:
        """Take in one second of all watches; gives the statistic of each."""
        self._sum = np.maximum(self._sum, 0) + self._gain[bad]
        return self._sum

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Go on with these watches alone."""
        self._sum = self._sum[which]


def calibrated(
    draw: Generator, *, threshold: float, bad: float, rate: int, watches: int
) -> float:
    """The bound at which the CUSUM raises `ALPHA` false alarms in a watch."""
    dice = Dice(probabilities(rate, threshold, 0))
    highest = []
    for size in _chunks(watches, 10_000):
        cusum, high = Cusum(threshold, bad, rate, size), np.zeros(size)
        for _ in range(WATCH):
            np.maximum(high, cusum.take(dice.throw(draw, (size,))), out=high)
        highest.append(high)
    ordered = np.sort(np.concatenate(highest))
    allowed = int(watches * ALPHA)
    # Values stand in steps: what is just above the first one that is too often reached.
    return float(np.nextafter(ordered[-allowed - 1], math.inf))


def _chunks(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


def distance(p: float, q: float) -> float:
    """Kullback-Leibler, of one request."""
    good = 0.0 if p == 1 else (1 - p) * math.log((1 - p) / (1 - q))
    return p * math.log(p / q) + good


def first_order(threshold: float, bad: float, rate: int, *, later: bool) -> float:
    """Wald's bound at the start, Lorden's later: log of the false-alarm period over
    the distance, at least one second.
    """
    nats = math.log((WATCH if later else 1) / ALPHA)
    return max(1.0, nats / (rate * distance(bad, threshold)))


def robust(threshold: float, bad: float, rate: int, *, later: bool) -> float:
    """The same with what a batch tells that may hang together: the most that any bet
    on its proportion gains.
    """
    nats = math.log((WATCH if later else 1) / ALPHA)
    chances = probabilities(rate, bad, 0)
    over = np.arange(rate + 1) / rate / threshold - 1
    bets = np.linspace(0, 1, 2001)[1:-1]
    gains = np.log1p(bets[:, None] * over) @ chances
    return max(1.0, nats / float(gains.max()))
