"""A charge: one try to take the money of an intent."""

from typing import Any

from stack.vendors.stripe.cards import Card
from stack.vendors.stripe.errors import StripeError
from stack.vendors.stripe.store import Call, Store

Json = dict[str, Any]


def charge(store: Store, call: Call, intent: Json) -> Json:
    """Try to take an intent's money from its card.

    Raises:
        StripeError: the card was declined (402).

    """
    card = store.payment_methods[intent["payment_method"]]
    manual = intent["capture_method"] == "manual"
    taken = 0 if manual or card.code else intent["amount"]
    made = store.add(
        "charges",
        "ch",
        **{key: intent[key] for key in ("amount", "currency", "customer")},
        amount_captured=taken,
        amount_refunded=0,
        captured=not manual and not card.code,
        description=intent["description"],
        failure_code=card.code,
        failure_message=card.message if card.code else None,
        metadata=dict(intent["metadata"]),
        paid=not card.code,
        payment_intent=intent["id"],
        payment_method=intent["payment_method"],
        payment_method_details={
            "type": "card",
            "card": {"brand": card.brand, "last4": card.last4},
        },
        receipt_email=intent["receipt_email"],
        refunded=False,
        status="failed" if card.code else "succeeded",
    )
    intent["latest_charge"] = made["id"]
    if card.code:
        raise _decline(store, call, intent, card)
    intent["last_payment_error"] = None
    if manual:
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        return intent
    return succeed(store, call, intent, taken)


def succeed(store: Store, call: Call, intent: Json, amount: int) -> Json:
    """Book the money as received, and tell the shop."""
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    store.record("payment_intent.succeeded", intent, call)
    return intent


def _decline(store: Store, call: Call, intent: Json, card: Card) -> StripeError:
    method = card.payment_method(intent["payment_method"])
    error = StripeError(
        402,
        card.message,
        kind="card_error",
        code=card.code,
        charge=intent["latest_charge"],
        payment_method=method,
        **({"decline_code": card.decline_code} if card.decline_code else {}),
    )
    intent.update(
        status="requires_payment_method",
        payment_method=None,
        last_payment_error=dict(error.body["error"]),
    )
    store.record("payment_intent.payment_failed", intent, call)
    error.body["error"]["payment_intent"] = intent
    return error
