"""All figures of one run, on two processes; the same seeds give the same figures."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import TypeVar

from .cost import Cost, cost
from .figures import (
    Delay,
    Fault,
    Healthy,
    blips,
    delays,
    false_rollbacks,
)
from .ratios import Ratio, bound, ratio

__all__ = ["FULL", "QUICK", "RATES", "THRESHOLDS", "Results", "Size", "faults", "run"]

Cell = TypeVar("Cell")
Found = TypeVar("Found")

WORKERS = 2
THRESHOLDS = (0.05, 0.01)
RATES = (1, 10, 100, 1000)
SHARES = (0.2, 0.5, 1.0)
CLUSTERED = (0.0, 0.01, 0.05)
AT_ONCE = 1000  # requests a second from which the CUSUM needs one second for anything


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated."""

    healthy: int
    evidence_at_threshold: int  # all in all
    faulty: int
    calibration: int
    ratio: int
    cost_seconds: int
    deployments: int


FULL = Size(20_000, 100_000, 5_000, 200_000, 20_000, 3000, 1000)
QUICK = Size(1_000, 1_000, 500, 10_000, 500, 100, 50)


@dataclass(frozen=True)
class Results:
    """What one run found."""

    size: Size
    false: dict[Healthy, dict[str, tuple[int, int]]]
    delay: dict[Fault, dict[str, Delay]]
    blip: dict[Fault, dict[str, float]]
    ratio: dict[Fault, Ratio]
    cost: Cost


def faults(threshold: float) -> tuple[float, ...]:
    """Twice and five times the threshold, half of all requests, all of them."""
    return (2 * threshold, 5 * threshold, 0.5, 1.0)


def run(size: Size, said: Callable[[str], None]) -> Results:
    """Measure everything."""
    said("cost")
    measured = cost(seconds=size.cost_seconds, many=size.deployments)
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        each = _Each(pool, said)
        false = partial(
            false_rollbacks,
            watches=size.healthy,
            evidence_at_threshold=size.evidence_at_threshold,
        )
        known = partial(bound, watches=size.calibration)
        bounds = each("clairvoyant bounds", known, _compared(later=False))
        beside = partial(ratio, bounds=bounds, watches=size.ratio)
        compared = [*_compared(later=False), *_compared(later=True)]
        outages = [cell for cell in _faulty() if cell.bad == 1]
        return Results(
            size=size,
            cost=measured,
            ratio=each("ratios", beside, compared),
            delay=each("delays", partial(delays, watches=size.faulty), _faulty()),
            blip=each("blips", partial(blips, watches=size.faulty), outages),
            false=each("false rollbacks", false, _healthy()),
        )


class _Each:
    """Works through cells side by side."""

    def __init__(self, pool: Executor, said: Callable[[str], None]) -> None:
        self._pool, self._said = pool, said

    def __call__(
        self, what: str, work: Callable[[Cell], Found], cells: Sequence[Cell]
    ) -> dict[Cell, Found]:
        self._said(f"{what}: {len(cells)} cells")
        return dict(zip(cells, self._pool.map(work, cells), strict=True))


def _healthy() -> list[Healthy]:
    return [
        Healthy(threshold, rate, share, clustered)
        for threshold, rate, share, clustered in product(
            THRESHOLDS, RATES, SHARES, CLUSTERED
        )
        if rate > 1 or not clustered  # a single request cannot hang together
    ]


def _faulty() -> list[Fault]:
    return [
        Fault(threshold, rate, bad, later)
        for threshold, later, rate in product(THRESHOLDS, (False, True), RATES)
        for bad in faults(threshold)
    ]


def _compared(*, later: bool) -> list[Fault]:
    return [c for c in _faulty() if c.rate < AT_ONCE and c.later is later]
