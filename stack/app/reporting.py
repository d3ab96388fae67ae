"""Sentry: what somebody should be woken for, and bugs."""

import asyncio
import time

import sentry_sdk

from stack.app.errors import AppError
from stack.app.settings import Settings

MOST_PER_SECOND = 3  # of each code: an outage fails every request


class Reporter:
    """Hands events to Sentry's own thread, which drops them rather than wait."""

    def __init__(self, settings: Settings) -> None:
        # A client of its own: several deployments may run in one process.
        self._client = sentry_sdk.Client(
            settings.sentry_dsn,
            release=settings.git_sha,
            environment=settings.environment,
            # None of what the SDK finds by patching other libraries is wanted.
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            max_breadcrumbs=0,
            include_local_variables=False,  # they hold addresses and passwords
        )
        self._deployment = settings.deployment
        self._sent: dict[str, tuple[int, int]] = {}

    def report(self, error: Exception, code: str) -> None:
        """Send an error with its code, unless that code was sent often just now."""
        if not self._may_send(code):
            return
        with sentry_sdk.new_scope() as scope:
            scope.set_client(self._client)
            scope.set_tag("deployment", self._deployment)
            scope.set_tag("error_code", code)
            scope.fingerprint = [code]
            if isinstance(error, AppError):
                sentry_sdk.capture_message(f"{code}: {error}", level="fatal")
            else:
                sentry_sdk.capture_exception(error)

    async def close(self) -> None:
        """Send what is still to be sent, within a second."""
        await asyncio.to_thread(self._client.close, 1.0)

    def _may_send(self, code: str) -> bool:
        now = int(time.monotonic())
        second, sent = self._sent.get(code, (now, 0))
        sent = sent + 1 if second == now else 1
        self._sent[code] = (now, sent)
        return sent <= MOST_PER_SECOND
