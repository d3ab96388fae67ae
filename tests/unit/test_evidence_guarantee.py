"""What the evidence guarantees, whatever the traffic: proved on any distribution."""

import math
from collections.abc import Callable
from functools import reduce
from operator import add
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.evidence import SHARES, Evidence, confidence, update
from rollback.model import Counts, Signal

pair_of_counts = st.integers(0, 50).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n))
)
pairs = st.lists(pair_of_counts, max_size=60)
thresholds = st.floats(0.001, 0.5)


@st.composite
def states(draw: st.DrawFn) -> Evidence:
    """Any evidence that can be reached, under any settings."""
    evidence = Evidence(
        draw(thresholds),
        cap=draw(st.floats(1.1, 100)),
        horizon=draw(st.integers(1, 5000)),
    )
    for bad, n in draw(pairs):
        evidence = update(evidence, bad, n)
    return evidence


@st.composite
def outcomes(draw: st.DrawFn) -> list[tuple[float, int, int]]:
    """Any finite distribution of what a second holds: (probability, bad, n)."""
    seconds = draw(st.lists(pair_of_counts.filter(lambda p: p[1] > 0), min_size=1))
    masses = [draw(st.floats(0.01, 1)) for _ in seconds]
    return [
        (mass / sum(masses), bad, n)
        for mass, (bad, n) in zip(masses, seconds, strict=True)
    ]


def mean(distribution: list[tuple[float, int, int]]) -> float:
    """The expected proportion of bad outcomes."""
    return sum(mass * bad / n for mass, bad, n in distribution)


def mixed(
    distribution: list[tuple[float, int, int]], share: float, bad: int
) -> list[tuple[float, int, int]]:
    """A share of the distribution; else one request, which is bad or not."""
    kept = [(share * mass, b, n) for mass, b, n in distribution]
    return [*kept, (1 - share, bad, 1)]


def wealth(evidence: Evidence) -> float:
    """What must not be expected to grow while the service is healthy."""
    return evidence.value + evidence.unspent


def belief(evidence: Evidence) -> float:
    """What must not be expected to grow while the service is not."""
    return sum(evidence.good) / len(evidence.good)


@given(states())
def test_a_second_without_traffic_moves_nothing(before: Evidence) -> None:
    """Silence is neither bad nor good."""
    assert update(before, 0, 0) is before


@given(states(), outcomes())
def test_while_healthy_the_evidence_is_not_expected_to_grow(
    evidence: Evidence, seconds: list[tuple[float, int, int]]
) -> None:
    """The supermartingale, from any state, however the requests of a second hang
    together and however many there are.
    """
    p = mean(seconds)
    healthy = mixed(seconds, min(1.0, evidence.p0 / p if p else 1.0), bad=0)

    expected = sum(m * wealth(update(evidence, bad, n)) for m, bad, n in healthy)

    assert mean(healthy) <= evidence.p0 * (1 + 1e-12)
    assert expected <= wealth(evidence) * (1 + 1e-9)


@given(states(), outcomes())
def test_while_bad_the_belief_in_health_is_not_expected_to_grow(
    evidence: Evidence, seconds: list[tuple[float, int, int]]
) -> None:
    """The mirror image, which makes the confidence honest."""
    p, p0 = mean(seconds), evidence.p0
    bad_ones = mixed(seconds, 1.0 if p >= p0 else (1 - p0) / (1 - p), bad=1)

    expected = sum(m * belief(update(evidence, bad, n)) for m, bad, n in bad_ones)

    assert mean(bad_ones) >= evidence.p0 * (1 - 1e-12)
    assert expected <= belief(evidence) * (1 + 1e-9)


def test_the_shares_of_the_bets_add_up_to_one() -> None:
    """The other half of the weight that must not be exceeded."""
    assert math.fsum(SHARES) == 1
    assert min(SHARES) > 0


