"""The endpoints of payments."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from stack.app.database import Row
from stack.app.errors import InvalidInput
from stack.app.payments import Order
from stack.app.requests import body_of, services, text

MOST = 99_999_999  # what Stripe takes, in minor units
_ORDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CURRENCY = re.compile(r"[a-z]{3}")


async def pay(request: Request) -> Response:
    """Take a payment; the same order again gives the same payment."""
    order = _order(await body_of(request))
    payment = await services(request).payments.take(order)
    return JSONResponse(_shown(payment), 201)


async def show(request: Request) -> Response:
    """Give the payment of an order."""
    payment = await services(request).payments.show(request.path_params["order_id"])
    return JSONResponse(_shown(payment))


async def webhook(request: Request) -> Response:
    """Take Stripe's word, once it is proved to be Stripe's."""
    body = await request.body()
    signature = request.headers.get("stripe-signature", "")
    fresh = await services(request).payments.handle(body, signature)
    return JSONResponse({"received": True, "duplicate": not fresh})


def _order(body: dict[str, Any]) -> Order:
    amount = body.get("amount")
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise InvalidInput("amount must be a whole number of minor units.")
    if not 0 < amount <= MOST:
        raise InvalidInput(f"amount must be between 1 and {MOST}.")
    order_id = text(body, "order_id")
    if not _ORDER.fullmatch(order_id):
        raise InvalidInput("order_id must be letters, digits, and . _ - between.")
    currency = text(body, "currency").lower()
    if not _CURRENCY.fullmatch(currency):
        raise InvalidInput("currency must be a code of three letters.")
    return Order(
        id=order_id,
        amount=amount,
        currency=currency,
        payment_method=text(body, "payment_method"),
    )


def _shown(payment: Row) -> dict[str, Any]:
    return {
        "id": str(payment["id"]),
        "order_id": payment["order_id"],
        "status": payment["status"],
        "payment_intent": payment["payment_intent"],
    }
