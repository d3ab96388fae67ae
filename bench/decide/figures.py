"""Figures a and b: false rollbacks of healthy watches, seconds to a verdict, blips."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .rules import NEVER, RULES, Look, Rule
from .traffic import WATCH, healthy, with_fault

__all__ = [
    "BLIP",
    "EVIDENCE",
    "MATRIX",
    "Delay",
    "Fault",
    "Healthy",
    "blips",
    "delays",
    "false_rollbacks",
]

SEED = 20_260_101
CHUNK = 2000  # watches at once: bounds the memory to a few hundred megabytes
EVIDENCE, MATRIX = "ours: evidence", "ours: whole matrix"
QUIET = 0.2  # the healthy part of a watch with a fault, as a share of the threshold
LATER = 1200
BLIP = 3
ECHO = 300  # so long after a blip it may still roll back because of it


@dataclass(frozen=True, slots=True)
class Healthy:
    """One cell of figure a."""

    threshold: float
    rate: int
    share: float
    clustered: float


@dataclass(frozen=True, slots=True)
class Fault:
    """One cell of figure b."""

    threshold: float
    rate: int
    bad: float
    later: bool


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds from fault to verdict of the watches that got so far."""

    median: float
    most: float  # 95 %
    detected: float
    false_before: float


def random(*cell: float) -> Generator:
    """A stream of its own for each cell, the same in every run."""
    return np.random.default_rng([SEED, *(int(1000 * value) for value in cell)])


def chunks(watches: int) -> list[int]:
    """The watches in portions."""
    return [min(CHUNK, watches - at) for at in range(0, watches, CHUNK)]


def false_rollbacks(
    cell: Healthy, watches: int, evidence_at_threshold: int
) -> dict[str, tuple[int, int]]:
    """How many of how many healthy watches each rule rolls back.

    The evidence is looked at in more of them where its guarantee is put to the test.
    """
    draw = random(1, cell.threshold, cell.rate, cell.share, cell.clustered)
    counts = _counted(draw, cell, watches, RULES)
    extra = evidence_at_threshold - watches if cell.share == 1 else 0
    more = _counted(draw, cell, extra, {EVIDENCE: RULES[EVIDENCE]})
    found = {name: (count, watches) for name, count in counts.items()}
    found[EVIDENCE] = (counts[EVIDENCE] + more[EVIDENCE], watches + extra)
    return found


def _counted(
    draw: Generator, cell: Healthy, watches: int, rules: dict[str, Rule]
) -> dict[str, int]:
    counts = dict.fromkeys(rules, 0)
    for size in chunks(watches):
        look = Look(
            healthy(
                draw,
                rate=cell.rate,
                threshold=cell.threshold,
                share=cell.share,
                clustered=cell.clustered,
                watches=size,
            )
        )
        for name, rule in rules.items():
            counts[name] += int((rule(look) < NEVER).sum())
    return counts


def delays(cell: Fault, watches: int) -> dict[str, Delay]:
    """How long each rule takes; a later fault falls anywhere within a minute."""
    draw = random(2, cell.threshold, cell.rate, cell.bad, cell.later)
    begins, fired = _fired(draw, cell, watches, lasts=WATCH)
    return {name: _delay(at, begins) for name, at in fired.items()}


def blips(cell: Fault, watches: int) -> dict[str, float]:
    """The share of watches rolled back because everything failed for three seconds."""
    draw = random(3, cell.threshold, cell.rate, cell.bad, cell.later)
    begins, fired = _fired(draw, cell, watches, lasts=BLIP)
    return {
        name: float(((at - begins)[at > begins] <= ECHO).mean())
        for name, at in fired.items()
    }


def _fired(
    draw: Generator, cell: Fault, watches: int, *, lasts: int
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """When the faults begin, and when each rule rolls back."""
    begins, fired = [], []
    for size in chunks(watches):
        begin = LATER + draw.integers(0, 60, size) if cell.later else np.zeros(size)
        begins.append(begin.astype(np.int64))
        look = Look(
            with_fault(
                draw,
                rate=cell.rate,
                threshold=cell.threshold,
                share=QUIET,
                bad=cell.bad,
                begins=begins[-1],
                lasts=lasts,
            )
        )
        fired.append({name: rule(look) for name, rule in RULES.items()})
    return np.concatenate(begins), {
        name: np.concatenate([part[name] for part in fired]) for name in RULES
    }


def _delay(at: NDArray[np.int64], begins: NDArray[np.int64]) -> Delay:
    before = at <= begins
    waits = np.sort((at - begins)[~before])
    if not len(waits):
        return Delay(np.inf, np.inf, 0.0, 1.0)
    waits = np.where(waits > WATCH, np.inf, waits)
    return Delay(
        median=float(waits[(len(waits) - 1) // 2]),
        most=float(waits[int(0.95 * (len(waits) - 1))]),
        detected=float(np.isfinite(waits).mean()),
        false_before=float(before.mean()),
    )
