"""The arithmetic behind an early verdict."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.evidence import Evidence, confidence, update

PROOF = 3000.0  # 1e-3 shared by three signals


def after(evidence: Evidence, bad: int, n: int, *, seconds: int) -> Evidence:
    """The evidence after so many seconds alike."""
    for _ in range(seconds):
        evidence = update(evidence, bad, n)
    return evidence


def seconds_to_proof(evidence: Evidence, bad: int, n: int) -> int:
    """How many seconds alike it takes."""
    for second in range(1, 2000):
        evidence = update(evidence, bad, n)
        if evidence.value >= PROOF:
            return second
    return 2000


@pytest.mark.parametrize("p0", [0.05, 0.01])
@pytest.mark.parametrize("rate", [1, 20, 1_000_000])
def test_a_total_outage_from_the_start_is_proved_in_five_seconds(
    p0: float, rate: int
) -> None:
    """Whatever the traffic, as in the published table."""
    assert seconds_to_proof(Evidence(p0), rate, rate) == 5


@pytest.mark.parametrize("p0", [0.05, 0.01])
def test_a_total_outage_after_twenty_minutes_is_proved_in_nine_seconds(
    p0: float,
) -> None:
    """Twenty healthy minutes do not blind it."""
    healthy = after(Evidence(p0), 0, 20, seconds=1200)

    assert seconds_to_proof(healthy, 20, 20) <= 9


def test_a_blip_of_three_seconds_proves_nothing() -> None:
    """One second multiplies the evidence by eight at most."""
    healthy = after(Evidence(0.05), 0, 20, seconds=600)

    assert after(healthy, 20, 20, seconds=3).value < PROOF


def test_a_second_without_traffic_moves_nothing() -> None:
    """Silence is neither bad nor good."""
    before = after(Evidence(0.05), 1, 20, seconds=5)

    assert update(before, 0, 0) is before


@pytest.mark.parametrize(("bad", "n"), [(-1, 5), (6, 5), (0, -1), (1, 0), (-3, -2)])
def test_counts_that_cannot_be_are_refused(bad: int, n: int) -> None:
    """A mistake of the caller is not judged as if it were traffic."""
    with pytest.raises(ValueError, match="cannot be"):
        update(Evidence(0.05), bad, n)


@given(
    st.lists(
        st.integers(0, 50).flatmap(
            lambda n: st.tuples(st.integers(0, n), st.just(n)),
        ),
        max_size=200,
    )
)
def test_the_weights_never_add_up_to_more_than_one(
    pairs: list[tuple[int, int]],
) -> None:
    """What the guarantee rests on; and nothing overflows."""
    evidence = Evidence(0.05)
    for bad, n in pairs:
        evidence = update(evidence, bad, n)

    assert 0 <= evidence.unspent <= 1
    assert all(math.isfinite(r) and r >= 0 for r in evidence.bad)
    assert 0 <= confidence(evidence) <= 1


@given(p=st.floats(0, 0.05), spent=st.integers(0, 400))
def test_under_the_null_the_expected_evidence_does_not_grow(
    p: float, spent: int
) -> None:
    """The supermartingale, checked exactly on one request a second."""
    evidence = after(Evidence(0.05), 0, 1, seconds=spent)

    def wealth(of: Evidence) -> float:
        return of.value + of.unspent

    expected = p * wealth(update(evidence, 1, 1)) + (1 - p) * wealth(
        update(evidence, 0, 1)
    )

    assert expected <= wealth(evidence) * (1 + 1e-9)


def test_an_hour_of_outage_does_not_overflow() -> None:
    """The state stays finite whatever happens."""
    assert math.isfinite(after(Evidence(0.01), 9, 9, seconds=3600).value)


def test_confidence_in_availability_takes_seven_minutes_without_a_failure() -> None:
    """As the published table has it: 415 s for a confidence of 0.95."""
    evidence = Evidence(0.01)
    seconds = 0
    while confidence(evidence) < 0.95:
        evidence = update(evidence, 0, 10)
        seconds += 1

    assert seconds == 415


def test_suspicion_voids_earlier_health() -> None:
    """A deployment that turned bad does not live on its good name."""
    healthy = after(Evidence(0.05), 0, 20, seconds=300)
    suspicious = after(healthy, 20, 20, seconds=6)

    assert confidence(healthy) > 0.99
    assert suspicious.value >= 10
    assert confidence(suspicious) == 0.0
