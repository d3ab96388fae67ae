"""The stand-in for Stripe, by Stripe's own SDK: it takes money once, and denies."""

import base64
import http.client
import json
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import stripe

from .stand_ins import running

pytestmark = pytest.mark.stripe

KEY = "sk_test_wedsync"
SECRET = "whsec_test_wedsync"
PATIENCE_S = 10.0
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BEARER = {"Authorization": f"Bearer {KEY}"}
UNEXPECTED = "payment_intent_unexpected_state"
ORDER: Any = {
    "amount": 12_50,
    "currency": "gbp",
    "payment_method_types": ["card"],
    "metadata": {"order_id": "o-1"},
}
PAID: Any = ORDER | {"payment_method": "pm_card_visa", "confirm": True}


@dataclass(frozen=True)
class Hook:
    """One webhook as it arrived."""

    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def event(self) -> stripe.Event:
        """Check the signature with the SDK, and give the event."""
        signature = self.headers["Stripe-Signature"]
        construct: Callable[..., stripe.Event] = stripe.Webhook.construct_event
        return construct(self.body, signature, SECRET)


@dataclass
class Shop:
    """Where the webhooks arrive: answers 200, or the next of ``answers``."""

    url: str
    hooks: "queue.Queue[Hook]" = field(default_factory=queue.Queue)
    answers: deque[int] = field(default_factory=deque)

    def next(self) -> Hook:
        """Wait for the next webhook."""
        return self.hooks.get(timeout=PATIENCE_S)

    def take(self, request: BaseHTTPRequestHandler) -> None:
        """Keep a webhook, then answer it."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        hook = Hook(dict(request.headers.items()), body, time.monotonic())
        status = self.answers.popleft() if self.answers else 200
        request.send_response(status)
        request.end_headers()
        self.hooks.put(hook)


@dataclass
class Vendor:
    """The stand-in: by plain HTTP, by the real SDK, and the shop that it tells."""

    http: httpx.Client
    sdk: stripe.StripeClient
    shop: Shop

    def state(self) -> dict[str, Any]:
        """Look into the stand-in."""
        answer = self.http.get("/_control/state")
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def reset(self) -> None:
        """Start the stand-in afresh."""
        self.http.post("/_control/reset").raise_for_status()

    def pay(self, key: str | None = None, **changes: Any) -> stripe.PaymentIntent:
        """Pay an order, by a Visa card if nothing else is said."""
        options: Any = {"idempotency_key": key} if key else {}
        return self.sdk.v1.payment_intents.create(PAID | changes, options)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """Listen for webhooks."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.take(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        heard = Shop(f"http://127.0.0.1:{server.server_port}/api/webhooks/stripe")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield heard
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def url(shop: Shop) -> Iterator[str]:
    """Run the stand-in as its own process."""
    secrets = {"secret_key": KEY, "webhook_secret": SECRET}
    with running("stripe", **secrets, webhook_url=shop.url) as url:
        yield url


@pytest.fixture(scope="module")
def clients(url: str) -> Iterator[tuple[httpx.Client, stripe.StripeClient]]:
    """Connect once: to make a TLS context takes longer than a test."""
    with httpx.Client(base_url=url, trust_env=False) as http, _sdk(url, KEY) as sdk:
        yield http, sdk


@pytest.fixture
def vendor(clients: tuple[httpx.Client, stripe.StripeClient], shop: Shop) -> Vendor:
    """Give a stand-in in which nothing was bought."""
    vendor = Vendor(*clients, shop)
    vendor.reset()
    shop.answers.clear()
    shop.hooks = queue.Queue()
    return vendor


@contextmanager
def _sdk(url: str, key: str) -> Iterator[stripe.StripeClient]:
    client = stripe.RequestsClient()
    yield stripe.StripeClient(
        key,
        base_addresses={"api": url},
        http_client=client,
        max_network_retries=0,
    )
    client.close()  # type: ignore[no-untyped-call]  # not annotated there


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


# --- payments


def test_a_payment_is_taken_and_told(vendor: Vendor) -> None:
    """A good card pays at once, and a signed event tells the shop."""
    intent = vendor.pay()
    assert intent.status == "succeeded"
    assert intent.amount_received == 12_50
    hook = vendor.shop.next()
    assert hook.headers["User-Agent"].startswith("Stripe/1.0 ")
    event = hook.event
    assert (event.object, event.type) == ("event", "payment_intent.succeeded")
    assert event.api_version == "2026-10-28.endive"
    assert event.pending_webhooks == 1
    assert event.request is not None
    assert event.request.id
    assert event.data.object["id"] == intent.id
    assert event.data.object["metadata"]["order_id"] == "o-1"
    assert vendor.sdk.v1.events.retrieve(event.id).type == event.type


