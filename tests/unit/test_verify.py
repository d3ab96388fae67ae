"""Restored is measured: who answers, how often, and whether the flows work."""

from dataclasses import replace

import pytest
import trio

from rollback.adapters.memory import AnyioClock, SiteRequest
from rollback.errors import SettingsInvalid
from rollback.model import Answer, Health
from rollback.verify import Restoration, health_of, until_restored

from .shop import BAD_DATABASE, HEALTHY, SUBMISSIONS, URL, Shop, answer, run


def restored(shop: Shop, *, timeout: float = 120) -> tuple[Restoration, float]:
    """What was found of v1 there, and after how many seconds."""

    async def play() -> tuple[Restoration, float]:
        found = await until_restored(
            shop.site,
            URL,
            deployment="dpl_v1",
            in_a_row=3,
            token="inc1",
            timeout_seconds=timeout,
            clock=AnyioClock(),
        )
        return found, trio.current_time()

    found: tuple[Restoration, float] = run(play)
    return found


def looked(given: Answer, *, protected: bool = False) -> Health:
    """One look at a health check that answers so."""

    async def play() -> Health:
        site = Shop(looks=[given]).site
        return await health_of(site, URL, clock=AnyioClock(), protected=protected)

    found: Health = run(play)
    return found


def test_a_healthy_site_with_working_flows_is_restored() -> None:
    """The deployment answered healthy as often as asked for, and each flow passed."""
    found, _ = restored(shop := Shop())

    assert found.at
    assert found.detail == "healthy 3 times in a row, all flows pass"
    assert [flow.passed for flow in found.flows] == [True] * 3
    assert shop.health_asked == 3
    assert not any(request.protected for request in shop.site.asked)


def test_healthy_looks_must_follow_one_another() -> None:
    """One unhealthy look begins the row again."""
    good, bad = answer(200, HEALTHY), answer(503, BAD_DATABASE)
    found, _ = restored(shop := Shop(looks=[good, good, bad, good]))

    assert found.at
    assert shop.health_asked == 6


def test_another_deployment_never_counts() -> None:
    """However healthy it is: what still answers is named, and no flow is tried."""
    other = answer(200, HEALTHY, deployment="dpl_v2")
    found, seconds = restored(shop := Shop(looks=[other]))

    assert found.at is None
    assert found.detail == "dpl_v2 still answers"
    assert seconds == pytest.approx(120)
    assert shop.tokens() == []


def test_an_unhealthy_site_is_not_restored() -> None:
    """The components that are amiss are named."""
    found, _ = restored(Shop(looks=[answer(503, BAD_DATABASE)]))

    assert found.at is None
    assert found.detail == "unhealthy: database"


def test_the_deadline_bounds_everything() -> None:
    """Flows that hang are cut off, and not taken for good."""
    hangs = Shop(twist=lambda _, given: replace(given, seconds=14.0))
    found, seconds = restored(hangs, timeout=10)

    assert found.at is None
    assert "did not end in time" in found.detail
    assert seconds == pytest.approx(10)


def test_a_site_that_does_not_say_who_answers_is_not_passed_in_silence() -> None:
    """Restored, and the record says on what that rests."""

    def anonymous(_: SiteRequest, given: Answer) -> Answer:
        return replace(given, deployment=None)

    look = answer(200, HEALTHY, deployment=None)
    found, _ = restored(Shop(looks=[look], twist=anonymous))

    assert found.at
    assert "does not say which deployment answers" in found.detail


def test_one_answer_without_a_name_is_enough_to_say_so() -> None:
    """Who answered is known only when each look of the row names it."""
    look = answer(200, HEALTHY)
    found, _ = restored(Shop(looks=[look, replace(look, deployment=None), look]))

    assert found.at
    assert "does not say which deployment answers" in found.detail


def test_flows_that_fail_are_tried_again_with_data_of_their_own() -> None:
    """A site that is still warming up is not given up; what passed is not repeated."""
    until = 20.0

    def cold(request: SiteRequest, given: Answer) -> Answer:
        failing = SUBMISSIONS in request.url and trio.current_time() < until
        return answer(500) if failing else given

    found, seconds = restored(shop := Shop(twist=cold))

    assert found.at
    assert all(flow.passed for flow in found.flows)
    assert [flow.name for flow in found.flows] == [
        "supplier signup",
        "form submission",
        "payment",
    ]
    assert until <= seconds < until + 10
    assert len(shop.tokens()) == len(set(shop.tokens())) > 1
    orders = {
        r.json["order_id"] for r in shop.site.asked if r.json and "order_id" in r.json
    }
    assert orders == {"smoke-inc1"}


def test_flows_that_fail_until_the_deadline_are_reported() -> None:
    """The last result is what is told."""

    def broken(_: SiteRequest, given: Answer) -> Answer:
        late = trio.current_time() > 60
        return answer(502 if late else 500) if given.status == 201 else given

    found, seconds = restored(shop := Shop(twist=broken))

    assert found.at is None
    assert "form submission" in found.detail
    assert "502" in found.detail
    assert [flow.passed for flow in found.flows] == [False] * 3
    assert seconds == pytest.approx(120)
    assert 5 < len(shop.tokens()) < 40


def test_health_is_measured_again_before_flows_are() -> None:
    """What fell ill between two attempts is not restored by flows alone."""
    good, bad = answer(200, HEALTHY), answer(503, BAD_DATABASE)

    def first_fails(request: SiteRequest, given: Answer) -> Answer:
        form = SUBMISSIONS in request.url and trio.current_time() < 5
        return answer(500) if form else given

    found, _ = restored(Shop(looks=[good, good, good, bad], twist=first_fails))

    assert found.at is None
    assert "unhealthy: database" in found.detail


def test_restored_needs_flows_of_the_same_deployment() -> None:
    """The flows of a restoration hold the expected deployment to its name."""
    strays = Shop(twist=lambda _, given: replace(given, deployment="dpl_v2"))
    found, _ = restored(strays)

    assert found.at is None
    assert "dpl_v2" in found.detail


def test_a_503_with_healthy_components_is_not_healthy() -> None:
    """The status counts as much as what is in the body."""
    found = looked(answer(503, HEALTHY))

    assert not found.healthy
    assert found.problem
    assert "503" in found.problem


def test_a_503_with_an_unhealthy_component_names_it() -> None:
    """That is how the health check says what is amiss; it is an answer."""
    found = looked(answer(503, BAD_DATABASE))

    assert not found.healthy
    assert found.unhealthy == {"database"}
    assert found.problem is None


@pytest.mark.parametrize(
    "given",
    [
        answer(200, {}),
        answer(200, "healthy"),
        answer(404, HEALTHY),
        answer(401, HEALTHY),
        Answer(status=None, seconds=0.01, problem="connection refused"),
    ],
)
def test_what_is_no_health_report_is_a_problem(given: Answer) -> None:
    """No components, another status or no answer at all is never healthy."""
    found = looked(given)

    assert found.problem
    assert not found.healthy


@pytest.mark.parametrize("status", [401, 403])
def test_a_locked_address_says_nothing_about_health(status: int) -> None:
    """The secret is what is amiss: that is said, and no health is told."""
    with pytest.raises(SettingsInvalid, match="VERCEL_AUTOMATION_BYPASS_SECRET"):
        looked(answer(status), protected=True)
