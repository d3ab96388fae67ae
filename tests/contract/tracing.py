"""Requests traced into the practice stack's Sentry, by its own SDK."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import sentry_sdk

from rollback.adapters.memory import FixedClock
from rollback.adapters.sentry_transactions import SentryTransactions
from rollback.model import Counts
from stack.backends import Stack
from stack.backends.world import SENTRY

SLOW_SECONDS = 4.0
PATIENCE_S = 20.0


def connect(stack: Stack, *, now: float, **changed: Any) -> SentryTransactions:
    """An adapter for the stand-in, with some settings that differ."""
    settings: dict[str, Any] = {
        "token": SENTRY["auth_token"],
        "org": SENTRY["org"],
        "project": SENTRY["project"],
        "environment": "production",
        "clock": FixedClock(datetime.fromtimestamp(now, UTC)),
        "url": stack.addresses["sentry"],
    }
    return SentryTransactions(**{**settings, **changed})


def forget(url: str) -> None:
    """Let the stand-in have no event."""
    httpx.post(f"{url}/_control/reset", trust_env=False).raise_for_status()


class Traced:
    """An app that traces each request, and waits until Sentry finds them."""

    def __init__(self, url: str) -> None:
        place = url.removeprefix("http://")
        self.dsn = f"http://{SENTRY['public_key']}@{place}/{SENTRY['project_id']}"
        self.events = f"{url}/api/0/organizations/{SENTRY['org']}/events/"
        self.sent = 0
        forget(url)

    def count(self, release: str, counts: Counts) -> None:
        """Trace as many requests, failed and slow ones, of one second."""
        at = datetime.fromtimestamp(counts.second, UTC) + timedelta(seconds=0.3)
        requests = [
            (
                500 if number < counts.failed else 200,
                SLOW_SECONDS if number < counts.slow else 0.05,
            )
            for number in range(counts.requests)
        ]
        self.send(release, *((at, code, seconds) for code, seconds in requests))

    def send(
        self,
        release: str,
        *requests: tuple[datetime, int | None, float],
        op: str = "http.server",
        status: str | None = None,
        **options: Any,
    ) -> None:
        """Trace requests: when they began, how they were answered, how long it took."""
        settings: dict[str, Any] = {
            "environment": "production",
            "traces_sample_rate": 1.0,
            "default_integrations": False,
            "auto_enabling_integrations": False,
        }
        client = sentry_sdk.Client(
            dsn=self.dsn, release=release, **{**settings, **options}
        )
        with sentry_sdk.isolation_scope(), sentry_sdk.new_scope() as scope:
            scope.set_client(client)
            for began, code, seconds in requests:
                traced = sentry_sdk.start_transaction(
                    op=op, name="GET /", start_timestamp=began
                )
                if code is not None:
                    traced.set_http_status(code)
                if status is not None:
                    traced.set_status(status)
                traced.finish(end_timestamp=began + timedelta(seconds=seconds))
                client.flush(timeout=5)
        client.close(timeout=5)
        self.sent += len(requests)
        deadline = time.monotonic() + PATIENCE_S
        while self.found() != self.sent:
            assert time.monotonic() < deadline, "Sentry does not find what was sent"
            time.sleep(0.1)  # or the questions would use up Sentry's limit

    def found(self) -> int:
        """How many requests a query finds."""
        answer = httpx.get(
            self.events,
            params={
                "dataset": "spans",
                "field": "count()",
                "start": "2020-01-01T00:00:00",
                "end": "2100-01-01T00:00:00",
            },
            headers={"authorization": f"Bearer {SENTRY['auth_token']}"},
            trust_env=False,
        )
        ((number,),) = (
            row.values() for row in answer.raise_for_status().json()["data"]
        )
        return int(number)
