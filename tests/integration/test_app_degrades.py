"""The reference app while something that it needs is lost, slow or silent."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from redis import Redis

from stack.app.database import is_alive
from stack.backends import Stack
from stack.faults import Fault
from stack.toxiproxy.client.api import Client

from .processes import until

BYPASS = "VERCEL_AUTOMATION_BYPASS_SECRET"
FORM = "/api/forms/rsvp/submissions"
POOL_SIZE = 40
LATENCY_MS = 1100

Json = dict[str, Any]
Ask = Callable[[httpx.Client], httpx.Response]


@pytest.fixture
def site(fresh: Stack) -> Iterator[httpx.Client]:
    """The production address; release v2 is live."""
    address = fresh.addresses["edge"]
    with httpx.Client(base_url=address, timeout=20, trust_env=False) as client:
        yield client


@contextmanager
def lost(stack: Stack, dependency: str, kind: str = "refused") -> Iterator[Fault]:
    """Put a fault on v2's route to a dependency, proved where that costs no time."""
    fault = stack.faults.inject(kind, "v2", dependency)
    try:
        if kind == "refused":
            fault.prove()
        yield fault
    finally:
        fault.heal()


def sign_up(site: httpx.Client) -> httpx.Response:
    """Sign a supplier up."""
    email = f"{uuid.uuid4().hex}@example.com"
    entered = {"name": "Florist", "email": email, "password": "correct-Horse-7"}
    return site.post("/api/suppliers", json=entered)


def submit(site: httpx.Client) -> httpx.Response:
    """Fill in a form."""
    return site.post(FORM, json={"answers": {"guests": 120}})


def pay(site: httpx.Client, **changed: str) -> httpx.Response:
    """Pay for an order, by default for a new one."""
    values = {
        "order_id": f"order-{uuid.uuid4().hex}",
        "amount": 4200,
        "currency": "gbp",
        "payment_method": "pm_card_visa",
    }
    return site.post("/api/payments", json=values | changed)


def look(site: httpx.Client) -> httpx.Response:
    """Open the front page."""
    return site.get("/")


def health(site: httpx.Client) -> httpx.Response:
    """Ask for the health check."""
    return site.get("/api/health")


def unhealthy(answer: httpx.Response) -> set[str]:
    """What a health check names; its status must agree."""
    report = answer.json()
    assert set(report) == {"api", "database", "redis", "stripe", "auth"}
    bad = {name for name, verdict in report.items() if verdict != "healthy"}
    assert answer.status_code == (503 if bad else 200)
    return bad


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error."""
    return answer.status_code, answer.json()["error"]["code"]


def reported(stack: Stack) -> list[str]:
    """The codes that Sentry was told, oldest first."""
    address = f"{stack.addresses['sentry']}/_control/state"
    events = httpx.get(address, trust_env=False).json()["events"]
    assert {e["tags"]["deployment"] for e in events} <= {stack.deployments["v2"]}
    return [event["tags"]["error_code"] for event in events]


def charges(stack: Stack) -> int:
    """How often money was taken."""
    address = f"{stack.addresses['stripe']}/_control/state"
    return len(httpx.get(address, trust_env=False).json()["charges"])


def at_once(site: httpx.Client, *asks: Ask) -> list[tuple[httpx.Response, float]]:
    """Send requests at the same time and give each answer with its seconds."""

    def timed(ask: Ask) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        answer = ask(site)
        return answer, time.monotonic() - began

    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(timed, asks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A dependency, how health calls it, who misses it, and what they are told."""

    dependency: str
    named: str
    ask: Ask
    status: int
    code: str
    critical: bool
    others: tuple[Ask, ...]


