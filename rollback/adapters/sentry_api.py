"""Sentry's events API: the rows of a query, page by page, within its rate limits."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import stamina
from anyio import current_time, fail_after

from rollback.errors import SourceDown
from rollback.ports import Clock

from . import web

__all__ = ["Events", "Rows", "moment", "plain"]

PER_PAGE = 100
ATTEMPTS = 3
PLAIN = re.compile(r"[A-Za-z0-9_.:-]+")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that were read, and whether there are no more."""

    rows: tuple[Row, ...]
    complete: bool


class Events:
    """One project's events. `timeout_seconds` is for all pages and retries."""

    def __init__(
        self,
        *,
        token: str,
        org: str,
        project: str,
        clock: Clock,
        url: str,
        timeout_seconds: float,
    ) -> None:
        self._path = f"/api/0/organizations/{org}/events/"
        self._project, self._clock = project, clock
        self._timeout = timeout_seconds
        self._client = web.client(
            timeout_seconds=timeout_seconds,
            base_url=url,
            headers=web.bearer(token, "SENTRY_AUTH_TOKEN"),
        )

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Bound the time, and make a `SourceDown` of everything that goes wrong."""
        try:
            with fail_after(self._timeout):
                yield
        except web.LOST as error:
            raise SourceDown(
                f"Sentry at {self._client.base_url} does not answer: "
                f"{web.reason(error)}."
            ) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise SourceDown(f"Sentry's answer cannot be read: {error!r}.") from error

    async def rows(self, query: Mapping[str, Any], *, pages: int) -> Rows:
        """The first rows of a query, at most so many pages; within `asking` alone.

        Half of the time is for pages: what has come by then is an answer, too.
        """
        rows: list[Row] = []
        enough = current_time() + self._timeout / 2
        page = {**query, "project": self._project, "per_page": PER_PAGE}
        for _ in range(pages):
            response = await self._read(page)
            if not response.is_success:
                raise _refused(response)
            rows.extend(response.json()["data"])
            more = response.links.get("next", {})
            if more.get("results") != "true":
                return Rows(tuple(rows), complete=True)
            page["cursor"] = more["cursor"]
            if current_time() > enough:
                break
        return Rows(tuple(rows), complete=False)

    async def _read(self, query: Mapping[str, Any]) -> httpx.Response:
        try:
            async for attempt in stamina.retry_context(
                on=self._worth_retrying,
                attempts=ATTEMPTS,
                timeout=self._timeout,
                wait_max=1.0,
                wait_jitter=0.2,
            ):
                with attempt:
                    response = await self._client.get(self._path, params=dict(query))
                    web.raise_if_passing(response)
        except web.TryAgain as error:
            return error.response
        return response

    def _worth_retrying(self, error: Exception) -> bool | float:
        """Sentry says when its window ends, and not how long to wait."""
        if isinstance(error, web.TryAgain) and (end := _window_end(error.response)):
            wait = end - self._clock.now().timestamp()
            return wait <= web.LONGEST_WAIT_SECONDS and max(wait, 0.0)
        return web.worth_retrying(error)


def _window_end(response: httpx.Response) -> float | None:
    """When requests are counted afresh, in unix time; None if that is no help.

    What was refused with requests left came beside too many others: the window says
    nothing about when these will have been answered.
    """
    headers = response.headers
    reset = headers.get("x-sentry-rate-limit-reset", "")
    left = headers.get("x-sentry-rate-limit-remaining", "0")
    limited = response.status_code == web.TOO_MANY and reset.isdigit()
    return float(reset) if limited and left == "0" else None


def _refused(response: httpx.Response) -> SourceDown:
    said = web.sentence(response)
    if response.status_code != web.TOO_MANY:
        return SourceDown(f"Sentry refused to list events: {said}.")
    end = _window_end(response)
    until = f" until {datetime.fromtimestamp(end, UTC):%H:%M:%S} UTC" if end else ""
    return SourceDown(f"Sentry's rate limit is reached{until}: {said}.")


def plain(text: str) -> str:
    """Sentry's query language has no room for anything else."""
    if not PLAIN.fullmatch(text):
        raise SourceDown(f"Sentry cannot be asked for {text!r}.")
    return text


def moment(text: str) -> datetime:
    """A time of Sentry's, which is UTC also where it does not say so."""
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
