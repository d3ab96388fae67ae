"""The clocks of an incident against the spec's budgets."""

from datetime import UTC, datetime, timedelta

import pytest

from rollback.incident import Budgets, Clocks, document, new_id, phases
from rollback.model import Incident, Outcome, Phase, PhaseName

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So many seconds after the first bad one."""
    return START + timedelta(seconds=seconds)


CLOCKS = Clocks(
    bad_since=at(0),
    decided_at=at(10),
    accepted_at=at(13),
    carried_out_at=at(20),
    restored_at=at(50),
    communicated_at=at(90),
)


def test_each_phase_begins_and_ends_where_the_words_say() -> None:
    """Identify, initiate, carry out, verify, communicate."""
    measured = {p.name.value: p.seconds for p in phases(CLOCKS, Budgets())}

    assert measured == {
        "identify": 10,
        "initiate": 3,
        "carry_out": 7,
        "verify": 30,
        "communicate": 80,
    }


def test_the_budgets_are_the_specs() -> None:
    """Two minutes, one, three, five; carrying out has none."""
    budgets = {p.name.value: p.budget_seconds for p in phases(CLOCKS, Budgets())}

    assert budgets == {
        "identify": 120,
        "initiate": 60,
        "carry_out": None,
        "verify": 180,
        "communicate": 300,
    }


@pytest.mark.parametrize(("seconds", "met"), [(59, True), (60, True), (60.001, False)])
def test_a_budget_is_met_up_to_its_last_second(seconds: float, met: bool) -> None:
    """Missed is missed, and reported."""
    phase = Phase(
        name=PhaseName.INITIATE,
        started_at=at(0),
        ended_at=at(seconds),
        budget_seconds=60,
    )

    assert phase.met is met


def test_a_phase_that_did_not_end_is_not_claimed() -> None:
    """Without a measurement of restored there is no verify phase."""
    cut = Clocks(decided_at=at(10), accepted_at=at(13))

    assert [p.name for p in phases(cut, Budgets())] == [PhaseName.INITIATE]


def test_an_id_sorts_by_time_and_is_nobody_elses() -> None:
    """The random part keeps two askers of one moment apart."""
    assert new_id(at(0), "a1b2c3") == "inc-20260102-030405-a1b2c3"
    assert new_id(at(0), "a1b2c3") < new_id(at(1), "000000")


def test_the_document_has_the_contracts_keys_and_times() -> None:
    """ISO 8601 in UTC with milliseconds, durations as numbers."""
    incident = Incident(
        id="inc-1",
        environment="production",
        from_deployment="dpl_v2",
        to_deployment="dpl_v1",
        reason="bad",
        opened_at=at(10),
        outcome=Outcome.RESTORED,
        phases=phases(CLOCKS, Budgets()),
    )

    written = document(incident)

    named = {"incident", "environment", "from", "to", "reason", "outcome", "steps"}
    assert named <= set(written)
    assert written["phases"]["identify"] == {
        "started_at": "2026-01-02T03:04:05.000Z",
        "ended_at": "2026-01-02T03:04:15.000Z",
        "seconds": 10.0,
        "budget_seconds": 120,
        "met": True,
    }
    assert written["backup"] is None
