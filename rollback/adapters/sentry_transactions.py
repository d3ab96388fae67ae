"""Requests as Sentry's tracing has them: rows, counted here by their second.

Looked up, not guessed: that the data set `transactions` is deprecated for all customers
and is to be removed (getsentry/cli pull requests 1368 and 1573, August and September
2026), that its successor is `spans` with `is_transaction:true` (the same, and
getsentry/sentry 121563), the fields' names (getsentry/sentry, src/sentry/search/eap/
spans/attributes.py and src/sentry/snuba/events.py), and that `timestamp` is a span's
beginning and a transaction's end (…/process_segments/convert.py; snuba/events.py).
Self-hosted servers may have the old one only, so there are both.

What is sampled evenly keeps its proportions, and nothing is scaled up: fewer requests
are less evidence. What a sampler keeps or drops by its outcome does not.
"""

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from rollback.errors import SourceDown
from rollback.model import Counts, PlatformDeployment
from rollback.ports import Clock

from .sentry_api import Events, Rows, moment, plain

__all__ = ["DATASETS", "SentryTransactions"]

SERVER = "http.server"  # no page loads of browsers, no background jobs
FAILED = frozenset(
    # What the SDKs make of a status of 500 or more where they give no number.
    {
        "internal_error",
        "unknown_error",
        "unimplemented",
        "unavailable",
        "deadline_exceeded",
        "data_loss",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """How a data set calls what is asked for."""

    name: str
    query: str
    duration: str
    status: str
    code: str


DATASETS = {
    "spans": Dataset(
        name="spans",
        query=f"is_transaction:true transaction.op:{SERVER}",
        duration="span.duration",
        status="span.status",
        code="span.status_code",
    ),
    "transactions": Dataset(
        name="transactions",
        query=f"transaction.op:{SERVER}",
        duration="transaction.duration",
        status="transaction.status",
        code="http.status_code",
    ),
}


class SentryTransactions:
    """Traced requests of one Sentry project (port `MetricSource`, passive).

    A request counts in the second of its timestamp, if it has ended and was found
    within `lag_seconds`; what comes later is left out. Of more rows than `pages` hold,
    or half of `timeout_seconds` suffices for, the newest are read: the seconds before
    are absent, as is the one that was cut, and what was read whole is an honest count.
    If that is not even one second, it is down: no look could ever say more.
    """

    name = "sentry transactions"

    def __init__(
        self,
        *,
        token: str,
        org: str,
        project: str,
        environment: str,
        clock: Clock,
        url: str = "https://sentry.io",
        dataset: str = "spans",
        slow_ms: float = 3000,
        lag_seconds: int = 30,
        pages: int = 20,
        timeout_seconds: float = 5.0,
    ) -> None:
        self.lag_seconds, self._pages = lag_seconds, pages
        self._environment, self._slow = environment, slow_ms
        self._dataset, self._clock = DATASETS[dataset], clock
        self._events = Events(
            token=token,
            org=org,
            project=project,
            clock=clock,
            url=url,
            timeout_seconds=timeout_seconds,
        )

    def watching(
        self,
        deployment: PlatformDeployment,  # noqa: ARG002 - the port's; nothing to do
    ) -> AbstractAsyncContextManager[None]:
        """Do nothing: the app traces."""
        return nullcontext()

    async def counts(
        self, deployment: PlatformDeployment, *, since: int, until: int
    ) -> tuple[Counts, ...]:
        """The counts of the seconds in [since, until) that are older than the lag."""
        now = math.floor(self._clock.now().timestamp())
        until = min(until, now - self.lag_seconds)
        if since >= until:
            return ()
        if not deployment.git_sha:
            raise SourceDown(
                f"Sentry cannot be asked about {deployment.id}: its git sha is not "
                "known, so that no transaction can be told to be its own."
            )
        query = self._query(plain(deployment.git_sha), since, until)
        with self._events.asking():
            found = await self._events.rows(query, pages=self._pages)
            begin = _readable(found, since)
            if begin >= until:
                raise SourceDown(
                    "Sentry has more transactions in a second than can be read "
                    f"({len(found.rows)} were): lower the app's traces_sample_rate, or "
                    "count by other means (ROLLBACK_SENTRY_TRANSACTIONS=false)."
                )
            return self._count(found.rows, begin, until)

    def _query(self, git_sha: str, since: int, until: int) -> dict[str, Any]:
        asked = self._dataset
        return {
            "dataset": asked.name,
            "field": ["id", "timestamp", asked.duration, asked.status, asked.code],
            "query": f'release:"{git_sha}" {asked.query}',
            "environment": self._environment,
            "start": _stamp(since),
            "end": _stamp(until),
            # By id too, or rows of the same second could change places between pages.
            "sort": ["-timestamp", "id"],
        }

    def _count(
        self, rows: Iterable[Mapping[str, Any]], begin: int, until: int
    ) -> tuple[Counts, ...]:
        seconds: dict[int, Counts] = {}
        for row in {row["id"]: row for row in rows}.values():  # pages may overlap
            second = _second(row)
            if begin <= second < until:
                known = seconds.get(second, Counts(second=second))
                seconds[second] = known + self._one(row, second)
        return tuple(seconds[second] for second in sorted(seconds))

    def _one(self, row: Mapping[str, Any], second: int) -> Counts:
        duration = row[self._dataset.duration]
        slow = duration is not None and float(duration) > self._slow
        failed = _failed(row[self._dataset.code], row[self._dataset.status])
        return Counts(second=second, requests=1, failed=int(failed), slow=int(slow))


def _failed(code: Any, status: str | None) -> bool:
    """By the number where there is one."""
    number = str(code or "")
    if number.isdigit():
        return int(number) >= HTTPStatus.INTERNAL_SERVER_ERROR
    return status in FAILED


def _readable(found: Rows, since: int) -> int:
    """The first second of which every row was read; the newest come first."""
    if found.complete or not found.rows:
        return since
    return max(since, _second(found.rows[-1]) + 1)


def _second(row: Mapping[str, Any]) -> int:
    return math.floor(moment(row["timestamp"]).timestamp())


def _stamp(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
