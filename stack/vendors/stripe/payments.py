"""Payment intents: what each step does, and when it is refused."""

import secrets
import time
from typing import Any

from stack.vendors.stripe import params as read
from stack.vendors.stripe.cards import TEST_CARDS
from stack.vendors.stripe.charges import charge, succeed
from stack.vendors.stripe.errors import (
    StripeError,
    bad_param,
    missing_param,
    no_such,
    wrong_state,
)
from stack.vendors.stripe.store import Call, Store

# The smallest amount that is taken, in minor units: docs.stripe.com/currencies.
LEAST_AMOUNT = {"gbp": 30, "eur": 50, "usd": 50}
MOST_AMOUNT = 99_999_999
CANCEL_REASONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = (*CONFIRMABLE, "requires_capture", "processing")
NO_METHOD = (
    "You cannot confirm this PaymentIntent because it's missing a payment method. You "
    "can either update the PaymentIntent with a payment method and then confirm it "
    "again, or confirm it again directly with a payment method."
)
NO_RETURN_URL = (
    "This PaymentIntent is configured to accept payment methods enabled in your "
    "Dashboard. Because some of these payment methods might redirect your customer off "
    "of your page, you must provide a `return_url`. If you don't want to accept "
    "redirect-based payment methods, set `automatic_payment_methods[enabled]` to "
    "`true` and `automatic_payment_methods[allow_redirects]` to `never` when creating "
    "Setup Intents and Payment Intents."
)

Json = dict[str, Any]


def create(store: Store, call: Call) -> Json:
    """Open an intent and, with ``confirm=true``, charge it in the same call."""
    params = call.params
    amount, currency = _money(params)
    confirm = read.flag(params, "confirm")
    customer = read.text(params, "customer")
    if customer is not None:
        store.find("customers", customer, param="customer")
    method = _payment_method(store, params)
    values = _blank(params)
    if confirm and method is None:
        raise StripeError(400, NO_METHOD, code="payment_intent_unexpected_state")
    if confirm:
        _refuse_redirects(params, values)
    intent = store.add(
        "payment_intents",
        "pi",
        **values,
        amount=amount,
        currency=currency,
        customer=customer,
        metadata=read.metadata(params),
        payment_method=method,
        status="requires_confirmation" if method else "requires_payment_method",
    )
    intent["client_secret"] = f"{intent['id']}_secret_{secrets.token_hex(12)}"
    return charge(store, call, intent) if confirm else intent


def confirm(store: Store, call: Call) -> Json:
    """Charge an intent that was opened before."""
    intent = find(store, call)
    if intent["status"] == "succeeded":
        message = (
            "You cannot confirm this PaymentIntent because it has already succeeded "
            "after being previously confirmed."
        )
        raise wrong_state(message, intent)
    _require(intent, "confirm", "confirmed", CONFIRMABLE)
    _refuse_redirects(call.params, intent)
    method = _payment_method(store, call.params) or intent["payment_method"]
    if method is None:
        raise wrong_state(NO_METHOD, intent)
    intent["payment_method"] = method
    return charge(store, call, intent)


def capture(store: Store, call: Call) -> Json:
    """Take the money that an earlier confirmation put aside."""
    intent = find(store, call)
    _require(intent, "capture", "captured", ("requires_capture",))
    limit = intent["amount_capturable"]
    amount = read.integer(call.params, "amount_to_capture") or limit
    if amount > limit:
        message = "The amount to capture exceeds the amount that can be captured."
        raise bad_param("amount_to_capture", message, "amount_too_large")
    store.objects["charges"][intent["latest_charge"]].update(
        captured=True, amount_captured=amount
    )
    return succeed(store, call, intent, amount)


def cancel(store: Store, call: Call) -> Json:
    """Close an intent for good, unless it has succeeded or is closed already."""
    intent = find(store, call)
    reason = read.choice(call.params, "cancellation_reason", CANCEL_REASONS)
    _require(intent, "cancel", "canceled", CANCELABLE)
    if intent["status"] == "requires_capture":
        held = store.objects["charges"][intent["latest_charge"]]
        held.update(refunded=True, amount_refunded=held["amount"])
    intent.update(
        status="canceled",
        canceled_at=int(time.time()),
        cancellation_reason=reason,
        amount_capturable=0,
    )
    store.record("payment_intent.canceled", intent, call)
    return intent


def find(store: Store, call: Call) -> Json:
    """Give the intent that the path names."""
    return store.find("payment_intents", call.target, param="intent", status=404)


def _money(params: Json) -> tuple[int, str]:
    amount = read.integer(params, "amount")
    if amount is None:
        raise missing_param("amount")
    currency = read.text(params, "currency")
    if currency is None:
        raise missing_param("currency")
    currency = currency.lower()
    if currency not in LEAST_AMOUNT:
        known = ", ".join(LEAST_AMOUNT)
        message = f"Invalid currency: {currency}. Supported here: {known}"
        raise bad_param("currency", message)
    if amount < LEAST_AMOUNT[currency]:
        least = f"{LEAST_AMOUNT[currency] / 100:.2f} {currency}"
        message = f"Amount must be at least {least}"
        raise bad_param("amount", message, "amount_too_small")
    if amount > MOST_AMOUNT:
        message = f"Amount must be no more than {MOST_AMOUNT / 100:,.2f} {currency}"
        raise bad_param("amount", message, "amount_too_large")
    return amount, currency


def _blank(params: Json) -> Json:
    manual = read.choice(params, "capture_method", ("automatic", "manual")) == "manual"
    return {
        "amount_capturable": 0,
        "amount_received": 0,
        "automatic_payment_methods": _automatic(params),
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "manual" if manual else "automatic_async",
        "confirmation_method": "automatic",
        "description": read.text(params, "description"),
        "last_payment_error": None,
        "latest_charge": None,
        "next_action": None,
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": read.text(params, "receipt_email"),
    }


def _automatic(params: Json) -> Json | None:
    """Tell which methods the shop's settings offer: all, unless the call names some."""
    if "payment_method_types" in params:
        return None
    asked = params.get("automatic_payment_methods", {"enabled": "true"})
    if not isinstance(asked, dict):
        raise bad_param("automatic_payment_methods", "Invalid object")
    if not read.flag(asked, "enabled"):
        return None
    redirects = read.choice(asked, "allow_redirects", ("always", "never")) or "always"
    return {"enabled": True, "allow_redirects": redirects}


def _refuse_redirects(params: Json, intent: Json) -> None:
    offered = intent["automatic_payment_methods"]
    may_redirect = offered is not None and offered["allow_redirects"] == "always"
    if may_redirect and read.text(params, "return_url") is None:
        raise StripeError(400, NO_RETURN_URL)


def _payment_method(store: Store, params: Json) -> str | None:
    """Give the id of the method to pay with: a test card becomes one of its own."""
    name = read.text(params, "payment_method")
    if name is None or name in store.payment_methods:
        return name
    if name not in TEST_CARDS:
        raise no_such("PaymentMethod", name, param="payment_method")
    method = f"pm_{secrets.token_hex(12)}"
    store.payment_methods[method] = TEST_CARDS[name]
    return method


def _require(intent: Json, verb: str, done: str, allowed: tuple[str, ...]) -> None:
    status = intent["status"]
    if status not in allowed:
        message = (
            f"You cannot {verb} this PaymentIntent because it has a status of "
            f"{status}. Only a PaymentIntent with one of the following statuses may "
            f"be {done}: {', '.join(allowed)}."
        )
        raise wrong_state(message, intent)
