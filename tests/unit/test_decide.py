"""The decision matrix, row by row."""

from datetime import UTC, datetime

import pytest

from rollback.decide import Limits
from rollback.model import (
    Counts,
    CriticalError,
    Judgement,
    Observation,
    Signal,
    SourceState,
    Verdict,
)
from rollback.monitor import Monitor, judge_recording
from rollback.recording import replay

LIMITS = Limits(
    thresholds=(
        (Signal.ERROR_RATE, 0.05),
        (Signal.RESPONSE_TIME, 0.05),
        (Signal.AVAILABILITY, 0.01),
    ),
    critical_errors=("DATABASE_CONNECTION_LOST",),
)


def counts(second: int, **changed: int) -> Counts:
    """One second of a healthy deployment, with changes."""
    values = {"requests": 20, "probes": 10} | changed
    return Counts(second=second, **values)


def judged(
    *seconds: Counts,
    complete: bool = True,
    limits: Limits = LIMITS,
    until: int | None = None,
    errors: tuple[CriticalError, ...] = (),
    problem: str | None = None,
) -> Verdict:
    """The verdict on these seconds, taken in at one look."""
    seen = Observation(
        deployment="dpl_v2",
        since=seconds[0].second if seconds else 0,
        until=until or (seconds[-1].second + 1 if seconds else 300),
        counts=seconds,
        critical_errors=errors,
        sources=(SourceState(name="probes", problem=problem),),
    )
    return Monitor(limits).take(seen, complete=complete)


def test_a_perfect_release_is_healthy_at_the_end_of_the_window() -> None:
    """Passing good releases is as much a promise as catching bad ones."""
    verdict = judged(*(counts(s) for s in range(300)))

    assert (verdict.judgement, verdict.row) == (Judgement.HEALTHY, "healthy")


def test_before_the_end_of_the_window_it_is_watching() -> None:
    """Health is not granted early."""
    verdict = judged(*(counts(s) for s in range(300)), complete=False)

    assert verdict.judgement is Judgement.WATCHING


@pytest.mark.parametrize(
    ("changed", "bad", "signal"),
    [
        ("failed", 50, Signal.ERROR_RATE),
        ("slow", 50, Signal.RESPONSE_TIME),
        ("unavailable", 10, Signal.AVAILABILITY),
    ],
)
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_only_more_than_the_threshold_rolls_back(
    changed: str, bad: int, signal: Signal, beyond: int
) -> None:
    """Exactly 5 % of errors or slow answers, exactly 99 % available, is within."""
    verdict = judged(counts(0, requests=1000, probes=1000, **{changed: bad + beyond}))

    over = beyond > 0
    assert (verdict.judgement is Judgement.ROLL_BACK) == over
    assert (verdict.row == "threshold") == over
    assert (verdict.signal is signal) == over


def test_too_few_requests_for_the_literal_rule() -> None:
    """One failure in ten requests is no 10 % of anything."""
    verdict = judged(counts(0, requests=10, failed=1), complete=False)

    assert verdict.judgement is Judgement.WATCHING


def test_evidence_rolls_back_long_before_the_window_ends() -> None:
    """Six seconds of nothing but errors are proof at any traffic."""
    seconds = [counts(s, requests=1, failed=1) for s in range(6)]

    verdict = judged(*seconds, complete=False)

    assert (verdict.row, verdict.signal) == ("evidence", Signal.ERROR_RATE)


def test_the_first_bad_second_is_where_the_stretch_began() -> None:
    """What `identify` is measured from."""
    good = [counts(s) for s in range(100)]
    blip = [counts(20, failed=20)]
    bad = [counts(s, failed=20) for s in range(100, 112)]
    seconds = [*good[:20], *blip, *good[21:], *bad]

    assert judged(*seconds, complete=False).bad_since == 100


def critical(code: str = "DATABASE_CONNECTION_LOST") -> CriticalError:
    """A code, first seen in second 7."""
    return CriticalError(code=code, count=2, first_seen=datetime.fromtimestamp(7, UTC))


def test_a_critical_error_rolls_back_at_once() -> None:
    """The first row, before everything else."""
    verdict = judged(counts(9), errors=(critical(),), complete=False)

    assert (verdict.judgement, verdict.row) == (Judgement.ROLL_BACK, "critical_error")
    assert verdict.bad_since == 7


