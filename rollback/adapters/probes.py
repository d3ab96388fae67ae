"""The application seen from outside: single requests, and a steady measurement."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import anyio
from anyio.abc import TaskGroup

from rollback.errors import SourceDown
from rollback.model import Answer, Counts, PlatformDeployment
from rollback.ports import Clock, Site

from . import web

__all__ = ["HttpSite", "Probes"]

HEALTH_PATH = "/api/health"
KEPT_SECONDS = 60
LOCKED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
USER_AGENT = f"rollback-probe/{version('wedsync-rollback')}"


class HttpSite:
    """The application over HTTP (port `Site`).

    Each request has a connection of its own and follows no redirect, so that the secret
    goes nowhere but to the address that was named.
    """

    def __init__(self, *, bypass_secret: str | None = None) -> None:
        self._secret = (
            {"x-vercel-protection-bypass": bypass_secret} if bypass_secret else {}
        )
        self._client = web.client(
            timeout_seconds=60.0, headers={"user-agent": USER_AGENT}
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Mapping[str, Any] | None = None,
        timeout_seconds: float,
        protected: bool = False,
    ) -> Answer:
        """Send one request; never raises for what the site does."""
        began = anyio.current_time()
        problem = f"no answer within {timeout_seconds:g} s"
        with anyio.move_on_after(timeout_seconds):
            try:
                response = await self._client.request(
                    method, url, json=json, headers=self._secret if protected else {}
                )
                return Answer(
                    status=response.status_code,
                    seconds=anyio.current_time() - began,
                    body=response.content,
                    deployment=response.headers.get("x-deployment-id"),
                )
            except web.LOST as error:
                problem = f"{type(error).__name__}: {error}".rstrip(": ")
        return Answer(
            status=None, seconds=anyio.current_time() - began, problem=problem
        )


class Probes:
    """Requests sent from outside at a steady rate (port `MetricSource`, active).

    The loop is open: `rate` times a second one request goes to the health check
    (availability) and one to `path` (error rate and response time), however slow the
    answers are. What is not finished after `timeout_seconds` is bad. Each outcome
    counts in the second in which it became known, so that a second that is over never
    changes; `rate * timeout_seconds * 2` requests are open at most. An address that
    stays locked for want of the secret counts as nothing: the source is down.
    """

    name = "probes"
    lag_seconds = 1

    def __init__(
        self,
        site: Site,
        *,
        clock: Clock,
        rate: float,
        path: str,
        slow_ms: float,
        timeout_seconds: float,
    ) -> None:
        self._site, self._clock = site, clock
        self._rate, self._path = rate, path
        self._slow_seconds, self._timeout = slow_ms / 1000, timeout_seconds
        self._seen: dict[str, dict[int, Counts]] = {}
        self._crash: str | None = None
        self._locked: dict[str, dict[str, int | None]] = {}  # by deployment and path
        self._latest = 0

    @asynccontextmanager
    async def watching(self, deployment: PlatformDeployment) -> AsyncIterator[None]:
        """Probe the deployment at its own address while the context is open."""
        self._crash = None
        self._locked.pop(deployment.id, None)
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tick, deployment, tasks)
            try:
                yield
            except Exception as error:  # noqa: BLE001 - a task group would wrap it; raised below
                failure = error
            finally:
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def counts(
        self, deployment: PlatformDeployment, *, since: int, until: int
    ) -> tuple[Counts, ...]:
        """The counts of the seconds in [since, until) that are over.

        Raises `SourceDown` too while the latest answers say that the address is locked.
        """
        if self._crash:
            raise SourceDown(f"The probes stopped working: {self._crash}.")
        for path, status in self._locked_out(deployment).items():
            raise SourceDown(
                f"{deployment.url}{path} answered {status}: the bypass secret "
                "(VERCEL_AUTOMATION_BYPASS_SECRET) is missing or wrong."
            )
        seen = self._seen.get(deployment.id, {})
        until = min(until, self._second())
        for second in [second for second in seen if second < since - KEPT_SECONDS]:
            del seen[second]  # nobody asks for what was long before
        return tuple(seen[second] for second in sorted(seen) if since <= second < until)

    async def _tick(self, deployment: PlatformDeployment, tasks: TaskGroup) -> None:
        began = anyio.current_time()
        tick = 0
        while True:
            tasks.start_soon(self._guarded, self._probe_health, deployment)
            tasks.start_soon(self._guarded, self._probe_page, deployment)
            # A collector that was held up does not make good for it in a burst.
            tick = max(tick, int((anyio.current_time() - began) * self._rate)) + 1
            await anyio.sleep_until(began + tick / self._rate)

    async def _guarded(
        self,
        probe: Callable[[PlatformDeployment], Awaitable[Counts | None]],
        deployment: PlatformDeployment,
    ) -> None:
        """A collector that breaks says nothing about the site's health."""
        try:
            outcome = await probe(deployment)
        except Exception as error:  # noqa: BLE001 - whatever it is, `counts` reports it
            self._crash = repr(error)
            return
        if outcome is None:
            return
        seen = self._seen.setdefault(deployment.id, {})
        known = seen.get(outcome.second)
        seen[outcome.second] = known + outcome if known else outcome

    async def _probe_health(self, deployment: PlatformDeployment) -> Counts | None:
        answer = await self._get(deployment, HEALTH_PATH)
        if answer is None:
            return None
        available = answer.status == HTTPStatus.OK
        return Counts(second=self._second(), probes=1, unavailable=int(not available))

    async def _probe_page(self, deployment: PlatformDeployment) -> Counts | None:
        answer = await self._get(deployment, self._path)
        if answer is None:
            return None
        unfinished = answer.status is None and answer.seconds >= self._timeout
        failed = (
            answer.status is None or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )
        slow = unfinished or answer.seconds > self._slow_seconds
        return Counts(
            second=self._second(), requests=1, failed=int(failed), slow=int(slow)
        )

    async def _get(self, deployment: PlatformDeployment, path: str) -> Answer | None:
        """The answer, or None when it only says that the address is locked."""
        answer = await self._site.request(
            "GET",
            f"{deployment.url}{path}",
            timeout_seconds=self._timeout,
            protected=True,
        )
        if answer.status is None:  # that tells nothing about the secret
            return answer
        states = self._locked.setdefault(deployment.id, {})
        states[path] = answer.status if answer.status in LOCKED else None
        return None if states[path] and self._locked_out(deployment) else answer

    def _locked_out(self, deployment: PlatformDeployment) -> dict[str, int]:
        """Which paths are locked and how; none where the health check opens.

        There the secret is right, and a page's 403 is the app's own.
        """
        states = self._locked.get(deployment.id, {})
        if states.get(HEALTH_PATH, LOCKED) is None:
            return {}
        return {path: status for path, status in states.items() if status}

    def _second(self) -> int:
        """The second that it is now; a clock that is set back opens none again."""
        self._latest = max(self._latest, int(self._clock.now().timestamp()))
        return self._latest