def test_the_state_shows_what_was_taken(vendor: Vendor) -> None:
    """The state gives the charge with its order, and the delivery a moment later."""
    intent = vendor.pay()
    event = vendor.shop.next().event
    _eventually(lambda: vendor.state()["deliveries"][0]["state"] == "delivered")
    state = vendor.state()
    (charge,) = state["charges"]
    assert charge["payment_intent"] == intent.id
    assert (charge["amount"], charge["metadata"]) == (12_50, {"order_id": "o-1"})
    assert [one["id"] for one in state["payment_intents"]] == [intent.id]
    assert [one["pending_webhooks"] for one in state["events"]] == [0]
    (delivery,) = state["deliveries"]
    assert (delivery["event"], delivery["type"]) == (event.id, event.type)
    (attempt,) = delivery["attempts"]
    assert (attempt["status"], attempt["error"]) == (200, None)
    assert attempt["at"] - delivery["created_at"] >= 0.29


@pytest.mark.parametrize(
    ("method", "code", "reason"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        (
            "pm_card_chargeDeclinedInsufficientFunds",
            "card_declined",
            "insufficient_funds",
        ),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", None),
    ],
)
def test_a_bad_card_is_declined(
    vendor: Vendor, method: str, code: str, reason: str | None
) -> None:
    """A declined card takes nothing: 402, and the intent waits for another card."""
    with pytest.raises(stripe.CardError) as caught:
        vendor.pay(payment_method=method)
    body: Any = caught.value.json_body
    error = body["error"]
    assert (caught.value.http_status, error["code"]) == (402, code)
    assert error.get("decline_code") == reason
    assert error["payment_intent"]["status"] == "requires_payment_method"
    event = vendor.shop.next().event
    assert event.type == "payment_intent.payment_failed"
    assert event.data.object["last_payment_error"]["code"] == code
    state = vendor.state()
    assert state["charges"] == []
    assert [one["failure_code"] for one in state["declined_charges"]] == [code]


def test_another_card_can_pay_after_a_decline(vendor: Vendor) -> None:
    """An intent survives a decline, and is paid by confirming it with a good card."""
    opened = vendor.sdk.v1.payment_intents.create(ORDER)
    assert opened.status == "requires_payment_method"
    confirm = vendor.sdk.v1.payment_intents.confirm
    with pytest.raises(stripe.CardError):
        confirm(opened.id, {"payment_method": "pm_card_chargeDeclined"})
    paid = confirm(opened.id, {"payment_method": "pm_card_visa"})
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    assert len(vendor.state()["charges"]) == 1


def test_money_put_aside_is_captured_later(vendor: Vendor) -> None:
    """With manual capture nothing is received until the capture, and then that much."""
    held = vendor.pay(capture_method="manual")
    assert (held.status, held.amount_received) == ("requires_capture", 0)
    taken = vendor.sdk.v1.payment_intents.capture(held.id, {"amount_to_capture": 500})
    assert (taken.status, taken.amount_received) == ("succeeded", 500)
    assert vendor.shop.next().event.type == "payment_intent.succeeded"


def test_an_open_intent_is_cancelled(vendor: Vendor) -> None:
    """Cancelling closes an intent for good, and the shop is told."""
    opened = vendor.sdk.v1.payment_intents.create(ORDER)
    closed = vendor.sdk.v1.payment_intents.cancel(
        opened.id, {"cancellation_reason": "abandoned"}
    )
    assert (closed.status, closed.cancellation_reason) == ("canceled", "abandoned")
    assert vendor.shop.next().event.type == "payment_intent.canceled"
    with pytest.raises(stripe.InvalidRequestError, match="canceled") as caught:
        vendor.sdk.v1.payment_intents.confirm(opened.id)
    assert caught.value.code == UNEXPECTED


@pytest.mark.parametrize("step", ["confirm", "capture", "cancel"])
def test_a_paid_intent_takes_no_further_step(vendor: Vendor, step: str) -> None:
    """What has succeeded cannot be confirmed, captured or cancelled."""
    intent = vendor.pay()
    with pytest.raises(stripe.InvalidRequestError) as caught:
        getattr(vendor.sdk.v1.payment_intents, step)(intent.id)
    assert (caught.value.http_status, caught.value.code) == (400, UNEXPECTED)
    assert len(vendor.state()["charges"]) == 1


