"""The measurement of `bench/decide` measures what it says."""

from functools import partial

import numpy as np
import pytest

from bench.decide.clairvoyant import Cusum, calibrated, first_order, robust
from bench.decide.ours import evidence
from bench.decide.rules import (
    NEVER,
    PROOF,
    RULES,
    Look,
    argo,
    flagger,
    literal,
    matrix,
    proved,
    strict,
)
from bench.decide.traffic import (
    WATCH,
    Dice,
    Traffic,
    healthy,
    probabilities,
    with_fault,
)
from rollback.decide import Limits
from rollback.evidence import Evidence, update
from rollback.model import Counts, Judgement, Observation, Signal
from rollback.monitor import Monitor


def minutes(*bad_of_each: int) -> Look:
    """A watch of so many bad requests in the first second of each minute, at 1/s."""
    bad = np.zeros((WATCH, 1), dtype=np.int32)
    bad[: 60 * len(bad_of_each) : 60, 0] = bad_of_each
    return Look(Traffic(bad, 1, 0.05))


def seconds(*bad: int, rate: int = 1) -> Look:
    """A watch that begins with these bad requests, second by second."""
    column = np.zeros((WATCH, 1), dtype=np.int32)
    column[: len(bad), 0] = bad
    return Look(Traffic(column, rate, 0.05))


@pytest.mark.parametrize(("rate", "threshold"), [(1, 0.05), (10, 0.01), (1000, 0.05)])
def test_the_columns_hold_what_the_engine_computes(rate: int, threshold: float) -> None:
    """Value by value, on the same counts, healthy and bad."""
    begins = np.array([0, 700, 1700])
    traffic = with_fault(
        np.random.default_rng(5),
        rate=rate,
        threshold=threshold,
        share=1.0,
        bad=0.3,
        begins=begins,
    )

    found = evidence(traffic)

    for column in range(len(begins)):
        state, expected = Evidence(threshold), []
        for bad in traffic.bad[:, column].tolist():
            state = update(state, bad, rate)
            expected.append(state.value)
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-9)


@pytest.mark.parametrize("strictly", [False, True])
@pytest.mark.parametrize(
    ("rate", "bad"), [(1, 0.3), (10, 0.08), (10, 0.5), (100, 0.07)]
)
def test_the_rows_of_the_matrix_roll_back_when_the_engine_does(
    rate: int,
    bad: float,
    strictly: bool,  # pytest passes it by name
) -> None:
    """In the same second, by evidence or by the literal rule."""
    begins = np.array([0, 300, 900])
    traffic = with_fault(
        np.random.default_rng(6),
        rate=rate,
        threshold=0.05,
        share=0.5,
        bad=bad,
        begins=begins,
    )
    rule = strict if strictly else matrix

    found = rule(Look(traffic))

    for column, at in enumerate(found.tolist()):
        assert rolled_back(traffic.bad[:, column].tolist(), rate, strictly) == at


def rolled_back(bad: list[int], rate: int, strictly: bool) -> int:  # as above
    """After how many seconds the engine's own monitor says so."""
    limits = Limits(
        thresholds=((Signal.ERROR_RATE, 0.05),),
        critical_errors=(),
        alpha=1 / PROOF,
        strict_window=strictly,
    )
    monitor = Monitor(limits)
    for second, failed in enumerate(bad):
        counts = Counts(second=second, requests=rate, failed=failed)
        seen = Observation(
            deployment="dpl_v2", since=second, until=second + 1, counts=(counts,)
        )
        if monitor.take(seen).judgement is Judgement.ROLL_BACK:
            return second + 1
    return NEVER


def test_evidence_needs_five_seconds_of_an_outage() -> None:
    """As the engine's own test has it."""
    assert proved(seconds(1, 1, 1, 1, 1, 1, 1), PROOF).tolist() == [5]


@pytest.mark.parametrize(("every", "at"), [(1, 3), (10, 10)])
def test_the_literal_rule_asks_for_no_evidence(every: int, at: int) -> None:
    """One failure in three requests is more than 5 %; looked at when it is its turn."""
    assert literal(seconds(0, 0, 1), every).tolist() == [at]


def test_the_literal_rule_looks_back_five_minutes() -> None:
    """15 of 300 is exactly 5 % and no more; one more within the window is."""
    forgotten = minutes(0, 0, 0, 0, 0, 15, 0, 0, 0, 0, 1)

    assert literal(minutes(0, 0, 0, 0, 0, 15), 1).tolist() == [NEVER]
    assert literal(minutes(0, 0, 0, 0, 0, 16), 1).tolist() == [301]
    assert literal(minutes(0, 0, 0, 0, 0, 15, 1), 1).tolist() == [361]
    assert literal(forgotten, 1).tolist() == [NEVER]


