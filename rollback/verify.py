"""Stage 6: health and critical flows of what is live now, measured from outside."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any

import anyio

from .errors import SettingsInvalid
from .model import Answer, FlowResult, Health
from .ports import Clock, Site

__all__ = ["FLOWS", "Restoration", "health_of", "smoke", "together", "until_restored"]

HEALTH_TIMEOUT = 10.0  # the app's own checks give up after 2 s each, side by side
FLOW_TIMEOUT = 15.0  # one request of a flow
PAID_WITHIN = 20.0  # a payment is confirmed by a webhook, which takes its time
BETWEEN_CHECKS = 1.0
BETWEEN_FLOWS = 5.0  # a release that has just been woken needs some seconds
HEALTH_PATH = "/api/health"
LOCKED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


async def health_of(
    site: Site, url: str, *, clock: Clock, protected: bool = False
) -> Health:
    """One look at a deployment's health check.

    Raises `SettingsInvalid` when a `protected` address does not open: that is no sign
    of health, good or bad.
    """
    answer = await site.request(
        "GET", url + HEALTH_PATH, timeout_seconds=HEALTH_TIMEOUT, protected=protected
    )
    if protected and answer.status in LOCKED:
        raise SettingsInvalid(
            f"{url} answered {answer.status}: the bypass secret "
            "(VERCEL_AUTOMATION_BYPASS_SECRET) is missing or wrong.",
            mend="Set VERCEL_AUTOMATION_BYPASS_SECRET to the project's own.",
        )
    return _health(answer, clock)


def _health(answer: Answer, clock: Clock) -> Health:
    at = clock.now()
    if answer.status is None:
        return Health(at=at, problem=answer.problem or "no answer")
    components = _object(answer.body)
    if not components or answer.status not in (200, 503):
        return Health(at=at, problem=f"the health check answered {answer.status}")
    seen = Health(at=at, components=tuple((k, str(v)) for k, v in components.items()))
    if answer.status == HTTPStatus.OK or seen.unhealthy:
        return seen
    problem = f"the health check answered {answer.status} with every component healthy"
    return Health(at=at, problem=problem)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """Whether and when the site was found restored, and what was seen."""

    at: datetime | None = None
    detail: str
    flows: tuple[FlowResult, ...] = ()


def together(parts: Mapping[str, Restoration]) -> Restoration:
    """What was seen of all parts: restored when each one is, as of the last."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    times = [seen.at for seen in parts.values() if seen.at]
    return Restoration(
        at=max(times) if times and len(times) == len(parts) else None,
        detail="; ".join(f"{part}: {seen.detail}" for part, seen in parts.items()),
        flows=tuple(flow for seen in parts.values() for flow in seen.flows),
    )


async def until_restored(
    site: Site,
    url: str,
    *,
    deployment: str,
    in_a_row: int,
    token: str,
    timeout_seconds: float,
    clock: Clock,
) -> Restoration:
    """Wait for the deployment to answer healthy so many times in a row, then try flows.

    Flows that fail are tried again, after health is seen again. `token` makes their
    data unique. What the deadline cuts off is not restored.
    """
    watch = _Watch(site=site, url=url, deployment=deployment, clock=clock, token=token)
    with anyio.move_on_after(timeout_seconds):
        await watch.until_healthy(in_a_row)
        while not await watch.flows_pass():
            await anyio.sleep(BETWEEN_FLOWS)
            await watch.until_healthy(in_a_row)
        detail = f"healthy {in_a_row} times in a row, all flows pass"
        if not watch.named:
            detail += (
                "; the site does not say which deployment answers: that rests on the "
                "platform, which resolved the production hosts in the step before"
            )
        return Restoration(at=clock.now(), detail=detail, flows=watch.flows)
    return Restoration(detail=watch.detail, flows=watch.flows)


@dataclass(slots=True, kw_only=True)
class _Watch:
    """A restoration under way; what was seen last stays when the deadline cuts it."""

    site: Site
    url: str
    deployment: str
    clock: Clock
    token: str
    detail: str = "the site was not asked"
    named: bool = True
    attempts: int = 0
    results: dict[str, FlowResult] = field(default_factory=dict)

    @property
    def flows(self) -> tuple[FlowResult, ...]:
        """The last result of each flow, in the flows' order."""
        return tuple(self.results[name] for name, _ in FLOWS if name in self.results)

    async def until_healthy(self, in_a_row: int) -> None:
        """Look until it was healthy so many times; `named`: each look said by whom."""
        row, self.named = 0, True
        while row < in_a_row:
            problem = await self._problem()
            if problem:
                row, self.named, self.detail = 0, True, problem
            else:
                row += 1
            if row < in_a_row:
                await anyio.sleep(BETWEEN_CHECKS)

    async def _problem(self) -> str | None:
        answer = await self.site.request(
            "GET", self.url + HEALTH_PATH, timeout_seconds=HEALTH_TIMEOUT
        )
        health = _health(answer, self.clock)
        if health.problem:
            return health.problem
        if answer.deployment and answer.deployment != self.deployment:
            return f"{answer.deployment} still answers"
        if health.unhealthy:
            return f"unhealthy: {', '.join(sorted(health.unhealthy))}"
        self.named = self.named and bool(answer.deployment)
        return None

    async def flows_pass(self) -> bool:
        """Try what has not passed yet, each time with new data."""
        self.detail = "the site is healthy, but its critical flows did not end in time"
        if failed := self._failed():
            self.detail += f"; the time before: {failed}"
        self.attempts += 1
        again = f"-{self.attempts}" if self.attempts > 1 else ""
        visitor = Visitor(
            site=self.site,
            url=self.url,
            token=self.token + again,
            deployment=self.deployment,
        )
        passed = {flow.name for flow in self.flows if flow.passed}
        self.results |= await _try(visitor, [f for f in FLOWS if f[0] not in passed])
        self.detail = self._failed()
        return not self.detail

    def _failed(self) -> str:
        return "; ".join(f"{f.name}: {f.detail}" for f in self.flows if not f.passed)


