"""Stripe, by its own SDK: what the app asks of it, and what it makes of the answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import stripe

from stack.app.errors import (
    BadSignature,
    CardDeclined,
    InvalidInput,
    StripeUnavailable,
)

TIMEOUT_S = 5.0
WEBHOOK_S = 2.0  # a webhook is to be answered soon; what fails is sent again
TAKEN = frozenset({"succeeded", "processing"})


class Stripe:
    """One deployment's access to Stripe; a lost or slow one is `StripeUnavailable`."""

    def __init__(self, url: str, key: str, webhook_secret: str) -> None:
        self._secret = webhook_secret
        self._http = stripe.HTTPXClient(
            timeout=TIMEOUT_S, verify_ssl_certs=url.startswith("https:")
        )
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": url},
            http_client=self._http,
            # After a lost answer the order is asked again as a whole, by its user.
            max_network_retries=0,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # not annotated

    async def create_intent(self, order: str, amount: int, currency: str) -> str:
        """Give the order's PaymentIntent, the same one however often it is asked."""
        async with _answered():
            intent = await self._client.v1.payment_intents.create_async(
                {
                    "amount": amount,
                    "currency": currency,
                    "automatic_payment_methods": {
                        "enabled": True,
                        "allow_redirects": "never",
                    },
                    "metadata": {"order_id": order},
                },
                {"idempotency_key": f"order:{order}"},
            )
        return intent.id

    async def confirm(self, intent: str, method: str) -> str:
        """Take the money; give Stripe's status of it.

        Raises:
            CardDeclined: the money was not taken.

        """
        async with _answered():
            status = await self._confirm(intent, method)
        if status not in TAKEN:
            raise CardDeclined(f"The payment needs another step: {status}.")
        return status

    async def _confirm(self, intent: str, method: str) -> str:
        intents = self._client.v1.payment_intents
        try:
            answer = await intents.confirm_async(
                intent,
                {"payment_method": method},
                {"idempotency_key": f"confirm:{intent}:{method}"},
            )
        except stripe.InvalidRequestError as error:
            if error.code != "payment_intent_unexpected_state":
                raise
            # It was taken before, with another card, and the answer was lost.
            answer = await intents.retrieve_async(intent)
        return answer.status

    async def retrieve(self, intent: str) -> stripe.PaymentIntent:
        """Give a PaymentIntent as Stripe has it now, within a webhook's time."""
        async with _answered(WEBHOOK_S):
            return await self._client.v1.payment_intents.retrieve_async(intent)

    def event(self, body: bytes, signature: str) -> stripe.Event:
        """Read a webhook's event.

        Raises:
            BadSignature: it was not signed with our secret just now.

        """
        try:
            return self._client.construct_event(body, signature, self._secret)
        except (stripe.SignatureVerificationError, ValueError) as error:
            raise BadSignature from error

    async def check(self) -> None:
        """Ask for one customer, as cheap as anything that needs a valid key.

        Raises:
            stripe.StripeError: Stripe refuses, or cannot be reached.

        """
        await self._client.v1.customers.list_async({"limit": 1})


@asynccontextmanager
async def _answered(seconds: float = TIMEOUT_S) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except stripe.CardError as error:
        raise CardDeclined(error.user_message or "") from error
    except stripe.InvalidRequestError as error:
        raise InvalidInput(error.user_message or "") from error
    except (stripe.StripeError, TimeoutError) as error:
        raise StripeUnavailable from error