def test_confirming_needs_a_payment_method(vendor: Vendor) -> None:
    """An intent without a card is not confirmed."""
    opened = vendor.sdk.v1.payment_intents.create(ORDER)
    with pytest.raises(stripe.InvalidRequestError, match="missing a payment method"):
        vendor.sdk.v1.payment_intents.confirm(opened.id)


def test_methods_that_redirect_need_a_way_back(vendor: Vendor) -> None:
    """Without ``return_url`` only methods that never redirect are confirmed."""
    asked = {key: PAID[key] for key in PAID if key != "payment_method_types"}
    create: Any = vendor.sdk.v1.payment_intents.create
    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        create(asked)
    assert vendor.state()["payment_intents"] == []
    never = {"enabled": True, "allow_redirects": "never"}
    assert create(asked | {"automatic_payment_methods": never}).status == "succeeded"
    assert create(asked | {"return_url": "https://a.test"}).status == "succeeded"


# --- refunds


def test_a_charge_is_refunded_once(vendor: Vendor) -> None:
    """A second full refund is refused, and the shop is told of the first alone."""
    intent = vendor.pay()
    assert vendor.shop.next().event.type == "payment_intent.succeeded"
    refund = vendor.sdk.v1.refunds.create({"payment_intent": intent.id})
    assert (refund.amount, refund.status) == (12_50, "succeeded")
    event = vendor.shop.next().event
    assert event.type == "charge.refunded"
    assert event.data.object["refunded"] is True
    before = event.data.to_dict()["previous_attributes"]
    assert before == {"amount_refunded": 0, "refunded": False}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        vendor.sdk.v1.refunds.create({"payment_intent": intent.id})
    assert caught.value.code == "charge_already_refunded"
    assert len(vendor.state()["refunds"]) == 1


def test_no_more_is_refunded_than_was_taken(vendor: Vendor) -> None:
    """Partial refunds add up to the charge, and each event tells of its own moment."""
    charge = vendor.pay().latest_charge
    create: Any = vendor.sdk.v1.refunds.create
    create({"charge": charge, "amount": 12_00})
    with pytest.raises(stripe.InvalidRequestError, match="greater than"):
        create({"charge": charge, "amount": 51})
    create({"charge": charge, "amount": 50})
    assert vendor.state()["charges"][0]["refunded"] is True
    told = vendor.sdk.v1.events.list({"type": "charge.refunded"}).data
    amounts = [event.data.object["amount_refunded"] for event in told]
    assert amounts == [12_50, 12_00]


def test_what_was_not_paid_is_not_refunded(vendor: Vendor) -> None:
    """An intent without a successful charge has nothing to give back."""
    opened = vendor.sdk.v1.payment_intents.create(ORDER)
    with pytest.raises(stripe.InvalidRequestError, match="successful charge"):
        vendor.sdk.v1.refunds.create({"payment_intent": opened.id})


# --- idempotency


def test_a_repeat_gets_the_stored_answer(vendor: Vendor) -> None:
    """The same key and request give the first answer, though the world went on."""
    create = vendor.sdk.v1.payment_intents.create
    first = create(ORDER, {"idempotency_key": "k1"})
    vendor.sdk.v1.payment_intents.cancel(first.id)
    again = create(ORDER, {"idempotency_key": "k1"})
    assert again.id == first.id
    assert again.status == first.status
    assert first.last_response is not None
    assert again.last_response is not None
    headers: Any = again.last_response.headers
    assert headers["Idempotent-Replayed"] == "true"
    assert headers["Original-Request"] == first.last_response.request_id
    assert "Idempotent-Replayed" not in (first.last_response.headers or {})
    assert len(vendor.state()["payment_intents"]) == 1


def test_a_decline_is_stored_too(vendor: Vendor) -> None:
    """Repeating a declined payment with its key does not try the card again."""
    errors = []
    for _ in range(2):
        with pytest.raises(stripe.CardError) as caught:
            vendor.pay(key="k1", payment_method="pm_card_chargeDeclined")
        errors.append(caught.value.json_body)
    assert errors[0] == errors[1]
    assert len(vendor.state()["declined_charges"]) == 1


def test_a_key_is_for_one_request(vendor: Vendor) -> None:
    """A key with other parameters, or for another endpoint, is refused."""
    intent = vendor.pay(key="k1")
    with pytest.raises(stripe.IdempotencyError, match="same parameters") as caught:
        vendor.pay(key="k1", amount=99_00)
    assert caught.value.http_status == 400
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        vendor.sdk.v1.refunds.create(
            {"payment_intent": intent.id}, {"idempotency_key": "k1"}
        )
    assert len(vendor.state()["payment_intents"]) == 1


