"""The sequential test: pure arithmetic on counts, anytime valid.

H0, "healthy": in every second the expected proportion of bad outcomes, given the past,
is at most p0. Nothing is assumed about dependence inside a second. With X = bad / n of
a closed, non-empty second and ten bets lam_j = 2**-j / p0,

    g_j(X) = min(1 + lam_j * (X - p0), 8)
    R_j   <- (R_j + w) * g_j(X)            evidence = mean of the R_j

where the weights w (a half for a release that is bad from the start, then geometric
slices for a fault that comes later) add up to at most 1. The evidence plus the unspent
weight is a supermartingale under H0 that starts at 1, so by Ville's inequality
P(evidence ever reaches 1/alpha) <= alpha, however often one looks. It is a
Shiryaev-Roberts e-detector: Shin, Ramdas, Rinaldo, "E-detectors", arXiv 2203.03532; the
bets are those of Waudby-Smith and Ramdas, arXiv 2010.09686.

The mirror image, products of 1 - mu_k * (X - p0), is evidence that the service is
healthy; it gives the confidence reached.
"""

from dataclasses import dataclass

__all__ = ["Evidence", "confidence", "update"]

BETS = 10
CAP = 8.0  # one second multiplies the evidence by at most this: a blip does not fire
HEAD = 0.5  # weight of "bad from the deploy on"
HORIZON = 1800  # seconds over which the rest of the weight is spread, geometrically
QUIET = (0.05, 0.2, 0.4, 0.6, 0.8)  # the healthy proportions bet on, as shares of p0
SUSPICION = 10.0  # evidence from which on earlier health no longer counts
CEILING = 1e250  # far beyond any bound, far below overflow


@dataclass(frozen=True, slots=True)
class Evidence:
    """The state of one signal: about 20 numbers, whatever the traffic."""

    p0: float
    bad: tuple[float, ...] = (0.0,) * BETS
    good: tuple[float, ...] = (1.0,) * len(QUIET)
    unspent: float = 1.0
    best: float = 1.0

    @property
    def value(self) -> float:
        """Evidence that the proportion is over p0; 1/alpha of it is proof."""
        return sum(self.bad) / BETS


def update(evidence: Evidence, bad: int, n: int) -> Evidence:
    """Take in one closed second; a second without traffic moves nothing."""
    if n <= 0:
        return evidence
    excess = bad / n - evidence.p0
    first = evidence.unspent == 1.0
    weight = HEAD if first else evidence.unspent / HORIZON
    rates = tuple(
        min((r + weight) * min(1 + 2.0**-j / evidence.p0 * excess, CAP), CEILING)
        for j, r in enumerate(evidence.bad)
    )
    calm = tuple(
        min(d * (1 - (1 - q) / (1 - evidence.p0) * excess), CEILING)
        for d, q in zip(evidence.good, QUIET, strict=True)
    )
    best = max(evidence.best, sum(calm) / len(calm))
    if sum(rates) / BETS >= SUSPICION:
        calm, best = tuple(min(d, 1.0) for d in calm), 1.0
    return Evidence(
        p0=evidence.p0,
        bad=rates,
        good=calm,
        unspent=evidence.unspent - weight,
        best=best,
    )


def confidence(evidence: Evidence) -> float:
    """How surely the proportion is below p0: wrong with at most 1 minus this."""
    return 1 - 1 / evidence.best
