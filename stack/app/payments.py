"""Payments: each order is charged at most once, whatever gets lost on the way."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import LiteralString
from weakref import WeakValueDictionary

import stripe

from stack.app.database import Database, Row
from stack.app.errors import (
    CardDeclined,
    InvalidInput,
    NotFound,
    OrderDiffers,
    StripeUnavailable,
    StripeWebhookFailed,
)
from stack.app.stripe_api import Stripe

# The update changes nothing, but makes RETURNING give the row that is there. An order
# that was just written is not yet seen by its own statement: then nothing differs.
BEGIN: LiteralString = """
    WITH new_order AS (
        INSERT INTO orders (id, amount, currency)
        VALUES (%(order)s, %(amount)s, %(currency)s) ON CONFLICT DO NOTHING
    ), payment AS (
        INSERT INTO payments (id, order_id) VALUES (%(id)s, %(order)s)
        ON CONFLICT (order_id) DO UPDATE SET order_id = payments.order_id
        RETURNING *
    )
    SELECT payment.*,
        (amount, currency) IS DISTINCT FROM (%(amount)s, %(currency)s)
        AND amount IS NOT NULL AS differs
    FROM payment LEFT JOIN orders ON orders.id = payment.order_id
"""
# From release v3 on: a sixth of the price is tax, at a rate of 20 %.
TAXED: LiteralString = """
    UPDATE orders SET tax = amount / 6 WHERE id = %s
"""
OPENED: LiteralString = """
    UPDATE payments SET payment_intent = %s WHERE order_id = %s RETURNING id
"""
TAKEN: LiteralString = """
    UPDATE payments SET stripe_status = %s,
        status = CASE status WHEN 'paid' THEN 'paid' ELSE 'processing' END
    WHERE order_id = %s RETURNING *
"""
DECLINED: LiteralString = """
    UPDATE payments SET status = 'declined'
    WHERE order_id = %s AND status <> 'paid' RETURNING id
"""
SETTLED: LiteralString = """
    WITH fresh AS (
        INSERT INTO webhook_events (id, type) VALUES (%(event)s, %(type)s)
        ON CONFLICT DO NOTHING RETURNING id
    ), paid AS (
        UPDATE payments SET status = 'paid', paid_at = now(),
            payment_intent = %(intent)s, stripe_status = %(status)s
        WHERE order_id = %(order)s AND EXISTS (SELECT FROM fresh)
    )
    SELECT id FROM fresh
"""
REMEMBERED: LiteralString = """
    INSERT INTO webhook_events (id, type) VALUES (%s, %s)
    ON CONFLICT DO NOTHING RETURNING id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be paid; the amount is in minor units of the currency."""

    id: str
    amount: int
    currency: str
    payment_method: str


class Payments:
    """Takes payments and handles what Stripe reports about them."""

    def __init__(
        self, database: Database, stripe_api: Stripe, *, keeps_tax: bool
    ) -> None:
        self._database = database
        self._stripe = stripe_api
        self._keeps_tax = keeps_tax
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(self, order: Order) -> Row:
        """Take the money for an order, unless that was done before; give the payment.

        Without an answer from Stripe the payment stays ``processing``: the money may
        have been taken. Asked again, the same PaymentIntent is gone on with, so the
        order is charged once at most; its webhook tells in the end.

        Raises:
            CardDeclined: nothing was taken; another card may be tried.
            InvalidInput: nothing was taken; Stripe refuses the amount or the card.
            OrderDiffers: the order has another amount.
            StripeUnavailable: whether it was taken is unknown.

        """
        lock = self._locks.setdefault(order.id, asyncio.Lock())
        async with lock:
            payment = await self._begin(order)
            if payment["stripe_status"] is None and payment["status"] != "paid":
                payment = await self._charge(order, payment)
            return payment

    async def show(self, order_id: str) -> Row:
        """Give the payment of an order.

        Raises:
            NotFound: there is no such order.

        """
        payment = await self._database.one(
            "SELECT * FROM payments WHERE order_id = %s", [order_id]
        )
        if payment is None:
            raise NotFound
        return payment

    async def handle(self, body: bytes, signature: str) -> bool:
        """Handle a webhook; give False for an event that was handled before.

        The event only says where to look: what counts is what Stripe says when asked.

        Raises:
            BadSignature: it is not from Stripe.
            StripeWebhookFailed: Stripe cannot be asked. It will send the event again.

        """
        event = self._stripe.event(body, signature)
        if event.type != "payment_intent.succeeded":
            return await self._remember(event)
        try:
            intent = await self._stripe.retrieve(event.data.object["id"])
        except StripeUnavailable as error:
            raise StripeWebhookFailed from error
        if intent.status != "succeeded":
            return await self._remember(event)
        return await self._settle(event, intent)

    async def _begin(self, order: Order) -> Row:
        """Write the order down before any money moves."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                BEGIN,
                {
                    "id": uuid.uuid4(),
                    "order": order.id,
                    "amount": order.amount,
                    "currency": order.currency,
                },
            )
            payment = _row(await cursor.fetchone())
            if self._keeps_tax and not payment["differs"]:
                await connection.execute(TAXED, [order.id])
        if payment["differs"]:
            raise OrderDiffers
        return payment

    async def _charge(self, order: Order, payment: Row) -> Row:
        try:
            intent = payment["payment_intent"] or await self._open(order)
            status = await self._stripe.confirm(intent, order.payment_method)
        except (CardDeclined, InvalidInput):
            await self._database.one(DECLINED, [order.id])
            raise
        return _row(await self._database.one(TAKEN, [status, order.id]))

    async def _open(self, order: Order) -> str:
        """Get the PaymentIntent and keep its id before it can take any money."""
        intent = await self._stripe.create_intent(
            order.id, order.amount, order.currency
        )
        await self._database.one(OPENED, [intent, order.id])
        return intent

    async def _settle(self, event: stripe.Event, intent: stripe.PaymentIntent) -> bool:
        row = await self._database.one(
            SETTLED,
            {
                "event": event.id,
                "type": event.type,
                "intent": intent.id,
                "status": intent.status,
                "order": intent.metadata.to_dict().get("order_id"),
            },
        )
        return row is not None

    async def _remember(self, event: stripe.Event) -> bool:
        row = await self._database.one(REMEMBERED, [event.id, event.type])
        return row is not None


def _row(row: Row | None) -> Row:
    if row is None:
        raise RuntimeError("RETURNING gave no row")
    return row