def test_a_bad_parameter_does_not_use_the_key_up(vendor: Vendor) -> None:
    """Stripe stores what it carried out: a request refused before may be corrected."""
    with pytest.raises(stripe.InvalidRequestError):
        vendor.pay(key="k1", amount=1)
    assert vendor.pay(key="k1").status == "succeeded"


def test_the_same_request_at_the_same_time_conflicts(vendor: Vendor) -> None:
    """While the first is under way, others with its key get 409; one intent is made."""
    refused: set[str] = set()
    # On a busy machine the first may be over before the second has been sent.
    for number in range(5):
        vendor.reset()
        refused |= _sent_at_once(vendor.http.base_url.port, f"k{number}")
        assert len(vendor.state()["payment_intents"]) == 1
        if refused:
            break
    assert refused == {"idempotency_key_in_use"}


def _sent_at_once(port: int | None, key: str) -> set[str]:
    """Send one order four times at once; give the codes of those refused by 409."""
    body = "amount=1250&currency=gbp&payment_method_types[0]=card"
    headers = FORM | BEARER | {"Idempotency-Key": key}
    lines = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(4)]
    for line in lines:
        line.connect()
    for line in lines:
        line.request("POST", "/v1/payment_intents", body, headers)
    answers = [line.getresponse() for line in lines]
    found = [(answer.status, json.loads(answer.read())) for answer in answers]
    for line in lines:
        line.close()
    return {body["error"]["code"] for status, body in found if status == 409}


# --- webhooks


def test_a_webhook_is_sent_until_it_is_taken(vendor: Vendor) -> None:
    """What the shop does not take comes again, newly signed, after growing delays."""
    vendor.shop.answers.extend([500, 302])
    vendor.pay()
    hooks = [vendor.shop.next() for _ in range(3)]
    assert len({hook.event.id for hook in hooks}) == 1
    assert len({hook.headers["Stripe-Signature"] for hook in hooks}) == 3
    assert hooks[1].at - hooks[0].at >= 1
    assert hooks[2].at - hooks[1].at >= 2
    _eventually(lambda: vendor.state()["deliveries"][0]["state"] == "delivered")
    attempts = vendor.state()["deliveries"][0]["attempts"]
    assert [attempt["status"] for attempt in attempts] == [500, 302, 200]


def test_a_wrong_secret_is_told_by_the_signature(vendor: Vendor) -> None:
    """The signature holds for this secret and this body alone."""
    vendor.pay()
    hook = vendor.shop.next()
    signature = hook.headers["Stripe-Signature"]
    construct: Any = stripe.Webhook.construct_event
    for body, secret in ((hook.body, "whsec_other"), (hook.body + b" ", SECRET)):
        with pytest.raises(stripe.SignatureVerificationError):
            construct(body, signature, secret)


def test_a_reset_forgets_what_is_pending(vendor: Vendor) -> None:
    """After a reset no earlier event arrives, and nothing is held."""
    vendor.pay()
    vendor.reset()
    assert not any(vendor.state().values())
    later = vendor.pay()
    assert vendor.shop.next().event.data.object["id"] == later.id


# --- what is denied, and lists


def test_a_wrong_key_is_denied(vendor: Vendor) -> None:
    """An unknown key gets 401, and is not printed whole."""
    with (
        _sdk(str(vendor.http.base_url), "sk_test_somebody_else") as sdk,
        pytest.raises(stripe.AuthenticationError, match="Invalid API Key") as caught,
    ):
        sdk.v1.customers.list({"limit": 1})
    assert caught.value.http_status == 401
    assert "somebody" not in str(caught.value)


def test_the_key_may_come_by_basic_authentication(vendor: Vendor) -> None:
    """The key is taken as a user name, as with curl; without any key it is 401."""
    get = vendor.http.get
    assert get("/v1/customers", auth=(KEY, "")).status_code == 200
    assert get("/v1/customers").status_code == 401
    garbled = {"Authorization": "Basic " + base64.b64encode(b"\xff").decode()}
    assert get("/v1/customers", headers=garbled).status_code == 401


