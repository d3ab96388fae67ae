"""Refunds: never more than was taken."""

from typing import Any

from stack.vendors.stripe import params as read
from stack.vendors.stripe.errors import StripeError, bad_param, missing_param
from stack.vendors.stripe.store import Call, Store

REASONS = ("duplicate", "fraudulent", "requested_by_customer")

Json = dict[str, Any]


def create(store: Store, call: Call) -> Json:
    """Give back a charge, whole or in part."""
    reason = read.choice(call.params, "reason", REASONS)
    charge = _charge(store, call.params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    if left == 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise StripeError(400, message, code="charge_already_refunded")
    amount = read.integer(call.params, "amount") or left
    if amount > left:
        message = (
            f"Refund amount ({amount}) is greater than unrefunded amount on charge "
            f"({left})"
        )
        raise bad_param("amount", message)
    refund = store.add(
        "refunds",
        "re",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        metadata=read.metadata(call.params),
        payment_intent=charge["payment_intent"],
        reason=reason,
        status="succeeded",
    )
    _book(store, call, charge, amount)
    return refund


def _book(store: Store, call: Call, charge: Json, amount: int) -> None:
    before = {key: charge[key] for key in ("amount_refunded", "refunded")}
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    store.record("charge.refunded", charge, call, **before)


def _charge(store: Store, params: Json) -> Json:
    intent_id = read.text(params, "payment_intent")
    charge_id = read.text(params, "charge")
    if intent_id is not None:
        intent = store.find("payment_intents", intent_id, param="payment_intent")
        charge_id = intent["latest_charge"]
    elif charge_id is None:
        raise missing_param("payment_intent")
    charge = store.find("charges", charge_id, param="charge") if charge_id else None
    if charge is None or not charge["captured"]:
        owner = intent_id or (charge and charge["payment_intent"])
        message = (
            f"This PaymentIntent ({owner}) does not have a successful charge to refund."
        )
        raise StripeError(400, message)
    return charge
