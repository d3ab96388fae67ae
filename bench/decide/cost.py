"""Figure d: what judging costs, in CPU time and memory of this process."""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time

import numpy as np

from rollback.decide import Limits
from rollback.evidence import Evidence, update
from rollback.model import Counts, Observation, Signal
from rollback.monitor import Monitor

from .ours import Evidences

__all__ = ["Cost", "cost"]

LIMITS = Limits(
    thresholds=(
        (Signal.ERROR_RATE, 0.05),
        (Signal.RESPONSE_TIME, 0.05),
        (Signal.AVAILABILITY, 0.01),
    ),
    critical_errors=("DATABASE_CONNECTION_LOST",),
)
WINDOW = 300
TRIES = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of counts per second of CPU, and bytes."""

    update_microseconds: float
    one: float
    many: int
    loop: float  # seconds of all deployments in a plain loop of monitors
    columns: float  # the same of the evidence alone, as columns of numpy
    signal_bytes: float
    monitor_bytes: float


def cost(*, seconds: int, many: int) -> Cost:
    """Measure; every time is the best of a few tries."""
    return Cost(
        update_microseconds=1e6 / _best(_updates, 10 * seconds),
        one=_best(_one_monitor, seconds),
        many=many,
        loop=_many_monitors(many, 10),
        columns=_best(lambda n: _columns(3 * many, n), seconds),
        signal_bytes=_bytes_of(_evidence),
        monitor_bytes=_bytes_of(_monitor),
    )


def _best(work: Callable[[int], None], amount: int) -> float:
    """How much of it a second of CPU does."""
    return max(_speed(work, amount) for _ in range(TRIES))


def _speed(work: Callable[[int], None], amount: int) -> float:
    began = process_time()
    work(amount)
    return amount / (process_time() - began)


def _updates(times: int) -> None:
    evidence = Evidence(0.05)
    for each in range(times):
        evidence = update(evidence, each & 1, 20)


def _second(at: int) -> Counts:
    return Counts(second=at, requests=20, failed=at & 1, probes=4)


def _seen(since: int, until: int) -> Observation:
    counts = tuple(_second(at) for at in range(since, until))
    return Observation(
        deployment="dpl_candidate", since=since, until=until, counts=counts
    )


def _monitor() -> Monitor:
    """A monitor whose window is full."""
    monitor = Monitor(LIMITS)
    monitor.take(_seen(0, WINDOW))
    return monitor


def _one_monitor(seconds: int) -> None:
    monitor = _monitor()
    for at in range(WINDOW, WINDOW + seconds):
        monitor.take(_seen(at, at + 1))


def _many_monitors(many: int, seconds: int) -> float:
    monitors = [_monitor() for _ in range(many)]
    looks = [_seen(at, at + 1) for at in range(WINDOW, WINDOW + seconds)]
    began = process_time()
    for look in looks:
        for monitor in monitors:
            monitor.take(look)
    return seconds / (process_time() - began)


def _columns(signals: int, seconds: int) -> None:
    evidences = Evidences(0.05, 20, signals)
    bad = np.arange(signals, dtype=np.int32) & 1
    for _ in range(seconds):
        evidences.take(bad)


def _evidence() -> Evidence:
    """A state none of whose numbers is shared with another."""
    evidence = Evidence(0.05)
    for _ in range(20):
        evidence = update(evidence, 1, 20)
    return evidence


def _bytes_of(make: Callable[[], object], copies: int = 200) -> float:
    """What each of many copies keeps."""
    make()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = [make() for _ in range(copies)]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(kept)
