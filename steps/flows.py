"""Steps of the critical flows: plain HTTP, as a browser would send it.

They share nothing with `rollback smoke`, so that one mistake cannot hide in both.
"""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_bdd import then, when

from .command import Command, Ran

PAID_WITHIN = 20.0
ANSWERS = {"date": "2027-06-12", "guests": 120, "note": "façade “café” - 花"}


@pytest.fixture
def visitor(site_url: str) -> Iterator[httpx.Client]:
    """Somebody with a browser."""
    with httpx.Client(base_url=site_url, timeout=15) as client:
        yield client


@when("a supplier signs up", target_fixture="signed_up")
def signs_up(visitor: httpx.Client) -> dict[str, Any]:
    """With an e-mail address that nobody used before."""
    form = {
        "name": "Florist & Sons",
        "email": f"supplier-{uuid.uuid4().hex}@example.com",
        "password": "correct-Horse-7",
    }
    return {"form": form, "answer": visitor.post("/api/suppliers", json=form)}


@then("the supplier is welcomed by name")
def welcomed(signed_up: dict[str, Any]) -> None:
    """Created, with what was entered."""
    answer, form = signed_up["answer"], signed_up["form"]
    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert (said["name"], said["email"]) == (form["name"], form["email"])
    assert said["id"]
    assert form["password"] not in answer.text


@then("the same e-mail cannot sign up again")
def not_twice(visitor: httpx.Client, signed_up: dict[str, Any]) -> None:
    """Refused as a conflict."""
    again = visitor.post("/api/suppliers", json=signed_up["form"])
    assert again.status_code == 409, again.text


@when("a couple submits a form", target_fixture="submitted")
def submits(visitor: httpx.Client) -> httpx.Response:
    """With more than plain letters in it."""
    return visitor.post("/api/forms/rsvp/submissions", json={"answers": ANSWERS})


@then("the submission can be read again, word for word")
def read_again(visitor: httpx.Client, submitted: httpx.Response) -> None:
    """What was stored is what was sent."""
    assert submitted.status_code == 201, submitted.text
    path = f"/api/forms/rsvp/submissions/{submitted.json()['id']}"
    stored = visitor.get(path)
    assert stored.status_code == 200, stored.text
    assert stored.json()["answers"] == ANSWERS


def _order(method: str = "pm_card_visa") -> dict[str, Any]:
    return {
        "order_id": f"order-{uuid.uuid4().hex}",
        "amount": 4200,
        "currency": "gbp",
        "payment_method": method,
    }


@when("a couple pays for an order", target_fixture="paid")
def pays(visitor: httpx.Client) -> dict[str, Any]:
    """With a card that is accepted."""
    order = _order()
    return {"order": order, "answer": visitor.post("/api/payments", json=order)}


@then("the order becomes paid when its webhook has arrived")
def becomes_paid(visitor: httpx.Client, paid: dict[str, Any]) -> None:
    """Paid only by the webhook, soon."""
    assert paid["answer"].status_code == 201, paid["answer"].text
    path = f"/api/payments/{paid['order']['order_id']}"
    deadline = time.monotonic() + PAID_WITHIN
    status = paid["answer"].json()["status"]
    while status != "paid" and time.monotonic() < deadline:
        time.sleep(0.1)
        status = visitor.get(path).json()["status"]
    assert status == "paid", f"still {status} after {PAID_WITHIN:.0f} s"


@then("paying for the same order again takes no second payment")
def not_charged_twice(visitor: httpx.Client, paid: dict[str, Any]) -> None:
    """The answer names the payment that there is."""
    again = visitor.post("/api/payments", json=paid["order"])
    first = paid["answer"].json()
    assert again.status_code in (200, 201), again.text
    assert again.json()["payment_intent"] == first["payment_intent"]
    assert again.json()["id"] == first["id"]


@when(
    "a couple pays for an order with a card that is declined", target_fixture="declined"
)
def pays_in_vain(visitor: httpx.Client) -> dict[str, Any]:
    """With the test card that Stripe declines."""
    order = _order("pm_card_chargeDeclined")
    return {"order": order, "answer": visitor.post("/api/payments", json=order)}


@then("the payment is refused and the order is not paid")
def refused(visitor: httpx.Client, declined: dict[str, Any]) -> None:
    """402, and it stays unpaid."""
    assert declined["answer"].status_code == 402, declined["answer"].text
    stored = visitor.get(f"/api/payments/{declined['order']['order_id']}")
    assert stored.json().get("status") != "paid", stored.text


@when("the smoke command is run", target_fixture="smoked")
def smoke(site_url: str, tmp_path: Path) -> Ran:
    """Against the same address."""
    return Command({}, tmp_path).run("smoke", site_url, "--json")


@then("it reports that every flow passes")
def all_pass(smoked: Ran) -> None:
    """Exit 0, and each of the three by name."""
    assert smoked.code == 0, smoked.stderr
    flows = {flow["name"]: flow["passed"] for flow in smoked.document["flows"]}
    assert flows == {
        "supplier signup": True,
        "form submission": True,
        "payment": True,
    }


@then("the critical flows pass on the site")
def flows_pass(visitor: httpx.Client) -> None:
    """All three, one after the other."""
    signed_up = signs_up(visitor)
    welcomed(signed_up)
    read_again(visitor, submits(visitor))
    becomes_paid(visitor, pays(visitor))
