"""Critical errors from Sentry's events API.

Rows are fetched and counted here: their fields (`id`, `timestamp`, a tag) and their
order need nothing of Sentry's query language that differs between its versions.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import stamina
from anyio import fail_after

from rollback.errors import SourceDown
from rollback.model import CriticalError, PlatformDeployment
from rollback.ports import Clock

from . import web

__all__ = ["SentryErrors"]

FIELDS = ("id", "timestamp", "error_code")
PER_PAGE = 100
PAGES = 10  # a thousand critical errors say no more than the first
ATTEMPTS = 3
MARGIN_SECONDS = 60  # for clocks that differ; what is too early is left out here
PLAIN = re.compile(r"[A-Za-z0-9_.:-]+")


class SentryErrors:
    """Critical errors of one Sentry project (port `ErrorSource`).

    Events count by their `release`, which is the deployment's git sha, and by their tag
    `error_code`. `timeout_seconds` is for the whole answer, retries and pages included.
    """

    name = "sentry"

    def __init__(
        self,
        *,
        token: str,
        org: str,
        project: str,
        clock: Clock,
        url: str = "https://sentry.io",
        timeout_seconds: float = 10.0,
    ) -> None:
        self._path = f"/api/0/organizations/{org}/events/"
        self._project, self._clock = project, clock
        self._timeout = timeout_seconds
        self._client = web.client(
            timeout_seconds=timeout_seconds,
            base_url=url,
            headers={"authorization": f"Bearer {token}"},
        )

    async def critical_errors(
        self,
        deployment: PlatformDeployment,
        *,
        codes: Sequence[str],
        environment: str,
        since: datetime,
    ) -> tuple[CriticalError, ...]:
        """The codes seen since then, at most a thousand events; see the port."""
        if not deployment.git_sha:
            raise SourceDown(
                f"Sentry cannot be asked about {deployment.id}: its git sha is not "
                "known, so that no error can be told to be its own."
            )
        if not codes:
            return ()
        query = {
            "dataset": "errors",
            "field": list(FIELDS),
            "query": _query(deployment.git_sha, codes),
            "environment": environment,
            "project": self._project,
            "statsPeriod": self._period(since),
            "per_page": PER_PAGE,
            "sort": "timestamp",
        }
        try:
            with fail_after(self._timeout):
                return _count(await self._rows(query), codes, since)
        except web.LOST as error:
            raise SourceDown(
                f"Sentry at {self._client.base_url} does not answer: "
                f"{web.reason(error)}."
            ) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise SourceDown(f"Sentry's answer cannot be read: {error!r}.") from error

    def _period(self, since: datetime) -> str:
        """How far back to look, in Sentry's own time."""
        age = (self._clock.now() - since).total_seconds()
        return f"{math.ceil(max(age, 0)) + MARGIN_SECONDS}s"

    async def _rows(self, query: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        page = dict(query)
        for _ in range(PAGES):
            response = await self._read(page)
            if not response.is_success:
                raise _refused(response)
            rows.extend(response.json()["data"])
            more = response.links.get("next", {})
            if more.get("results") != "true":
                break
            page["cursor"] = more["cursor"]
        return rows

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
    """When requests are counted afresh, in unix time; None if it is no limit's."""
    reset = response.headers.get("x-sentry-rate-limit-reset", "")
    limited = response.status_code == web.TOO_MANY and reset.isdigit()
    return float(reset) if limited else None


def _query(git_sha: str, codes: Sequence[str]) -> str:
    listed = ", ".join(_plain(code) for code in codes)
    return f'release:"{_plain(git_sha)}" error_code:[{listed}]'


def _plain(text: str) -> str:
    """Sentry's query language has no room for anything else."""
    if not PLAIN.fullmatch(text):
        raise SourceDown(f"Sentry cannot be asked for {text!r}.")
    return text


def _count(
    rows: Iterable[Mapping[str, Any]], codes: Sequence[str], since: datetime
) -> tuple[CriticalError, ...]:
    """By code, in the order of the codes; each event once, though pages may overlap."""
    since = since.replace(microsecond=0)  # Sentry's timestamps are whole seconds
    seen: dict[str, dict[str, datetime]] = {}
    for row in rows:
        at = datetime.fromisoformat(row["timestamp"])
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        if at >= since:
            seen.setdefault(row["error_code"], {})[row["id"]] = at
    return tuple(
        CriticalError(
            code=code, count=len(seen[code]), first_seen=min(seen[code].values())
        )
        for code in codes
        if code in seen
    )


def _refused(response: httpx.Response) -> SourceDown:
    said = web.sentence(response)
    if response.status_code != web.TOO_MANY:
        return SourceDown(f"Sentry refused to list events: {said}.")
    end = _window_end(response)
    until = f" until {datetime.fromtimestamp(end, UTC):%H:%M:%S} UTC" if end else ""
    return SourceDown(f"Sentry's rate limit is reached{until}: {said}.")