# A minute at one request a second is bad with four failures of sixty, not with three.
@pytest.mark.parametrize(
    ("threshold", "failures", "at"),
    [
        (1, (4,), 120),
        (1, (3, 3, 3), NEVER),
        (1, (0, 4), 180),
        (2, (4, 4), 180),
        (2, (4, 0, 0, 4), 300),  # the good minutes in between forgive nothing
        (5, (4, 4, 4, 4), NEVER),
    ],
)
def test_flaggers_rule_by_hand(
    threshold: int, failures: tuple[int, ...], at: int
) -> None:
    """Failed checks add up, and the tick after the last of them acts."""
    assert flagger(minutes(*failures), threshold).tolist() == [at]


@pytest.mark.parametrize(
    ("limit", "failures", "at"),
    [
        (0, (4,), 60),
        (0, (3, 3, 3), NEVER),
        (3, (4, 4, 4), NEVER),
        (3, (4, 4, 4, 4), 240),
        (3, (4, 4, 0, 4, 0, 4), 360),
    ],
)
def test_argos_rule_by_hand(limit: int, failures: tuple[int, ...], at: int) -> None:
    """More failed measurements than the limit, acted on at once."""
    assert argo(minutes(*failures), limit).tolist() == [at]


def test_every_rule_sees_a_lasting_outage_and_leaves_perfection_alone() -> None:
    """No rule of the comparison is broken in an obvious way."""
    perfect, dead = seconds(), seconds(*[10] * WATCH, rate=10)

    for name, rule in RULES.items():
        assert rule(perfect).tolist() == [NEVER], name
        assert 1 <= rule(dead)[0] <= 660, name


@pytest.mark.parametrize("clustered", [0.0, 0.05])
def test_the_dice_are_fair(clustered: float) -> None:
    """Mean and spread are those of the (beta-)binomial distribution."""
    n, p, throws = 40, 0.05, 200_000
    thrown = Dice(probabilities(n, p, clustered)).throw(
        np.random.default_rng(7), (throws,)
    )

    spread = n * p * (1 - p) * (1 + (n - 1) * clustered)
    assert thrown.mean() == pytest.approx(n * p, abs=5 * (spread / throws) ** 0.5)
    assert thrown.var() == pytest.approx(spread, rel=0.05)


def test_a_fault_lasts_as_long_as_it_should() -> None:
    """It begins in its own second in every watch, and a blip ends."""
    traffic = with_fault(
        np.random.default_rng(8),
        rate=10,
        threshold=0.05,
        share=0.2,
        bad=1.0,
        begins=np.array([0, 7]),
        lasts=3,
    )

    assert (traffic.bad == 10).nonzero()[0].tolist() == [0, 1, 2, 7, 8, 9]


@pytest.mark.parametrize(("rate", "clustered"), [(1, 0.0), (10, 0.0), (10, 0.05)])
def test_healthy_watches_are_falsely_rolled_back_once_in_a_thousand_at_most(
    rate: int, clustered: float
) -> None:
    """The guarantee: whole watches exactly at the threshold, proof at 1000."""
    watches = 3000
    traffic = healthy(
        np.random.default_rng([9, rate]),
        rate=rate,
        threshold=0.05,
        share=1.0,
        clustered=clustered,
        watches=watches,
    )

    alarms = int((proved(Look(traffic), 1000) < NEVER).sum())

    expected = watches / 1000
    assert alarms <= expected + 3 * expected**0.5


def test_the_clairvoyant_cusum_is_calibrated() -> None:
    """A total outage at 5 %: four failures in a row happen too often, five do not."""
    known = partial(Cusum, 0.05, 1.0, 1)
    bound = calibrated(
        np.random.default_rng(3), threshold=0.05, bad=1.0, rate=1, watches=10_000
    )
    cusum = known(1)
    reached = [cusum.take(np.array([1], dtype=np.int32))[0] >= bound for _ in range(6)]

    assert reached == [False, False, False, False, True, True]


def test_the_bounds_are_those_of_the_published_table() -> None:
    """Wald, Lorden and the robust one, as computed before."""
    assert first_order(0.05, 0.1, 10, later=False) == pytest.approx(33.4, abs=0.05)
    assert first_order(0.05, 0.1, 10, later=True) == pytest.approx(69.7, abs=0.05)
    assert robust(0.05, 0.1, 10, later=False) == pytest.approx(36.9, abs=0.05)
    assert robust(0.01, 1.0, 1, later=True) == pytest.approx(3.1, abs=0.05)
