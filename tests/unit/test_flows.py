"""The critical flows, each able to fail for what a user would miss."""

from dataclasses import replace

import pytest

from rollback.adapters.memory import SiteRequest
from rollback.model import Answer, FlowResult
from rollback.verify import smoke

from .shop import SUBMISSIONS, URL, Shop, answer, run


def flows(shop: Shop, *, deployment: str | None = None) -> dict[str, FlowResult]:
    """The flows tried there once, by name."""

    async def play() -> tuple[FlowResult, ...]:
        if deployment is None:
            return await smoke(shop.site, URL, token="t1")
        return await smoke(shop.site, URL, token="t1", deployment=deployment)

    return {flow.name: flow for flow in run(play)}


def test_a_flow_that_another_deployment_answers_fails() -> None:
    """Whoever else says 201: it is not the release that has to work."""
    strays = Shop(
        twist=lambda request, given: (
            replace(given, deployment="dpl_v2") if "payments" in request.url else given
        )
    )
    found = flows(strays, deployment="dpl_v1")

    assert not found["payment"].passed
    assert "dpl_v2" in found["payment"].detail
    assert found["supplier signup"].passed
    assert flows(strays)["payment"].passed


def test_a_payment_that_no_webhook_confirms_fails() -> None:
    """Taken is not paid: the flow waits for it, and not for ever."""

    def unpaid(request: SiteRequest, given: Answer) -> Answer:
        return (
            answer(200, {"status": "processing"}) if request.method == "GET" else given
        )

    found = flows(Shop(twist=unpaid))["payment"]

    assert not found.passed
    assert "is processing after 20 s" in found.detail
    assert found.seconds == pytest.approx(20, abs=0.5)


def test_a_form_is_read_again() -> None:
    """Accepted is not stored: what is read must be what was submitted."""

    def forgets(request: SiteRequest, given: Answer) -> Answer:
        if request.method == "GET" and SUBMISSIONS in request.url:
            return answer(200, {"answers": {}})
        return given

    found = flows(Shop(twist=forgets))

    assert not found["form submission"].passed
    assert found["supplier signup"].passed
    assert found["payment"].passed


def test_a_sign_up_under_another_address_fails() -> None:
    """The supplier that comes back is the one who signed up."""

    def confused(request: SiteRequest, given: Answer) -> Answer:
        if "suppliers" in request.url:
            return answer(201, {"id": "1", "email": "other@example.com"})
        return given

    assert not flows(Shop(twist=confused))["supplier signup"].passed