def test_what_is_not_there_is_404(vendor: Vendor) -> None:
    """A missing object is ``resource_missing``; an unknown path is Stripe's 404 too."""
    with pytest.raises(stripe.InvalidRequestError, match="pi_nope") as caught:
        vendor.sdk.v1.payment_intents.retrieve("pi_nope")
    found = (caught.value.http_status, caught.value.code, caught.value.param)
    assert found == (404, "resource_missing", "intent")
    answer = vendor.http.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"amount": 29}, "amount", "amount_too_small"),
        ({"amount": 0}, "amount", "parameter_invalid_integer"),
        ({"amount": 12.5}, "amount", "parameter_invalid_integer"),
        ({"amount": 10**8}, "amount", "amount_too_large"),
        ({"amount": ""}, "amount", "parameter_invalid_empty"),
        ({"amount": {"a": 1}}, "amount", None),
        ({"currency": "xxx"}, "currency", None),
        ({"payment_method": "pm_nope"}, "payment_method", "resource_missing"),
        ({"customer": "cus_nope"}, "customer", "resource_missing"),
        ({"confirm": "yes"}, "confirm", None),
        ({"metadata": "text"}, "metadata", None),
        ({"amuont": 1}, "amuont", "parameter_unknown"),
    ],
)
def test_a_bad_parameter_is_named(
    vendor: Vendor, changes: dict[str, Any], param: str, code: str | None
) -> None:
    """A parameter that Stripe would not take is named in a 400, and nothing is made."""
    with pytest.raises(stripe.InvalidRequestError) as caught:
        vendor.pay(**changes)
    found = (caught.value.http_status, caught.value.param, caught.value.code)
    assert found == (400, param, code)
    assert vendor.state()["payment_intents"] == []


@pytest.mark.parametrize("missing", ["amount", "currency"])
def test_a_missing_parameter_is_named(vendor: Vendor, missing: str) -> None:
    """Without an amount or a currency there is no payment."""
    asked = {key: PAID[key] for key in PAID if key != missing}
    create: Any = vendor.sdk.v1.payment_intents.create
    with pytest.raises(stripe.InvalidRequestError) as caught:
        create(asked)
    assert (caught.value.param, caught.value.code) == (missing, "parameter_missing")


def test_a_json_body_is_refused(vendor: Vendor) -> None:
    """Stripe's v1 API reads forms, not JSON."""
    answer = vendor.http.post("/v1/customers", json={"name": "a"}, headers=BEARER)
    assert answer.status_code == 400
    assert vendor.state()["customers"] == []


def test_lists_are_paged_newest_first(vendor: Vendor) -> None:
    """The SDK finds every customer, page by page, and one by its address."""
    names = ("a", "b", "c")
    for name in names:
        vendor.sdk.v1.customers.create({"name": name, "email": f"{name}@b.test"})
    first = vendor.sdk.v1.customers.list({"limit": 2})
    assert first.has_more
    assert [one.name for one in first.auto_paging_iter()] == ["c", "b", "a"]
    (found,) = vendor.sdk.v1.customers.list({"email": "b@b.test"}).data
    assert vendor.sdk.v1.customers.retrieve(found.id).name == "b"
    last = vendor.sdk.v1.customers.list({"ending_before": found.id, "limit": 1})
    assert [one.name for one in last.data] == ["c"]
    with pytest.raises(stripe.InvalidRequestError):
        vendor.sdk.v1.customers.list({"limit": 101})


def test_what_belongs_to_a_payment_is_listed(vendor: Vendor) -> None:
    """Charges are listed by intent, intents by customer, events by type and time."""
    sdk = vendor.sdk.v1
    customer = sdk.customers.create({"name": "a"}).id
    intent = vendor.pay(customer=customer)
    vendor.pay()
    (charge,) = sdk.charges.list({"payment_intent": intent.id}).data
    assert charge.id == intent.latest_charge
    (listed,) = sdk.payment_intents.list({"customer": customer}).data
    assert listed.id == intent.id
    assert len(sdk.events.list({"type": "payment_intent.succeeded"}).data) == 2
    assert sdk.events.list({"type": "charge.refunded"}).data == []
    assert len(sdk.events.list({"created": {"gte": intent.created}}).data) == 2
    assert sdk.events.list({"created": {"lt": intent.created}}).data == []


def test_references_are_expanded(vendor: Vendor) -> None:
    """``expand`` gives whole objects instead of ids, and refuses what is none."""
    intent: Any = vendor.pay(expand=["latest_charge"])
    assert intent.latest_charge.paid is True
    listed: Any = vendor.sdk.v1.payment_intents.list({"expand": ["data.latest_charge"]})
    assert listed.data[0].latest_charge.id == intent.latest_charge.id
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        vendor.sdk.v1.payment_intents.retrieve(intent.id, {"expand": ["amount"]})
