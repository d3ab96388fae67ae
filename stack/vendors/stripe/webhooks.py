"""Signed events on their way to the shop, again and again until it takes them.

Source: docs.stripe.com/webhooks (signatures, retries). Delivery is at least once, in
no promised order.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

# An event reaches the shop a moment after the call that caused it was answered.
FIRST_DELAY_S = 0.3
# Stripe retries for up to three days, with growing gaps; a drill has minutes.
RETRY_DELAYS_S = (1, 2, 4, 8, 16, 30, 30, 30, 30, 30)
REPLY_TIMEOUT_S = 10

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try: when (seconds since the epoch), and the status or what went wrong."""

    at: float
    status: int | None = None
    error: str | None = None

    @property
    def accepted(self) -> bool:
        """Tell whether the shop answered 2xx."""
        return self.status is not None and httpx.codes.is_success(self.status)


@dataclass(slots=True, kw_only=True)
class Delivery:
    """An event's way to the shop: ``pending``, ``delivered`` or ``failed``.

    ``created_at`` is when the event happened, in seconds since the epoch.
    """

    event: str
    type: str
    created_at: float
    state: str = "pending"
    attempts: list[Attempt] = field(default_factory=list)


class Webhooks:
    """Sends each event to ``url`` in the background, signed with ``secret``."""

    def __init__(self, *, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret
        self._deliveries: list[Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be able to send. What is not delivered at the end is lost."""
        # No waiting for a place, and no idle connection that the shop may close.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(
            limits=limits, timeout=REPLY_TIMEOUT_S, trust_env=False
        ) as self._client:
            yield
            tasks = set(self._tasks)
            self.forget()
            await asyncio.gather(*tasks, return_exceptions=True)

    def send(self, event: Json) -> None:
        """Begin to deliver ``event``, and return at once."""
        kind, now = event["type"], time.time()
        delivery = Delivery(event=event["id"], type=kind, created_at=now)
        self._deliveries.append(delivery)
        task = asyncio.create_task(self._deliver(event, delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def state(self) -> list[Json]:
        """Give every delivery with its attempts, oldest first."""
        return [asdict(delivery) for delivery in self._deliveries]

    def forget(self) -> None:
        """Drop every delivery, also those under way."""
        for task in self._tasks:
            task.cancel()
        self._deliveries.clear()

    async def _deliver(self, event: Json, delivery: Delivery) -> None:
        for delay in (FIRST_DELAY_S, *RETRY_DELAYS_S):
            await asyncio.sleep(delay)
            attempt = await self._attempt(json.dumps(event, indent=2).encode())
            delivery.attempts.append(attempt)
            if attempt.accepted:
                delivery.state = "delivered"
                event["pending_webhooks"] = 0
                return
        delivery.state = "failed"

    async def _attempt(self, body: bytes) -> Attempt:
        if self._client is None:
            raise RuntimeError("send() was called outside of running()")
        now = time.time()
        headers = {
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Content-Type": "application/json; charset=utf-8",
            "Cache-Control": "no-cache",
            "Accept": "*/*; q=0.5, application/xml",
            "Stripe-Signature": signature(body, self._secret, int(now)),
        }
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                reply = await self._client.post(
                    self._url, content=body, headers=headers
                )
        except (httpx.HTTPError, TimeoutError) as error:
            return Attempt(at=now, error=type(error).__name__)
        return Attempt(at=now, status=reply.status_code)


def signature(body: bytes, secret: str, at: int) -> str:
    """Give the header ``Stripe-Signature`` of a body sent at ``at`` (epoch seconds)."""
    signed = f"{at}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
