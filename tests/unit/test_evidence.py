"""The arithmetic behind an early verdict, in examples."""

import math

import pytest

from rollback.evidence import SUSPICION, Evidence, confidence, update

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


@pytest.mark.parametrize("healthy_seconds", [0, 1, 60, 600, 1797])
@pytest.mark.parametrize("p0", [0.05, 0.01])
def test_a_blip_of_three_seconds_proves_nothing(
    p0: float, healthy_seconds: int
) -> None:
    """One second multiplies the evidence by eight at most."""
    healthy = after(Evidence(p0), 0, 20, seconds=healthy_seconds)

    assert after(healthy, 20, 20, seconds=3).value < PROOF / 3


def test_a_smaller_cap_is_more_patient() -> None:
    """What the setting is for: an outage must last longer before it is proof."""
    waits = [seconds_to_proof(Evidence(0.05, cap=c), 9, 9) for c in (16, 8, 4, 2)]

    assert waits == sorted(set(waits))


def test_a_shorter_horizon_is_quicker_with_a_later_fault() -> None:
    """What the setting is for: less weight is left for far away."""
    short, long = (
        after(Evidence(0.05, horizon=h), 0, 9, seconds=60) for h in (60, 100_000)
    )

    assert seconds_to_proof(short, 9, 9) < seconds_to_proof(long, 9, 9)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("p0", 0.0),
        ("p0", 1.0),
        ("p0", -0.1),
        ("p0", math.nan),
        ("cap", 1.0),
        ("cap", math.inf),
        ("cap", math.nan),
        ("horizon", 0),
        ("horizon", -5),
    ],
)
def test_settings_without_a_guarantee_are_refused(name: str, value: float) -> None:
    """The error names the setting."""
    settings = {"p0": 0.05} | {name: value}

    with pytest.raises(ValueError, match=f"^{name} must"):
        Evidence(**settings)  # type: ignore[arg-type]  # one of them is an int


@pytest.mark.parametrize(("bad", "n"), [(-1, 5), (6, 5), (0, -1), (1, 0), (-3, -2)])
def test_counts_that_cannot_be_are_refused(bad: int, n: int) -> None:
    """A mistake of the caller is not judged as if it were traffic."""
    with pytest.raises(ValueError, match="cannot be"):
        update(Evidence(0.05), bad, n)


@pytest.mark.parametrize("p0", [1e-9, 0.01, 0.05, 0.999])
@pytest.mark.parametrize("cap", [1.001, 8.0, 1e200])
def test_no_extreme_overflows_or_turns_into_nonsense(p0: float, cap: float) -> None:
    """Hours of outage, hours of silence from errors, and both in turn."""
    million = 1_000_000
    evidence = Evidence(p0, cap=cap)
    for bad in (million, 0, million, 0, 1):
        evidence = after(evidence, bad, million, seconds=2000)
        numbers = (*evidence.bad, *evidence.good, evidence.unspent, evidence.best)

        assert all(math.isfinite(x) and x >= 0 for x in numbers)
        assert math.isfinite(evidence.value)
        assert 0 <= confidence(evidence) <= 1


def test_it_stays_awake_after_a_long_watch() -> None:
    """Hours of health, and it still needs seconds for an outage."""
    healthy = after(Evidence(0.05), 0, 20, seconds=4 * 3600)

    assert seconds_to_proof(healthy, 20, 20) <= 13


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
    assert suspicious.value >= SUSPICION
    assert confidence(suspicious) == 0.0