LOSSES = (
    Loss(
        dependency="postgres",
        named="database",
        ask=submit,
        status=503,
        code="DATABASE_CONNECTION_LOST",
        critical=True,
        others=(),
    ),
    Loss(
        dependency="redis",
        named="redis",
        ask=look,
        status=503,
        code="CACHE_UNAVAILABLE",
        critical=False,
        others=(sign_up, submit, pay),
    ),
    Loss(
        dependency="stripe",
        named="stripe",
        ask=pay,
        status=502,
        code="STRIPE_UNAVAILABLE",
        critical=False,
        others=(sign_up, submit, look),
    ),
    Loss(
        dependency="auth",
        named="auth",
        ask=sign_up,
        status=503,
        code="AUTH_SERVICE_DOWN",
        critical=True,
        others=(submit, pay, look),
    ),
)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.dependency)
def test_a_lost_dependency_is_missed_by_its_users_alone(
    fresh: Stack, site: httpx.Client, loss: Loss
) -> None:
    """Health names it and only it, its users are refused with its code, v1 is well.

    Once it is back, the first request succeeds, without a restart.
    """
    before = loss.ask(site)
    assert before.is_success
    if loss.ask is pay:
        # Its webhook comes by itself: refused, and told, if Stripe is lost by then.
        order = json.loads(before.request.content)["order_id"]
        url = f"/api/payments/{order}"
        until(lambda: site.get(url).json()["status"] == "paid", "the payment settled")

    with lost(fresh, loss.dependency):
        assert unhealthy(health(site)) == {loss.named}
        assert refusal(loss.ask(site)) == (loss.status, loss.code)
        assert all(other(site).is_success for other in loss.others)
        secret = {"x-vercel-protection-bypass": fresh.environment[BYPASS]}
        v1 = f"{fresh.deployment_urls['v1']}/api/health"
        assert not unhealthy(httpx.get(v1, headers=secret, trust_env=False))
        assert unhealthy(health(site)) == {loss.named}

    assert loss.ask(site).is_success
    assert unhealthy(health(site)) == set()
    told = [loss.code] if loss.critical else []
    until(lambda: len(reported(fresh)) >= len(told), "Sentry was told")
    assert reported(fresh) == told
    fresh.check()


@pytest.mark.postgres
def test_a_slow_database_makes_answers_slow_not_wrong(
    fresh: Stack, site: httpx.Client
) -> None:
    """With 1100 ms on each round trip writing takes over 3 s, and health is well."""
    with Redis.from_url(fresh.addresses["redis"], decode_responses=True) as redis:
        fresh.faults.inject("latency", "v2", "postgres", latency=LATENCY_MS)
        answers = at_once(site, submit, sign_up, pay, look, health)

        assert [answer.status_code for answer, _ in answers] == [
            201,
            201,
            201,
            200,
            200,
        ]
        seconds = [took for _, took in answers]
        assert min(seconds[:3]) > 3
        assert max(seconds) < 9
        assert seconds[4] < 2

        def slow() -> int:
            keys = redis.keys(f"requests:{fresh.deployments['v2']}:*")
            return sum(int(redis.hget(key, "slow") or 0) for key in keys)

        until(lambda: slow() == 3, "three slow answers are counted")
    assert reported(fresh) == []


@pytest.mark.postgres
def test_a_silent_database_holds_nobody_for_long(
    fresh: Stack, site: httpx.Client
) -> None:
    """Where nothing is answered at all, requests and health still are, in time."""
    with lost(fresh, "postgres", "black_hole"):
        answers = at_once(site, submit, sign_up, look, health)

    *flows, (report, took) = answers
    assert unhealthy(report) == {"database"}
    assert took < 3
    for answer, seconds in flows:
        assert refusal(answer) == (503, "DATABASE_CONNECTION_LOST")
        assert seconds < 9
    assert submit(site).status_code == 201
    assert unhealthy(health(site)) == set()


def _through_proxy(stack: Stack) -> str:
    """PostgreSQL on the route of v2, as v2 itself reaches it."""
    with Client(stack.addresses["toxiproxy"]) as toxiproxy:
        host, port = toxiproxy.proxy("v2-postgres")["listen"].rsplit(":", 1)
    return make_conninfo(stack.addresses["postgres"], host=host, port=port)


