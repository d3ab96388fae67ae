"""The sequential test: pure arithmetic on counts, anytime valid.

**Healthy (H0)** means: in every second the expected proportion of bad outcomes, given
all that went before, is at most p0. Nothing is assumed about the requests of one second
among themselves: they may fail together.

**Formula.** X = bad / n of a closed second that had traffic. Ten bets, j = 0..9, that
the proportion is really about p0 + (1 - p0) / 2**j:

    g_j(X) = min(1 + 2**-j * (X / p0 - 1), cap)
    R_j   <- (R_j + w) * g_j(X)            evidence = sum of pi_j * R_j

w is the weight of "it turns bad in this second": a half for a release that is bad from
the start, then the horizon-th part of what is unspent, for a fault that comes later.

**Guarantee.** 2**-j <= 1 keeps g_j >= 0, and under H0 its expectation is at most 1. The
weights add up to at most 1. So evidence + unspent weight is a nonnegative
supermartingale that starts at 1, and by Ville's inequality

    P(the evidence ever reaches 1 / alpha) <= alpha

over the whole watch, however long and however often one looks. What is lowered (by the
cap, by the ceiling against overflow) keeps this true. Counts of several sources are
merged by adding them up before the update; proportions must never be averaged.

**The shares pi_j** of the bets add up to 1. Any would do for the guarantee. Bets 0 to 5
have a tenth each: they decide at high traffic and on outages. Bets 8 and 9 are for
shifts too small to be seen within a watch; most of theirs goes to 6 and 7, which decide
where time is longest: 2 % unavailable instead of 1 % at one request a second is proved
5 % sooner than with equal shares (1.28 instead of 1.36 times the mean delay of a CUSUM
that knows the fault), and nothing that was measured is proved later.

**What the settings cost**, in nats (natural logarithms) that a verdict has to collect
on top of log(1 / alpha): the ten bets about log(10), a fault at the deploy log(2), a
later one log(2 * horizon) + batches so far / horizon, three signals that share alpha
log(3). One batch gives at most log(cap): that is the patience with blips. Cap 8: a
total outage takes 5 s from the deploy on and 8 to 9 s at minute 20; cap 4: 7 to 8 and
11 to 13; without a cap 3 to 4 and 5 to 7, and a blip of 3 s may fire. Bursts of several
seconds break H0 for batches of one: whoever calls adds up the counts of longer batches
(three times the usual burst); `horizon` counts batches.

**State**: the 10 R_j, 5 products for health, the unspent weight, the best evidence of
health and 3 settings: 20 numbers, whatever the traffic.

**Health** is the mirror image: under "the expected proportion is at least p0 in every
second" the products D_k of 1 - (1 - q_k) / (1 - p0) * (X - p0), q_k in `QUIET`, are
supermartingales too; the greatest mean of them reached gives the confidence.

Sources. e-detector of Shiryaev-Roberts type, mixed over bets: Shin, Ramdas, Rinaldo,
"E-detectors", arXiv 2203.03532; a weight per change point that adds up to 1 instead of
1 each: Doob's inequality on a finite horizon. Bets 1 + lambda * (X - p0) on bounded
means under any dependence: Waudby-Smith and Ramdas, arXiv 2010.09686. Their mean as the
way to merge: Vovk and Wang, Annals of Statistics 2021. Ville, 1939.
"""

from dataclasses import dataclass
from operator import mul

__all__ = ["CAP", "HORIZON", "SUSPICION", "Evidence", "confidence", "update"]

BETS = tuple(2.0**-j for j in range(10))
SHARES = tuple(share / 40 for share in (4, 4, 4, 4, 4, 4, 8, 6, 1, 1))
CAP = 8.0  # the default: a blip of 3 s does not fire
HORIZON = 1800  # the default: batches of a second, half an hour
HEAD = 0.5  # weight of "bad from the deploy on"
QUIET = (0.05, 0.2, 0.4, 0.6, 0.8)  # the healthy proportions bet on, as shares of p0
SUSPICION = 10.0  # evidence from which on earlier health no longer counts
CEILING = 1e250  # far beyond any bound, far below overflow


@dataclass(frozen=True, slots=True)
class Evidence:
    """The state of one signal: 20 numbers, whatever the traffic.

    `p0` is the proportion that may be reached, `cap` what one batch multiplies the
    evidence by at most, `horizon` over how many batches a later fault is spread.
    """

    p0: float
    cap: float = CAP
    horizon: int = HORIZON
    bad: tuple[float, ...] = (0.0,) * len(BETS)
    good: tuple[float, ...] = (1.0,) * len(QUIET)
    unspent: float = 1.0
    best: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.p0 < 1:
            raise ValueError(f"p0 must lie between 0 and 1, not {self.p0}.")
        if not 1 < self.cap < CEILING:
            raise ValueError(f"cap must be finite and more than 1, not {self.cap}.")
        if not self.horizon >= 1:
            raise ValueError(f"horizon must be at least 1 batch, not {self.horizon}.")

    @property
    def value(self) -> float:
        """Evidence that the proportion is over p0; 1/alpha of it is proof."""
        return _mixed(self.bad)


def _mixed(rates: tuple[float, ...]) -> float:
    mean: float = sum(map(mul, SHARES, rates))
    return mean


def update(evidence: Evidence, bad: int, n: int) -> Evidence:
    """Take in one closed batch; one without traffic moves nothing.

    Raises ValueError when `bad` of `n` cannot be.
    """
    if not 0 <= bad <= n:
        raise ValueError(f"{bad} bad of {n} cannot be.")
    if n == 0:
        return evidence
    p0, cap = evidence.p0, evidence.cap
    untouched = evidence.unspent == 1.0
    weight = HEAD if untouched else evidence.unspent / evidence.horizon
    over = bad / n / p0 - 1
    rates = tuple(
        [
            min((r + weight) * min(1 + bet * over, cap), CEILING)
            for r, bet in zip(evidence.bad, BETS, strict=True)
        ]
    )
    excess = (bad / n - p0) / (1 - p0)
    calm = tuple(
        [
            min(d * (1 - (1 - q) * excess), CEILING)
            for d, q in zip(evidence.good, QUIET, strict=True)
        ]
    )
    best = max(evidence.best, sum(calm) / len(QUIET))
    if _mixed(rates) >= SUSPICION:
        calm, best = tuple([min(d, 1.0) for d in calm]), 1.0
    unspent = evidence.unspent - weight
    return Evidence(p0, cap, evidence.horizon, rates, calm, unspent, best)


def confidence(evidence: Evidence) -> float:
    """How surely the proportion is below p0: wrong with at most 1 minus this."""
    return 1 - 1 / evidence.best
