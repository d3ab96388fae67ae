"""The exit codes of the contract."""

from datetime import UTC, datetime

import pytest

from rollback.cli import BY_JUDGEMENT, gate_code
from rollback.engine import Ruling
from rollback.model import Incident, Judgement, Outcome, Verdict
from rollback.parts import BY_OUTCOME

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def ruling(judgement: Judgement, outcome: Outcome | None = None) -> Ruling:
    """What a gate came to, with the incident if it acted."""
    incident = Incident(
        id="inc-1",
        environment="production",
        from_deployment="dpl_v2",
        to_deployment="dpl_v1",
        reason="bad",
        opened_at=NOW,
        outcome=outcome,
    )
    verdict = Verdict(
        deployment="dpl_v2", judgement=judgement, row="", reason="", signals=()
    )
    return Ruling(
        verdict=verdict,
        started_at=NOW,
        decided_at=NOW,
        incident=incident if outcome else None,
    )


@pytest.mark.parametrize(
    ("judgement", "outcome", "code"),
    [
        (Judgement.HEALTHY, None, 0),
        (Judgement.ROLL_BACK, None, 1),
        (Judgement.ROLL_BACK, Outcome.RESTORED, 1),
        (Judgement.ROLL_BACK, Outcome.NOTHING_TO_DO, 1),
        (Judgement.INCONCLUSIVE, None, 3),
        (Judgement.WATCHING, None, 3),
        (Judgement.ROLL_BACK, Outcome.REFUSED, 4),
        (Judgement.ROLL_BACK, Outcome.ESCALATED, 5),
    ],
)
def test_a_gate_ends_as_the_contract_says(
    judgement: Judgement, outcome: Outcome | None, code: int
) -> None:
    """A pipeline can tell each end from the others."""
    assert gate_code(ruling(judgement, outcome)) == code


def test_a_rollback_by_hand_ends_as_the_contract_says() -> None:
    """Restored and nothing to do are 0, refused is 4, not restored is 5."""
    assert BY_OUTCOME == {
        Outcome.RESTORED: 0,
        Outcome.NOTHING_TO_DO: 0,
        Outcome.REFUSED: 4,
        Outcome.ESCALATED: 5,
    }


def test_one_look_ends_as_the_contract_says() -> None:
    """Healthy 0, roll back 1, anything undecided 3."""
    assert BY_JUDGEMENT == {
        Judgement.HEALTHY: 0,
        Judgement.ROLL_BACK: 1,
        Judgement.INCONCLUSIVE: 3,
        Judgement.WATCHING: 3,
    }
