"""The rules: ours, the spec's, and our re-implementations of what peers do.

Each tells for traffic after how many seconds it rolls back, `NEVER` if it does not.
The peers' rules are written anew from their sources and documentation, on the same
counts; what they add around it (weights, webhooks, several metrics) is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from .ours import Values, evidence
from .traffic import WATCH, Traffic

__all__ = ["ALPHA", "NEVER", "PROOF", "RULES", "Look", "Rule"]

NEVER = 10**9
ALPHA = 1e-3
PROOF = 3 / ALPHA  # three signals share alpha
WINDOW = 300
MIN_REQUESTS = 1000
INTERVAL = 60

Seconds = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Look:
    """Traffic, with what several rules see in it."""

    traffic: Traffic

    @cached_property
    def evidence(self) -> Values:
        """The evidence after each second."""
        return evidence(self.traffic)

    @cached_property
    def requests(self) -> Seconds:
        """The requests in the trailing window, or since the deploy, per second."""
        return np.minimum(np.arange(1, WATCH + 1), WINDOW) * self.traffic.rate

    @cached_property
    def over(self) -> Mask:
        """Whether that window is over the threshold."""
        totals = self.traffic.totals
        bad = totals[1:].copy()
        bad[WINDOW:] -= totals[1:-WINDOW]
        return np.asarray(bad / self.requests[:, None] > self.traffic.threshold)

    @property
    def over_with_enough(self) -> Mask:
        """The same where the number means something: enough, in a whole window."""
        whole = np.arange(1, WATCH + 1) >= WINDOW
        return self.over & (whole & (self.requests >= MIN_REQUESTS))[:, None]


Rule = Callable[[Look], Seconds]


def first(happens: Mask, *, every: int = 1) -> Seconds:
    """After how many seconds it first happens; a row stands for `every` seconds."""
    at = (happens.argmax(axis=0) + 1) * every
    return np.where(happens.any(axis=0), at, NEVER)


def proved(look: Look, proof: float) -> Seconds:
    """The evidence reached the bound."""
    return first(look.evidence >= proof)


def literal(look: Look, every: int) -> Seconds:
    """The spec's sentence, looked at every so many seconds, with no minimum."""
    return first(look.over[every - 1 :: every], every=every)


def matrix(look: Look) -> Seconds:
    """Ours as it ships: evidence, or the literal rule where the numbers suffice."""
    return first((look.evidence >= PROOF) | look.over_with_enough)


def strict(look: Look) -> Seconds:
    """Ours with `strict_window`: the window must be over its threshold too."""
    return first(((look.evidence >= PROOF) & look.over) | look.over_with_enough)


def failed_checks(look: Look) -> Mask:
    """A check a minute, of that minute alone."""
    totals = look.traffic.totals[::INTERVAL]
    requests = INTERVAL * look.traffic.rate
    return np.asarray(np.diff(totals, axis=0) / requests > look.traffic.threshold)


def flagger(look: Look, threshold: int) -> Seconds:
    """Flagger's rule, re-implemented: failed checks add up and are never forgiven; at
    the start of a tick, before its check, the count is compared.
    """
    before = np.roll(np.cumsum(failed_checks(look), axis=0), 1, axis=0)
    before[0] = 0
    return first(before >= threshold, every=INTERVAL)


def argo(look: Look, failure_limit: int) -> Seconds:
    """Argo Rollouts' rule, re-implemented: more failed measurements than the limit."""
    failed = np.cumsum(failed_checks(look), axis=0)
    return first(failed > failure_limit, every=INTERVAL)


RULES: dict[str, Rule] = {
    "ours: evidence": partial(proved, proof=PROOF),
    "ours: whole matrix": matrix,
    "ours: strict_window": strict,
    "literal, every 1 s": partial(literal, every=1),
    "literal, every 10 s": partial(literal, every=10),
    "Flagger's, threshold 1": partial(flagger, threshold=1),
    "Flagger's, threshold 5": partial(flagger, threshold=5),
    "Flagger's, threshold 10": partial(flagger, threshold=10),
    "Argo's, failureLimit 0": partial(argo, failure_limit=0),
    "Argo's, failureLimit 3": partial(argo, failure_limit=3),
}
