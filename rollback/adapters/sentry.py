"""Critical errors from Sentry's events API.

Rows are fetched and counted here: their fields (`id`, `timestamp`, a tag) and their
order need nothing of Sentry's query language that differs between its versions. The
whole time since the deploy is asked for each time: an event that Sentry finds late
counts by when it happened. That none is found proves nothing, and nobody takes it so.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rollback.errors import SourceDown
from rollback.model import CriticalError, PlatformDeployment
from rollback.ports import Clock

from .sentry_api import Events, moment, plain

__all__ = ["SentryErrors"]

FIELDS = ("id", "timestamp", "error_code")
PAGES = 10  # a thousand critical errors say no more than the first
MARGIN_SECONDS = 60  # for clocks that differ; what is too early is left out here


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
        self._clock = clock
        self._events = Events(
            token=token,
            org=org,
            project=project,
            clock=clock,
            url=url,
            timeout_seconds=timeout_seconds,
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
            "statsPeriod": self._period(since),
            "sort": "timestamp",
        }
        with self._events.asking():
            found = await self._events.rows(query, pages=PAGES)
            return _count(found.rows, codes, since)

    def _period(self, since: datetime) -> str:
        """How far back to look, in Sentry's own time."""
        age = (self._clock.now() - since).total_seconds()
        return f"{math.ceil(max(age, 0)) + MARGIN_SECONDS}s"


def _query(git_sha: str, codes: Sequence[str]) -> str:
    listed = ", ".join(plain(code) for code in codes)
    return f'release:"{plain(git_sha)}" error_code:[{listed}]'


def _count(
    rows: Iterable[Mapping[str, Any]], codes: Sequence[str], since: datetime
) -> tuple[CriticalError, ...]:
    """By code, in the order of the codes; each event once, though pages may overlap."""
    since = since.replace(microsecond=0)  # Sentry's timestamps are whole seconds
    seen: dict[str, dict[str, datetime]] = {}
    for row in rows:
        at = moment(row["timestamp"])
        if at >= since:
            seen.setdefault(row["error_code"], {})[row["id"]] = at
    return tuple(
        CriticalError(
            code=code, count=len(seen[code]), first_seen=min(seen[code].values())
        )
        for code in codes
        if code in seen
    )
