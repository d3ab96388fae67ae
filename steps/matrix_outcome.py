"""Steps of the decision matrix that assert: verdict, row, counts, and what is live."""

import pytest
from pytest_bdd import parsers, then

from rollback.engine import Ruling
from rollback.model import (
    HealthStatus,
    Judgement,
    Outcome,
    Signal,
    SignalState,
    Verdict,
)

from .matrix_scene import Scene, Seen


@pytest.fixture
def seen(case: Scene) -> Seen:
    """What came of the watch."""
    assert case.seen, "nothing was watched"
    return case.seen


@pytest.fixture
def ruling(seen: Seen) -> Ruling:
    """What the gate came to."""
    return seen.ruling


@pytest.fixture
def verdict(ruling: Ruling) -> Verdict:
    """What the matrix said."""
    return ruling.verdict


@then(parsers.parse('the verdict is {judgement}, by the row "{row:w}"'))
def verdict_is(verdict: Verdict, judgement: str, row: str) -> None:
    """The last one: of a gate that went on watching there is none yet."""
    wanted = Judgement(judgement.replace(" ", "_"))
    assert (verdict.judgement, verdict.row) == (wanted, row), verdict


@then(parsers.parse("the {name} was counted as {bad:d} of {requests:d}"))
def counted(verdict: Verdict, name: str, bad: int, requests: int) -> None:
    """To the last one; the reason has the same figures where it names the signal."""
    state = _state(verdict, name)
    assert (state.bad, state.requests) == (bad, requests)
    if verdict.signal is state.signal:
        assert f"{bad} of {requests}" in verdict.reason


@then(parsers.parse("the verdict names the {name} with its counts"))
def names_the_signal(verdict: Verdict, name: str) -> None:
    """The one that decided: of all sources together, or of the one that saw it."""
    signal = _signal(name)
    assert verdict.signal is signal, verdict
    seen = [verdict.signals, *(part.signals for part in verdict.parts)]
    counts = {(s.bad, s.requests) for part in seen for s in part if s.signal is signal}
    said = [f"{name}: {bad} of {requests} " for bad, requests in counts]
    assert verdict.reason.startswith(tuple(said)), said


@then("the verdict names a signal with its counts")
def names_some_signal(verdict: Verdict) -> None:
    """Whichever it is, all that came since it began is in the counts."""
    assert verdict.signal
    names_the_signal(verdict, verdict.signal.replace("_", " "))


@then(parsers.parse('the reason names "{what}"'))
def reason_names(verdict: Verdict, what: str) -> None:
    """Word for word."""
    assert what in verdict.reason


@then("no critical error was counted")
def no_critical_error(verdict: Verdict) -> None:
    """Not even beside the verdict."""
    assert verdict.critical_errors == ()


@then(parsers.parse("the verdict came after exactly {minutes:d} minutes"))
def came_after(ruling: Ruling, minutes: int) -> None:
    """Neither before the window was over nor later."""
    assert _seconds(ruling) == minutes * 60


@then(parsers.parse("the verdict came within {seconds:d} seconds of minute {minute:d}"))
def came_within(ruling: Ruling, seconds: int, minute: int) -> None:
    """Not before it either."""
    assert 0 < _seconds(ruling) - minute * 60 <= seconds


@then("v2 still serves production")
def nothing_moved(seen: Seen) -> None:
    """Nobody asked the platform for anything."""
    assert (seen.live, seen.asked) == ("dpl_v2", [])


@then("v1 again serves production")
def moved_back(seen: Seen, ruling: Ruling) -> None:
    """Asked for once, made sure of, and told."""
    assert seen.live == "dpl_v1"
    assert [asked[:2] for asked in seen.asked] == [("roll_back", "dpl_v1")]
    assert ruling.incident
    assert ruling.incident.outcome is Outcome.RESTORED, ruling.incident.detail
    assert seen.told == ["initiated", "restored"]
    assert _status(seen) is HealthStatus.FAILING


@then("from now on v2 is one to go back to")
def is_stable(seen: Seen) -> None:
    """Recorded as passing."""
    assert _status(seen) is HealthStatus.PASSING


@then("v2 is not one to go back to")
def is_not_stable(seen: Seen) -> None:
    """Nothing was proved, and nothing recorded."""
    assert _status(seen) is HealthStatus.UNKNOWN


@then("nobody was disturbed")
def nobody_told(seen: Seen) -> None:
    """No message for good news."""
    assert seen.told == []


@then(parsers.parse('the rollback is refused, because v1 "{why}"'))
def refused(ruling: Ruling, why: str) -> None:
    """There is an incident, which says why."""
    assert ruling.incident
    assert ruling.incident.outcome is Outcome.REFUSED, ruling.incident
    assert f"dpl_v1 {why}" in ruling.incident.detail


@then("people were told that a person is needed")
def person_called(seen: Seen) -> None:
    """Once."""
    assert seen.told == ["refused"]


def _state(verdict: Verdict, name: str) -> SignalState:
    signal = _signal(name)
    (state,) = (state for state in verdict.signals if state.signal is signal)
    return state


def _signal(name: str) -> Signal:
    return Signal(name.replace(" ", "_"))


def _seconds(ruling: Ruling) -> float:
    return (ruling.decided_at - ruling.started_at).total_seconds()


def _status(seen: Seen) -> HealthStatus:
    assert seen.candidate, "v2 is not on record"
    return seen.candidate.health_check_status