@given(states())
def test_the_weights_never_add_up_to_more_than_one(evidence: Evidence) -> None:
    """Wealth starts at one; what is spent comes out of what was unspent."""
    assert wealth(Evidence(evidence.p0)) == 1
    assert 0 <= evidence.unspent <= 1
    assert update(evidence, 0, 1).unspent <= evidence.unspent
    assert 0 <= confidence(evidence) < 1


@given(
    thresholds,
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20)),
        min_size=1,
        max_size=80,
    ),
)
def test_more_failures_never_make_it_look_better(
    p0: float, seconds: list[tuple[int, int, int]]
) -> None:
    """Monotone: in any second, for the evidence of every later one."""
    fewer = more = Evidence(p0)
    for bad, also_bad, good in seconds:
        n = bad + also_bad + good
        fewer, more = update(fewer, bad, n), update(more, bad + also_bad, n)

        assert more.value >= fewer.value
        assert confidence(more) <= confidence(fewer)


counts_of_a_second = st.builds(
    lambda failed, slow, fine, probes, unavailable: Counts(
        second=7,
        requests=failed + slow + fine,
        failed=failed,
        slow=slow,
        probes=probes + unavailable,
        unavailable=unavailable,
    ),
    *[st.integers(0, 10_000)] * 5,
)


@given(states(), st.lists(counts_of_a_second, min_size=2), st.randoms(), st.data())
def test_counts_of_many_sources_merge_in_any_order_and_grouping(
    evidence: Evidence, sources: list[Counts], shuffler: Random, data: st.DataObject
) -> None:
    """Counts are added up, proportions are never averaged."""
    straight = reduce(add, sources)
    shuffler.shuffle(sources)
    cut = data.draw(st.integers(1, len(sources) - 1))
    grouped = reduce(add, sources[:cut]) + reduce(add, sources[cut:])

    for signal in Signal:
        assert update(evidence, *grouped.of(signal)) == update(
            evidence, *straight.of(signal)
        )


@given(states(), pair_of_counts, st.integers(2, 10**12))
def test_only_the_proportion_of_a_second_counts(
    evidence: Evidence, pair: tuple[int, int], times: int
) -> None:
    """A second with a million times the traffic moves it neither more nor less."""
    bad, n = pair

    few, many = update(evidence, bad, n), update(evidence, bad * times, n * times)

    assert many.value == pytest.approx(few.value, rel=1e-9)
    assert belief(many) == pytest.approx(belief(few), rel=1e-9)


def independent(draw: Random, n: int, p: float) -> int:
    """So many of a second's requests fail, each by itself."""
    return sum(draw.random() < p for _ in range(n))


def together(draw: Random, n: int, p: float) -> int:
    """The requests of a second fail all together or not at all."""
    return n if draw.random() < p else 0


def bursty(draw: Random, n: int, p: float) -> int:
    """One second in four is four times as bad as the mean, the others are fine."""
    return independent(draw, n, 4 * p) if draw.random() < 1 / 4 else 0


@pytest.mark.parametrize("failures", [independent, together, bursty])
@pytest.mark.parametrize("alpha", [0.1, 0.02])
def test_false_alarms_are_no_more_than_promised(
    failures: Callable[[Random, int, float], int], alpha: float
) -> None:
    """Whole watches exactly at the threshold, looked at after every second."""
    seed, watches = f"{failures.__name__} {alpha}", 400
    draw = Random(seed)  # noqa: S311  # simulated traffic, not a secret
    alarms = 0
    for _ in range(watches):
        evidence, second = Evidence(0.05, horizon=120), 0
        while second < 120 and evidence.value < 1 / alpha:
            second += 1
            evidence = update(evidence, failures(draw, 4, 0.05), 4)
        alarms += evidence.value >= 1 / alpha

    spread = math.sqrt(watches * alpha * (1 - alpha))
    assert alarms <= watches * alpha + 3 * spread