Check = Callable[["Visitor"], Awaitable[str]]


class _FlowFailed(Exception):
    """A flow did not do what a user needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who uses the site; `token` makes what they enter unique.

    With `deployment`, an answer that another one says to have given is no success.
    """

    site: Site
    url: str
    token: str
    deployment: str | None = None

    async def send(
        self, method: str, path: str, expected: int, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One request of a flow; raises when the status is another one."""
        answer = await self.site.request(
            method, self.url + path, json=body, timeout_seconds=FLOW_TIMEOUT
        )
        if answer.status != expected:
            said = answer.problem or f"{answer.status} {answer.body[:200]!r}"
            raise _FlowFailed(f"{method} {path} was answered with {said}")
        if self.deployment and answer.deployment not in (None, self.deployment):
            raise _FlowFailed(f"{method} {path} was answered by {answer.deployment}")
        return _object(answer.body)


async def supplier_signup(visitor: Visitor) -> str:
    """A supplier signs up."""
    email = f"smoke-{visitor.token}@example.com".lower()
    body = {"name": "Smoke Test Ltd", "email": email, "password": "smoke-Test-1"}
    supplier = await visitor.send("POST", "/api/suppliers", 201, body)
    if supplier.get("email") != email:
        raise _FlowFailed(f"signed up as {supplier.get('email')}, not as {email}")
    return f"supplier {supplier.get('id')}"


async def form_submission(visitor: Visitor) -> str:
    """A couple submits a form, and it can be read again."""
    path = "/api/forms/smoke/submissions"
    answers = {"token": visitor.token}
    stored = await visitor.send("POST", path, 201, {"answers": answers})
    again = await visitor.send("GET", f"{path}/{stored.get('id')}", 200)
    if again.get("answers") != answers:
        raise _FlowFailed(f"what was read is not what was submitted: {again}")
    return f"submission {stored.get('id')}"


async def payment(visitor: Visitor) -> str:
    """A payment is taken, and its webhook confirms it."""
    order = f"smoke-{visitor.token}"
    body = {
        "order_id": order,
        "amount": 100,
        "currency": "gbp",
        "payment_method": "pm_card_visa",
    }
    paid = await visitor.send("POST", "/api/payments", 201, body)
    with anyio.move_on_after(PAID_WITHIN):
        while paid.get("status") != "paid":
            await anyio.sleep(0.25)
            paid = await visitor.send("GET", f"/api/payments/{order}", 200)
        return f"payment {paid.get('id')}"
    raise _FlowFailed(
        f"order {order} is {paid.get('status')} after {PAID_WITHIN:.0f} s"
    )


FLOWS: tuple[tuple[str, Check], ...] = (
    ("supplier signup", supplier_signup),
    ("form submission", form_submission),
    ("payment", payment),
)


async def smoke(
    site: Site, url: str, *, token: str, deployment: str | None = None
) -> tuple[FlowResult, ...]:
    """Try the critical flows side by side; a flow that fails hides no other.

    With `deployment`, answers that name another one fail the flow.
    """
    visitor = Visitor(site=site, url=url, token=token, deployment=deployment)
    results = await _try(visitor, FLOWS)
    return tuple(results[name] for name, _ in FLOWS)


async def _try(
    visitor: Visitor, flows: Sequence[tuple[str, Check]]
) -> dict[str, FlowResult]:
    results: dict[str, FlowResult] = {}

    async def attempt(name: str, check: Check) -> None:
        begun = anyio.current_time()
        try:
            detail, passed = await check(visitor), True
        except _FlowFailed as error:
            detail, passed = str(error), False
        seconds = anyio.current_time() - begun
        results[name] = FlowResult(
            name=name, passed=passed, seconds=seconds, detail=detail
        )

    async with anyio.create_task_group() as group:
        for name, check in flows:
            group.start_soon(attempt, name, check)
    return results
