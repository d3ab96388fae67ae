"""What is planned, and what is refused."""

from datetime import UTC, datetime

import pytest

from rollback.errors import NotATarget, SharedOutage
from rollback.model import Health, Plan, PlatformDeployment
from rollback.plan import is_live, make_plan

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def deployment(name: str, **changed: bool) -> PlatformDeployment:
    """A deployment that could be gone back to, with changes."""
    facts = {"ready": True, "candidate": True, "served": True} | changed
    return PlatformDeployment(
        id=name, url=f"https://{name}", git_sha="a" * 40, created_at=NOW, **facts
    )


def health(**states: str) -> Health:
    """A healthy answer, with changes."""
    components = {"api": "healthy", "database": "healthy", "redis": "healthy"} | states
    return Health(at=NOW, components=tuple(components.items()))


def planned(
    *,
    target: PlatformDeployment | None = None,
    bad: Health | None = None,
    good: Health | None = None,
    override: bool = False,
) -> Plan:
    """The plan to undo v2, whose database is lost."""
    return make_plan(
        environment="production",
        candidate=deployment("dpl_v2"),
        candidate_health=bad or health(database="unhealthy"),
        target=target or deployment("dpl_v1"),
        target_health=good or health(),
        reason="broken",
        override=override,
    )


def test_the_plan_moves_production_to_the_target() -> None:
    """One step: the application."""
    (step,) = planned().steps

    assert (step.target, step.from_deployment, step.to_deployment) == (
        "application",
        "dpl_v2",
        "dpl_v1",
    )


def test_a_shared_outage_is_refused() -> None:
    """Both fail on the database: going back cannot help."""
    with pytest.raises(SharedOutage, match="database"):
        planned(good=health(database="unhealthy"))


def test_a_target_that_fails_on_something_else_is_no_shared_outage() -> None:
    """An app that is unhealthy for another reason is not refused."""
    assert planned(good=health(redis="unhealthy")).to_deployment == "dpl_v1"


def test_a_target_that_does_not_answer_is_refused() -> None:
    """Nothing is rolled back to what is not there."""
    with pytest.raises(NotATarget, match="does not answer"):
        planned(good=Health(at=NOW, problem="connection refused"))


@pytest.mark.parametrize(
    ("missing", "why"), [("candidate", "not on its list"), ("served", "never served")]
)
def test_a_deployment_that_never_served_is_refused(missing: str, why: str) -> None:
    """The platform's own mark is not enough, and it is not left out either."""
    with pytest.raises(NotATarget, match=why):
        planned(target=deployment("dpl_v1", **{missing: False}))


def test_a_person_may_override_but_not_bring_back_what_is_gone() -> None:
    """An override goes past judgement, not past what is possible."""
    both = health(database="unhealthy")

    assert planned(bad=both, good=both, override=True).to_deployment == "dpl_v1"
    with pytest.raises(NotATarget, match="no longer"):
        planned(target=deployment("dpl_v1", ready=False), override=True)


def test_a_deployment_is_live_when_any_host_serves_it() -> None:
    """One forgotten alias still is production."""
    live = {"example.com": "dpl_v2", "shop.example.com": "dpl_v1"}

    assert is_live(live, "dpl_v1")
    assert not is_live(live, "dpl_v0")
