"""Counts by PromQL, from Prometheus or from what speaks its HTTP API.

Prometheus knows a counter at the moments of its scrapes alone, so its counts come in
buckets of `step_seconds`, aligned to the clock. A bucket is one batch of the evidence:
all that it counts stands on its last second, and the seconds before are there with
zeros, which cover them and move nothing. Spread over its seconds, it would be taken for
as many batches of their own, and the bound on false alarms would not hold.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPStatus
from typing import Any

import httpx
from anyio import fail_after

from rollback.errors import SettingsInvalid, SourceDown
from rollback.model import Counts, PlatformDeployment
from rollback.ports import Clock

from . import web
from .promql import Queries, filled, quoted, seconds

__all__ = ["Prometheus", "Queries"]

LOCKED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
HARMLESS = "PromQL info"  # a hint about the query; before Prometheus 3 a "warning" too

Buckets = Mapping[int, Counts | None]
Numbers = Mapping[int, int]


class Prometheus:
    """Counts of a deployment's own series (port `MetricSource`, passive).

    A bucket is read once, when it is closed: `delay_seconds` after its end, which is
    what a scrape takes to be found. None is given twice or changes, whatever is asked.
    A bucket without a sample is absent. `timeout_seconds` is for one look.
    """

    name = "prometheus"

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        token: str | None = None,
        queries: Queries | None = None,
        slow_ms: float = 3000,
        step_seconds: int = 15,
        delay_seconds: int = 5,
        timeout_seconds: float = 3.0,
    ) -> None:
        address = _address(url)
        self._where = address.copy_with(userinfo=b"")
        self._clock, self._timeout = clock, timeout_seconds
        self._queries = queries or Queries()
        self._slow = seconds(slow_ms)
        self._step, self._delay = step_seconds, delay_seconds
        named = (address.username, address.password) if address.userinfo else None
        self._client = web.client(
            timeout_seconds=timeout_seconds,
            base_url=self._where,
            headers=web.bearer(token, "PROMETHEUS_TOKEN") if token else None,
            auth=None if token else named,
        )
        self._read: dict[str, Buckets] = {}

    @property
    def lag_seconds(self) -> int:
        """So long that the whole bucket of a second is closed when it is asked for."""
        return self._step - 1 + self._delay

    def watching(
        self,
        deployment: PlatformDeployment,  # noqa: ARG002 - the port's; nothing to do
    ) -> AbstractAsyncContextManager[None]:
        """Do nothing: Prometheus scrapes."""
        return nullcontext()

    async def counts(
        self, deployment: PlatformDeployment, *, since: int, until: int
    ) -> tuple[Counts, ...]:
        """The counts of the closed buckets' seconds in [since, until).

        A bucket counts where its last second is asked for, as a whole.
        """
        now = math.floor(self._clock.now().timestamp())
        closed = (now - self._delay) // self._step
        until = min(until, closed * self._step)
        if since >= until:
            return ()
        wanted = range(since // self._step, (until - 1) // self._step + 1)
        known = dict(self._read.get(deployment.id, {}))
        if missing := [bucket for bucket in wanted if bucket not in known]:
            found = await self._ask(deployment, missing[0], missing[-1])
            known |= {bucket: found.get(bucket) for bucket in missing}
        # The last bucket may be asked for again, for the rest of its seconds.
        self._read[deployment.id] = {wanted[-1]: known[wanted[-1]]}
        looked_at = ((s, known[s // self._step]) for s in range(since, until))
        return tuple(
            counts if s == counts.second else Counts(second=s)
            for s, counts in looked_at
            if counts
        )

    async def _ask(
        self, deployment: PlatformDeployment, first: int, last: int
    ) -> dict[int, Counts]:
        """The buckets from first to last that hold a sample."""
        words = self._words(deployment)
        try:
            with fail_after(self._timeout):
                requests = await self._values("requests", words, first, last)
                if not requests:
                    return {}
                failed = await self._values("failed", words, first, last)
                slow = await self._values("slow", words, first, last)
        except web.LOST as error:
            raise SourceDown(
                f"Prometheus at {self._where} does not answer: {web.reason(error)}. "
                "Check PROMETHEUS_URL, and that it is up."
            ) from error
        return self._counted(requests, failed, slow)

    def _counted(
        self, requests: Numbers, failed: Numbers, slow: Numbers
    ) -> dict[int, Counts]:
        """Counts of the buckets of which all is known.

        Where something is unknown of every bucket that has requests, that is no gap but
        a query that is wrong. `increase()` may guess more bad ones than there are.
        """
        busy = {bucket for bucket, number in requests.items() if number}
        for name, numbers in (("failed", failed), ("slow", slow)):
            if busy and not busy & numbers.keys():
                raise _unanswered(name)
        return {
            bucket: Counts(
                second=(bucket + 1) * self._step - 1,
                requests=number,
                failed=min(failed.get(bucket, 0), number),
                slow=min(slow.get(bucket, 0), number),
            )
            for bucket, number in requests.items()
            if not number or (bucket in failed and bucket in slow)
        }

    def _words(self, deployment: PlatformDeployment) -> dict[str, str]:
        if not deployment.git_sha and self._queries.need("git_sha"):
            raise SourceDown(
                f"Prometheus cannot be asked about {deployment.id}: its git sha is not "
                "known, and the queries select by it."
            )
        return {
            "deployment": quoted(deployment.id),
            "git_sha": quoted(deployment.git_sha),
            "step": str(self._step),
            "le": self._slow,
        }

    async def _values(
        self, name: str, words: Mapping[str, str], first: int, last: int
    ) -> dict[int, int]:
        """What one query says of the buckets, each evaluated at its end."""
        response = await self._client.post(
            "api/v1/query_range",
            data={
                "query": filled(getattr(self._queries, name), words),
                "start": str((first + 1) * self._step),
                "end": str((last + 1) * self._step),
                "step": str(self._step),
                "timeout": f"{self._timeout:g}s",
            },
        )
        if not response.is_success:
            raise self._refused(response, name)
        try:
            return self._parsed(response.json(), name)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise SourceDown(
                f"The answer of {self._where} cannot be read ({error!r}): check that "
                "PROMETHEUS_URL is the address of Prometheus' HTTP API."
            ) from error

    def _parsed(self, body: Any, name: str) -> dict[int, int]:
        if body["status"] != "success":
            raise SourceDown(f"Prometheus says {body.get('error')} ({_setting(name)}).")
        for warning in body.get("warnings") or ():
            if not warning.startswith(HARMLESS):
                raise SourceDown(
                    f"Prometheus answers in part only: {warning}. "
                    "What it counts is no measurement until all of it answers."
                )
        result = body["data"]["result"]
        if len(result) > 1:
            raise SourceDown(
                f"The query for {name} answers with {len(result)} series: put sum(…) "
                f"around it ({_setting(name)})."
            )
        values = result[0]["values"] if result else ()
        numbers = ((round(at) // self._step - 1, float(text)) for at, text in values)
        return {b: max(round(n), 0) for b, n in numbers if math.isfinite(n)}

    def _refused(self, response: httpx.Response, name: str) -> SourceDown:
        own = "json" in response.headers.get("content-type", "")
        page = f"{response.reason_phrase} ({response.status_code})"
        said = web.sentence(response) if own else page
        if response.status_code in REFUSED:
            return SourceDown(
                f"Prometheus refuses the query for {name}: {said}. "
                f"Correct {_setting(name)}."
            )
        if response.status_code in LOCKED:
            return SourceDown(
                f"Prometheus at {self._where} lets nobody in like this: {said}. Check "
                "PROMETHEUS_TOKEN, or the name and password in PROMETHEUS_URL."
            )
        if response.is_server_error:
            return SourceDown(f"Prometheus at {self._where} is not well: {said}.")
        return SourceDown(
            f"There is no Prometheus at {self._where}: {said}. PROMETHEUS_URL must be "
            "the address up to and without /api/v1."
        )


def _setting(name: str) -> str:
    return f"ROLLBACK_PROMETHEUS_{name.upper()}"


def _unanswered(name: str) -> SourceDown:
    return SourceDown(
        f"Prometheus has requests and no answer to how many of them {name}: check "
        f"the metric's name and labels in {_setting(name)}. Where no answer means "
        "none, the query must say so itself (… or 0 * …)."
    )


def _address(url: str) -> httpx.URL:
    """The address; without the cause when it is none, as it may show the password."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in {"http", "https"} or not address.host:
        raise SettingsInvalid(
            "The address of Prometheus cannot be read.",
            mend="Give PROMETHEUS_URL as https://user:password@host:port/path.",
        )
    return address