def test_another_error_code_is_not_critical() -> None:
    """Only the codes of the settings are."""
    verdict = judged(counts(9), errors=(critical("TYPO_IN_TITLE"),), complete=False)

    assert verdict.judgement is Judgement.WATCHING
    assert verdict.critical_errors == ()


def test_a_silent_source_is_inconclusive_even_after_a_perfect_window() -> None:
    """No data is no proof of health."""
    verdict = judged(*(counts(s) for s in range(300)), problem="probes are down")

    assert verdict.judgement is Judgement.INCONCLUSIVE
    assert "probes are down" in verdict.reason


def test_a_bad_signal_outweighs_a_silent_source() -> None:
    """What is proved does not wait for what is missing."""
    bad = [counts(s, failed=20) for s in range(10)]

    assert judged(*bad, problem="redis is down").row == "evidence"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ([counts(s) for s in range(0, 300, 2)], "seconds hold a measurement"),
        ([counts(s, probes=0) for s in range(300)], "availability has 0 requests"),
        ([counts(s, requests=0) for s in range(300)], "error rate has 0 requests"),
        ([], "0%"),
    ],
)
def test_what_was_missing_is_said(seconds: list[Counts], said: str) -> None:
    """Inconclusive names what stands in the way, and never passes."""
    verdict = judged(*seconds, until=300)

    assert verdict.judgement is Judgement.INCONCLUSIVE
    assert said in verdict.reason


def test_confidence_that_was_asked_for_must_be_reached() -> None:
    """Five minutes do not prove 99 % availability at 0.95."""
    asked = Limits(thresholds=LIMITS.thresholds, critical_errors=(), confidence=0.95)

    verdict = judged(*(counts(s) for s in range(300)), limits=asked)

    assert verdict.judgement is Judgement.INCONCLUSIVE
    assert "confidence" in verdict.reason


def test_the_window_trails() -> None:
    """What happened before the window no longer counts as a proportion."""
    monitor = Monitor(LIMITS)
    for second in range(600):
        seen = Observation(
            deployment="dpl_v2",
            since=second,
            until=second + 1,
            counts=(counts(second, failed=1 if second < 100 else 0),),
        )
        verdict = monitor.take(seen)

    errors = next(s for s in verdict.signals if s.signal is Signal.ERROR_RATE)
    assert (errors.requests, errors.bad) == (300 * 20, 0)


def test_a_recording_is_judged_as_if_live() -> None:
    """The verdict falls in the second in which it would have fallen."""
    good = [counts(s, requests=10) for s in range(60)]
    bad = [counts(s, requests=10, failed=10) for s in range(60, 120)]
    seen = replay("dpl_v2", [*good, *bad], silence_seconds=30, window_seconds=300)

    verdict = judge_recording(tuple(seen), LIMITS)

    assert verdict.row == "evidence"
    assert 64 <= verdict.second <= 70


def test_a_recording_with_a_silent_end_is_inconclusive() -> None:
    """A gap in the recording is silence, not health."""
    seconds = [*(counts(s) for s in range(60)), counts(95)]
    seen = tuple(replay("dpl_v2", seconds, silence_seconds=30, window_seconds=300))

    assert judge_recording(seen[:-1], LIMITS).judgement is Judgement.INCONCLUSIVE


def test_an_old_blip_is_not_where_the_trouble_began() -> None:
    """A critical error now has nothing to do with one bad second four minutes ago."""
    seconds = [counts(s, failed=20 if s == 60 else 0) for s in range(300)]
    now = CriticalError(
        code="DATABASE_CONNECTION_LOST",
        count=1,
        first_seen=datetime.fromtimestamp(298, UTC),
    )

    assert judged(*seconds, errors=(now,), complete=False).bad_since == 298


def test_trouble_that_is_thinly_spread_began_at_its_first_failure() -> None:
    """Half of one request a second: seconds without a failure do not hide the start."""
    good = [counts(s, requests=1) for s in range(100)]
    bad = [counts(s, requests=1, failed=s % 2) for s in range(100, 130)]

    assert judged(*good, *bad, complete=False).bad_since == 101