@pytest.mark.postgres
def test_connections_that_the_server_ended_cost_no_request(
    fresh: Stack, site: httpx.Client
) -> None:
    """After a restart of the database the first request finds a fresh connection."""
    with (
        psycopg.connect(fresh.addresses["postgres"], autocommit=True) as connection,
        psycopg.connect(_through_proxy(fresh), autocommit=True) as last,
    ):

        def connections() -> set[int]:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'wedsync'"
            )
            return {pid for (pid,) in rows}

        until(lambda: len(connections()) == 2 * (POOL_SIZE + 1), "both pools are full")
        ended = connections()
        end = "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid"
        connection.execute(end, [list(ended)])
        until(lambda: not ended & connections(), "their connections are ended")
        # The app hears of it through the proxy, later; what is ended after all of them
        # is heard of after all of them.
        connection.execute(end, [[last.info.backend_pid]])
        until(lambda: not is_alive(last), "the other side of the proxy has heard")

    assert submit(site).status_code == 201
    assert unhealthy(health(site)) == set()
    assert reported(fresh) == []


@pytest.mark.postgres
def test_a_used_up_pool_is_no_lost_database(fresh: Stack, site: httpx.Client) -> None:
    """Requests that wait for a lock or for the pool are refused in time as busy."""
    asks = [submit] * (POOL_SIZE + 3)
    address = fresh.addresses["postgres"]
    with (
        psycopg.connect(address) as holder,
        psycopg.connect(address, autocommit=True) as watcher,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.execute("LOCK TABLE submissions")
        waiting = pool.submit(at_once, site, *asks)

        def locked() -> bool:
            row = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            ).fetchone()
            return row == (POOL_SIZE,)

        until(locked, "every connection of the pool waits for the lock")
        assert unhealthy(health(site)) == set()
        answers = waiting.result()

    assert {refusal(answer) for answer, _ in answers} == {(503, "DATABASE_BUSY")}
    assert max(took for _, took in answers) < 10
    assert reported(fresh) == []
    assert submit(site).status_code == 201


@pytest.mark.redis
def test_a_silent_redis_holds_up_only_what_needs_it(
    fresh: Stack, site: httpx.Client
) -> None:
    """Counting is never waited for; a sign-up goes without its session."""
    with lost(fresh, "redis", "black_hole"):
        answers = at_once(site, submit, pay, sign_up, look)

    (form, form_s), (paid, paid_s), (signed_up, _), (page, page_s) = answers
    assert (form.status_code, paid.status_code) == (201, 201)
    assert max(form_s, paid_s) < 0.9
    assert signed_up.status_code == 201
    assert "set-cookie" not in signed_up.headers
    assert refusal(page) == (503, "CACHE_UNAVAILABLE")
    assert page_s < 2
    assert look(site).status_code == 200


@pytest.mark.stripe
def test_a_lost_reply_of_stripe_is_unknown_and_settled_later(
    fresh: Stack, site: httpx.Client
) -> None:
    """The money may be taken: it stays processing, is never taken twice, ends paid.

    Its webhook cannot be handled meanwhile, which is critical, and is when Stripe is
    back.
    """
    order = {"order_id": f"order-{uuid.uuid4().hex}"}
    path = f"/api/payments/{order['order_id']}"
    # With a card that is declined, the order has its PaymentIntent before the fault.
    declined = pay(site, payment_method="pm_card_chargeDeclined", **order)
    assert declined.status_code == 402

    with lost(fresh, "stripe", "lost_reply"):
        assert refusal(pay(site, **order)) == (502, "STRIPE_UNAVAILABLE")
        assert charges(fresh) == 1
        assert site.get(path).json()["status"] != "paid"
        until(lambda: "STRIPE_WEBHOOK_FAILED" in reported(fresh), "Sentry was told")

    again = pay(site, payment_method="pm_card_mastercard", **order)
    assert again.status_code == 201
    until(lambda: site.get(path).json()["status"] == "paid", "the webhook is repeated")
    assert charges(fresh) == 1
    assert set(reported(fresh)) == {"STRIPE_WEBHOOK_FAILED"}


