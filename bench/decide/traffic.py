"""Simulated traffic: how many of a second's requests are bad, in many watches at once.

`clustered` is the correlation of the requests within a second (beta-binomial): with 0
they fail independently of each other; with 0.05 bad requests come in bursts. The mean
is the same. Seconds are independent of each other.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

__all__ = ["WATCH", "Bad", "Dice", "Traffic", "healthy", "probabilities", "with_fault"]

WATCH = 1800  # seconds: half an hour

Bad = NDArray[np.int32]


@dataclass(frozen=True)
class Traffic:
    """The bad requests of each second (rows) of many watches (columns)."""

    bad: Bad
    rate: int
    threshold: float

    @cached_property
    def totals(self) -> Bad:
        """The bad requests before each second, and after the last one."""
        first = np.zeros((1, self.bad.shape[1]), dtype=np.int32)
        return np.concatenate([first, np.cumsum(self.bad, axis=0, dtype=np.int32)])


def probabilities(rate: int, p: float, clustered: float) -> NDArray[np.float64]:
    """The probability of 0, 1, .. `rate` bad requests in one second."""
    if p >= 1:
        return np.array([0.0] * rate + [1.0])
    logs = [_log_probability(k, rate, p, clustered) for k in range(rate + 1)]
    weights = np.exp(np.array(logs) - max(logs))
    return np.asarray(weights / weights.sum())


def _log_probability(k: int, n: int, p: float, clustered: float) -> float:
    ways = _log_beta(k + 1, n - k + 1)
    if clustered == 0:
        return k * math.log(p) + (n - k) * math.log1p(-p) - ways
    size = 1 / clustered - 1
    return _log_beta(k + p * size, n - k + (1 - p) * size) - ways


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


class Dice:
    """Draws from a small distribution by Walker's alias method: one uniform each."""

    def __init__(self, chances: NDArray[np.float64]) -> None:
        self._sides = len(chances)
        self._keep = np.ones(self._sides)
        self._other = np.arange(self._sides, dtype=np.int32)
        scaled = chances * self._sides
        small = [i for i in range(self._sides) if scaled[i] < 1]
        large = [i for i in range(self._sides) if scaled[i] >= 1]
        while small and large:
            low, high = small.pop(), large[-1]
            self._keep[low], self._other[low] = scaled[low], high
            scaled[high] -= 1 - scaled[low]
            if scaled[high] < 1:
                small.append(large.pop())

    def throw(self, draw: Generator, shape: tuple[int, ...]) -> Bad:
        """An array of outcomes."""
        at = draw.random(shape) * self._sides
        side = at.astype(np.int32)
        at -= side
        return np.where(at < self._keep[side], side, self._other[side])


def healthy(
    draw: Generator,
    *,
    rate: int,
    threshold: float,
    share: float,
    clustered: float,
    watches: int,
) -> Traffic:
    """Whole watches at a share of the threshold."""
    dice = Dice(probabilities(rate, share * threshold, clustered))
    return Traffic(dice.throw(draw, (WATCH, watches)), rate, threshold)


def with_fault(
    draw: Generator,
    *,
    rate: int,
    threshold: float,
    share: float,
    bad: float,
    begins: NDArray[np.int64],
    lasts: int = WATCH,
) -> Traffic:
    """Whole watches that turn bad, each in its own second, and stay so for a while."""
    shape = (WATCH, len(begins))
    good = Dice(probabilities(rate, share * threshold, 0)).throw(draw, shape)
    since = np.arange(WATCH)[:, None] - begins
    faulty = (since >= 0) & (since < lasts)
    good[faulty] = Dice(probabilities(rate, bad, 0)).throw(draw, (int(faulty.sum()),))
    return Traffic(good, rate, threshold)
