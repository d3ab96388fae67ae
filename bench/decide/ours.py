"""`rollback.evidence` for many watches at once, at a constant rate.

The same arithmetic on columns; a test holds the two together, value by value.
"""

import numpy as np
from numpy.typing import NDArray

from rollback.evidence import BETS, CAP, CEILING, HEAD, HORIZON, SHARES

from .traffic import Bad, Traffic

__all__ = ["Evidences", "evidence"]

Values = NDArray[np.float64]


class Evidences:
    """The evidence of many watches: a column each."""

    def __init__(
        self,
        threshold: float,
        rate: int,
        watches: int,
        *,
        cap: float = CAP,
        horizon: int = HORIZON,
    ) -> None:
        over = np.arange(rate + 1) / rate / threshold - 1
        self._factors = np.minimum(1 + np.array(BETS)[:, None] * over, cap)
        self._shares = np.array(SHARES)[:, None]
        self._rates = np.zeros((len(BETS), watches))  # each times its share
        self._unspent, self._horizon = 1.0, horizon

    def take(self, bad: Bad) -> Values:
        """Take in one second of all watches; gives the evidence of each."""
        first = self._unspent == 1.0
        weight = HEAD if first else self._unspent / self._horizon
        self._unspent -= weight
        self._rates += self._shares * weight
        self._rates *= np.take(self._factors, bad, axis=1)
        np.minimum(self._rates, self._shares * CEILING, out=self._rates)
        return np.asarray(self._rates.sum(axis=0))

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Go on with these watches alone."""
        self._rates = self._rates[:, which]


def evidence(traffic: Traffic) -> Values:
    """The evidence after each second (rows) of each watch (columns)."""
    watches = Evidences(traffic.threshold, traffic.rate, traffic.bad.shape[1])
    return np.array([watches.take(second) for second in traffic.bad])