@pytest.mark.auth
def test_an_outage_does_not_flood_sentry(fresh: Stack, site: httpx.Client) -> None:
    """Every sign-up fails, and a few a second are told."""
    with lost(fresh, "auth"):
        began = time.monotonic()
        answers = at_once(site, *[sign_up] * 30)
        seconds = time.monotonic() - began
    assert {refusal(answer) for answer, _ in answers} == {(503, "AUTH_SERVICE_DOWN")}

    submitted = pay(site, currency="xxx")  # nothing that anybody is woken for
    assert submitted.status_code == 422
    until(lambda: len(reported(fresh)) >= 3, "Sentry was told")
    assert len(reported(fresh)) <= 3 * (int(seconds) + 2)
    assert set(reported(fresh)) == {"AUTH_SERVICE_DOWN"}


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def alone(
    log: Path, **changed: str
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """One deployment of the app, and nothing else in the world, once it answers."""
    port, nowhere = free_port(), f"127.0.0.1:{free_port()}"
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "RELEASE": "v1",
        "VERCEL_ENV": "production",
        "VERCEL_DEPLOYMENT_ID": "dpl_alone",
        "VERCEL_GIT_COMMIT_SHA": "0" * 40,
        "DATABASE_URL": f"postgresql://postgres@{nowhere}/postgres",
        "REDIS_URL": f"redis://{nowhere}/0",
        "STRIPE_API_BASE": f"http://{nowhere}",
        "STRIPE_SECRET_KEY": "sk_test_wedsync",
        "STRIPE_WEBHOOK_SECRET": "whsec_test_wedsync",
        "AUTH_URL": f"http://{nowhere}",
        "AUTH_SERVICE_KEY": "auth_test_service_key",
        "SENTRY_DSN": f"http://{'0' * 32}@{nowhere}/1",
    } | changed
    command = [sys.executable, "-m", "stack.app"]
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own module
            command, env=environment, stdout=output, stderr=output
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return bool(health(client).status_code)
            except httpx.ConnectError:
                return False

        try:
            until(answers, "the app answers")
            yield client, process
        finally:
            process.kill()


def test_the_app_starts_answers_and_ends_without_anything_that_it_needs(
    tmp_path: Path,
) -> None:
    """It says that all is lost, refuses at once though Sentry is lost too, and ends."""
    log = tmp_path / "app.log"
    with alone(log) as (client, process):
        assert unhealthy(health(client)) == {"database", "redis", "stripe", "auth"}
        began = time.monotonic()
        assert refusal(submit(client)) == (503, "DATABASE_CONNECTION_LOST")
        assert refusal(sign_up(client)) == (503, "AUTH_SERVICE_DOWN")
        assert time.monotonic() - began < 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert "Traceback" not in log.read_text()


class Babbler(BaseHTTPRequestHandler):
    """Answers everything with 200 and no JSON, and keeps what it was sent."""

    heard: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        """Take a request."""
        sent = self.rfile.read(int(self.headers["content-length"]))
        packing = self.headers.get("content-encoding", "identity")
        headers = {"content-encoding": packing}
        self.heard.append(httpx.Response(200, headers=headers, content=sent).content)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"hm")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def babbler() -> Iterator[str]:
    """Where the babbler listens."""
    Babbler.heard.clear()
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Babbler) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        pool.submit(server.serve_forever)
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_no_password_leaves_with_the_report_of_a_bug(
    babbler: str, tmp_path: Path
) -> None:
    """What Sentry is sent when a sign-up meets a bug holds nothing that was entered."""
    changed = {
        "AUTH_URL": f"http://{babbler}",
        "SENTRY_DSN": f"http://{'0' * 32}@{babbler}/1",
    }
    with alone(tmp_path / "app.log", **changed) as (client, _):
        assert refusal(sign_up(client)) == (500, "INTERNAL")
        until(lambda: len(Babbler.heard) == 2, "the account and the report")

    account, report = Babbler.heard
    assert b"correct-Horse-7" in account
    assert b"JSONDecodeError" in report
    for secret in (b"Horse", b"example.com", b"auth_test", b"sk_test", b"whsec"):
        assert secret not in report
