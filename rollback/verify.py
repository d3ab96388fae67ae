"""Stage 6: health and critical flows of what is live now, measured from outside."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio

from .model import Answer, FlowResult, Health
from .ports import Clock, Site

__all__ = ["FLOWS", "Restoration", "health_of", "smoke", "until_restored"]

HEALTH_TIMEOUT = 10.0  # the app's own checks give up after 2 s each, side by side
FLOW_TIMEOUT = 15.0  # one request of a flow
PAID_WITHIN = 20.0  # a payment is confirmed by a webhook, which takes its time
BETWEEN_CHECKS = 1.0
HEALTH_PATH = "/api/health"


async def health_of(
    site: Site, url: str, *, clock: Clock, protected: bool = False
) -> Health:
    """One look at a deployment's health check."""
    answer = await site.request(
        "GET", url + HEALTH_PATH, timeout_seconds=HEALTH_TIMEOUT, protected=protected
    )
    return _health(answer, clock)


def _health(answer: Answer, clock: Clock) -> Health:
    at = clock.now()
    if answer.status is None:
        return Health(at=at, problem=answer.problem or "no answer")
    components = _object(answer.body)
    if not components or answer.status not in (200, 503):
        return Health(at=at, problem=f"the health check answered {answer.status}")
    return Health(at=at, components=tuple((k, str(v)) for k, v in components.items()))


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

    `token` makes the flows' data unique. What the deadline cuts off is not restored.
    """
    detail = "the site was not asked"
    flows: tuple[FlowResult, ...] = ()
    with anyio.move_on_after(timeout_seconds):
        row = 0
        while row < in_a_row:
            if row:
                await anyio.sleep(BETWEEN_CHECKS)
            problem = await _problem(site, url, deployment, clock)
            if problem:
                detail, row = problem, 0
                await anyio.sleep(BETWEEN_CHECKS)
            else:
                row += 1
        detail = "the site is healthy, but its critical flows did not end in time"
        flows = await smoke(site, url, token=token)
        failed = [f"{flow.name}: {flow.detail}" for flow in flows if not flow.passed]
        if not failed:
            return Restoration(
                at=clock.now(),
                detail=f"healthy {in_a_row} times in a row, all flows pass",
                flows=flows,
            )
        detail = "; ".join(failed)
    return Restoration(detail=detail, flows=flows)


async def _problem(site: Site, url: str, deployment: str, clock: Clock) -> str | None:
    answer = await site.request(
        "GET", url + HEALTH_PATH, timeout_seconds=HEALTH_TIMEOUT
    )
    health = _health(answer, clock)
    if health.problem:
        return health.problem
    if answer.deployment and answer.deployment != deployment:
        return f"{answer.deployment} still answers"
    if health.unhealthy:
        return f"unhealthy: {', '.join(sorted(health.unhealthy))}"
    return None


Check = Callable[["Visitor"], Awaitable[str]]


class _FlowFailed(Exception):
    """A flow did not do what a user needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who uses the site; `token` makes what they enter unique."""

    site: Site
    url: str
    token: str

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


async def smoke(site: Site, url: str, *, token: str) -> tuple[FlowResult, ...]:
    """Try the critical flows side by side; a flow that fails hides no other."""
    visitor = Visitor(site=site, url=url, token=token)
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
        for name, check in FLOWS:
            group.start_soon(attempt, name, check)
    return tuple(results[name] for name, _ in FLOWS)
