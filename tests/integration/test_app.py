"""The reference app on the practice stack, with nothing broken."""

import html
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import stripe
from psycopg import sql
from psycopg.rows import dict_row
from redis import Redis

from stack.app.migrate import MIGRATIONS, migrate
from stack.backends import Stack

from .processes import until

WEBHOOK_SECRET = "whsec_test_wedsync"
BYPASS = "VERCEL_AUTOMATION_BYPASS_SECRET"
FORM = "/api/forms/rsvp/submissions"
VISA = "pm_card_visa"
DECLINING = "pm_card_chargeDeclined"

Json = dict[str, Any]


@pytest.fixture
def site(fresh: Stack) -> Iterator[httpx.Client]:
    """The production address; release v2 is live."""
    address = fresh.addresses["edge"]
    with httpx.Client(base_url=address, timeout=15, trust_env=False) as client:
        yield client


@pytest.fixture
def v1(fresh: Stack) -> Iterator[httpx.Client]:
    """The release before, at its own address."""
    with httpx.Client(
        base_url=fresh.deployment_urls["v1"],
        headers={"x-vercel-protection-bypass": fresh.environment[BYPASS]},
        timeout=15,
        trust_env=False,
    ) as client:
        yield client


@pytest.fixture
def redis(fresh: Stack) -> Iterator[Redis]:
    """Redis, directly."""
    with Redis.from_url(fresh.addresses["redis"], decode_responses=True) as client:
        yield client


@pytest.fixture
def database(fresh: Stack) -> Iterator[psycopg.Connection[Json]]:
    """PostgreSQL, directly."""
    with psycopg.connect(
        fresh.addresses["postgres"], autocommit=True, row_factory=dict_row
    ) as connection:
        yield connection


def supplier(**changed: object) -> Json:
    """What a supplier enters, with an address that nobody has."""
    email = f"{uuid.uuid4().hex}@example.com"
    return {"name": "Florist", "email": email, "password": "correct-Horse-7"} | changed


def order(**changed: object) -> Json:
    """What is sent to pay for a new order."""
    values = {"amount": 4200, "currency": "gbp", "payment_method": VISA}
    return {"order_id": f"order-{uuid.uuid4().hex}"} | values | changed


def held(stack: Stack, vendor: str) -> Json:
    """All that a vendor's stand-in holds."""
    address = f"{stack.addresses[vendor]}/_control/state"
    state: Json = httpx.get(address, trust_env=False).json()
    return state


def code(answer: httpx.Response) -> str:
    """The code of an error, in the form that every error has."""
    error = answer.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["message"]
    return str(error["code"])


def wait_until_paid(site: httpx.Client, order_id: str) -> Json:
    """Wait for the webhook of an order and give the payment."""
    path = f"/api/payments/{order_id}"
    until(lambda: site.get(path).json()["status"] == "paid", f"{order_id} is paid")
    payment: Json = site.get(path).json()
    return payment


# -- sign-up --------------------------------------------------------------------------


def test_sign_up_makes_an_account_a_row_and_a_session(
    fresh: Stack,
    site: httpx.Client,
    redis: Redis,
    database: psycopg.Connection[Json],
) -> None:
    """A supplier who signs up is known to the auth service, PostgreSQL and Redis."""
    entered = supplier()

    answer = site.post("/api/suppliers", json=entered)

    assert answer.status_code == 201
    shown = answer.json()
    assert shown == {
        "id": shown["id"],
        "name": entered["name"],
        "email": entered["email"],
    }
    (user,) = held(fresh, "auth")["users"]
    row = database.execute("SELECT * FROM suppliers").fetchone()
    assert row is not None
    assert (str(row["id"]), row["auth_user_id"]) == (shown["id"], user["id"])
    token = answer.cookies["wedsync_session"]
    assert redis.get(f"session:{token}") == shown["id"]
    assert 0 < redis.ttl(f"session:{token}") <= 24 * 3600
    assert "Welcome back" in site.get("/").text


def test_an_address_signs_up_once(site: httpx.Client) -> None:
    """The second sign-up with an address is a conflict, whatever its password."""
    entered = supplier()
    assert site.post("/api/suppliers", json=entered).status_code == 201

    for again in (entered, entered | {"password": "another-Horse-8"}):
        answer = site.post("/api/suppliers", json=again)
        assert (answer.status_code, code(answer)) == (409, "EMAIL_TAKEN")


def test_a_sign_up_that_was_cut_short_can_be_finished_by_its_owner(
    site: httpx.Client, database: psycopg.Connection[Json]
) -> None:
    """An account without a row is gone on with by whoever knows its password."""
    entered = supplier()
    assert site.post("/api/suppliers", json=entered).status_code == 201
    database.execute("DELETE FROM suppliers")

    stranger = site.post("/api/suppliers", json=entered | {"password": "guess-Horse-9"})
    owner = site.post("/api/suppliers", json=entered)

    assert (stranger.status_code, code(stranger)) == (409, "EMAIL_TAKEN")
    assert owner.status_code == 201


# -- what cannot be taken -------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/api/suppliers", b"{", (400, "BAD_JSON")),
        ("/api/suppliers", b"[]", (400, "BAD_JSON")),
        ("/api/suppliers", b"[" * 100_000, (400, "BAD_JSON")),
        ("/api/suppliers", b"\xff", (400, "BAD_JSON")),
        ("/api/suppliers", supplier(name=" "), (422, "INVALID_INPUT")),
        ("/api/suppliers", supplier(name="a\0b"), (422, "INVALID_INPUT")),
        ("/api/suppliers", supplier(name="x" * 201), (422, "INVALID_INPUT")),
        ("/api/suppliers", supplier(email="nobody"), (422, "INVALID_INPUT")),
        ("/api/suppliers", supplier(password="short"), (422, "INVALID_INPUT")),
        ("/api/suppliers", supplier(password=12345678), (422, "INVALID_INPUT")),
        (FORM, {"answers": []}, (422, "INVALID_INPUT")),
        (FORM, {}, (422, "INVALID_INPUT")),
        (FORM, {"answers": {"a": "\0"}}, (422, "INVALID_INPUT")),
        (FORM, {"answers": {}, "supplier_id": "x"}, (422, "INVALID_INPUT")),
        (
            FORM,
            {"answers": {}, "supplier_id": str(uuid.uuid4())},
            (422, "INVALID_INPUT"),
        ),
        ("/api/forms/Not a form/submissions", {"answers": {}}, (404, "NOT_FOUND")),
        ("/api/payments", order(order_id="a/b"), (422, "INVALID_INPUT")),
        ("/api/payments", order(amount=0), (422, "INVALID_INPUT")),
        ("/api/payments", order(amount=True), (422, "INVALID_INPUT")),
        ("/api/payments", order(amount=42.5), (422, "INVALID_INPUT")),
        ("/api/payments", order(amount=10**12), (422, "INVALID_INPUT")),
        ("/api/payments", order(currency="pounds"), (422, "INVALID_INPUT")),
        ("/api/payments", order(currency="xxx"), (422, "INVALID_INPUT")),
        ("/api/payments", order(payment_method="pm_no"), (422, "INVALID_INPUT")),
        ("/api/nothing", {}, (404, "NOT_FOUND")),
        ("/api/health", {}, (405, "METHOD_NOT_ALLOWED")),
    ],
)
def test_what_cannot_be_taken_is_refused_in_words(
    stack: Stack, path: str, body: bytes | Json, expected: tuple[int, str]
) -> None:
    """Bad input is an answer below 500 with a code and a message."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    answer = httpx.post(
        stack.addresses["edge"] + path, content=content, trust_env=False
    )

    assert (answer.status_code, code(answer)) == expected


# -- forms and the timeline -----------------------------------------------------------


def test_a_submission_is_given_back_as_it_was_sent(site: httpx.Client) -> None:
    """Answers are kept as they are, under their form and supplier alone."""
    owner = site.post("/api/suppliers", json=supplier()).json()["id"]
    answers = {"note": "façade “café” - 花", "guests": [1, None, {"x": 2.5}]}

    made = site.post(FORM, json={"supplier_id": owner, "answers": answers})

    assert made.status_code == 201
    name = made.json()["id"]
    assert made.json() == {"id": name, "form": "rsvp"}
    assert site.get(f"{FORM}/{name}").json() == {
        "id": name,
        "form": "rsvp",
        "supplier_id": owner,
        "answers": answers,
    }
    for path in (
        f"/api/forms/enquiry/submissions/{name}",
        f"{FORM}/{uuid.uuid4()}",
        f"{FORM}/x",
    ):
        assert site.get(path).status_code == 404


def test_the_timeline_is_there_in_v2_while_its_flag_is_on(
    site: httpx.Client, v1: httpx.Client, redis: Redis
) -> None:
    """Off unless the flag says enabled, and never in v1."""
    wedding = {"answers": {"wedding_date": "2027-06-12"}}
    for state in ("disabled", "Enabled"):
        redis.hset("feature_flags", "timeline", state)
        assert site.post(FORM, json=wedding).status_code == 201
        assert site.get("/api/timeline").status_code == 404
    redis.hdel("feature_flags", "timeline")
    assert site.get("/api/timeline").status_code == 404

    redis.hset("feature_flags", "timeline", "enabled")
    shown = site.post(FORM, json=wedding).json()["id"]
    for answers in ({"wedding_date": "in June"}, {"wedding_date": 7}, {}):
        assert site.post(FORM, json={"answers": answers}).status_code == 201
    assert v1.post(FORM, json=wedding).status_code == 201

    (entry,) = site.get("/api/timeline").json()["timeline"]
    assert entry == {"id": shown, "form": "rsvp", "wedding_date": "2027-06-12"}
    assert v1.get("/api/timeline").status_code == 404


def test_features_are_told_with_their_cache_tag(
    v1: httpx.Client, fresh: Stack, redis: Redis
) -> None:
    """A flag is on when it says enabled, unknown is 404, and the edge may keep it."""
    v2 = httpx.Client(
        base_url=fresh.deployment_urls["v2"], headers=v1.headers, trust_env=False
    )
    redis.hset("feature_flags", mapping={"seating": "enabled", "gifts": "disabled"})
    with v2:
        told = {
            name: v2.get(f"/api/features/{name}")
            for name in ("seating", "gifts", "timeline")
        }
        unknown = v2.get("/api/features/nope")

    enabled = {name: answer.json()["enabled"] for name, answer in told.items()}
    assert enabled == {"seating": True, "gifts": False, "timeline": True}
    assert told["gifts"].json()["name"] == "gifts"
    assert "s-maxage=60" in told["gifts"].headers["cache-control"]
    assert (unknown.status_code, code(unknown)) == (404, "NOT_FOUND")
    assert v1.get("/api/features/timeline").json()["enabled"] is False


def test_the_front_page_shows_suppliers_harmlessly(site: httpx.Client) -> None:
    """Names are text on the page, never markup; the count is cached."""
    name = "<script>alert('x')</script> & Sons"
    site.post("/api/suppliers", json=supplier(name=name))

    page = site.get("/")

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert html.escape(name) in page.text
    assert name not in page.text
    assert "1 suppliers" in page.text


# -- payments -------------------------------------------------------------------------


def test_a_payment_is_paid_when_its_webhook_was_handled(
    fresh: Stack, site: httpx.Client, database: psycopg.Connection[Json]
) -> None:
    """Taken once: processing at first, paid by the webhook, one charge at Stripe."""
    sent = order()

    taken = site.post("/api/payments", json=sent)

    assert taken.status_code == 201
    assert taken.json()["status"] in {"processing", "paid"}
    paid = wait_until_paid(site, sent["order_id"])
    assert set(paid) == {"id", "order_id", "status", "payment_intent"}
    assert paid == taken.json() | {"status": "paid"}
    (charge,) = held(fresh, "stripe")["charges"]
    assert charge["payment_intent"] == paid["payment_intent"]
    assert charge["amount"] == sent["amount"]
    assert database.execute("SELECT type FROM webhook_events").fetchall() == [
        {"type": "payment_intent.succeeded"}
    ]


def test_an_order_is_charged_once_however_often_it_is_paid(
    fresh: Stack, site: httpx.Client
) -> None:
    """Paying again, also at the same time, gives the same payment."""
    sent = order()

    with ThreadPoolExecutor(5) as pool:
        answers = list(
            pool.map(lambda _: site.post("/api/payments", json=sent), range(5))
        )
    wait_until_paid(site, sent["order_id"])
    answers.append(site.post("/api/payments", json=sent))

    assert {answer.status_code for answer in answers} == {201}
    same = {(a.json()["id"], a.json()["payment_intent"]) for a in answers}
    assert len(same) == 1
    assert len(held(fresh, "stripe")["charges"]) == 1


def test_an_order_keeps_its_amount(site: httpx.Client) -> None:
    """An order that was made with one amount cannot be paid with another."""
    sent = order()
    assert site.post("/api/payments", json=sent).status_code == 201

    for changed in ({"amount": 1}, {"currency": "eur"}):
        answer = site.post("/api/payments", json=sent | changed)
        assert (answer.status_code, code(answer)) == (409, "ORDER_DIFFERS")


def test_a_declined_card_takes_nothing_and_another_may_be_tried(
    fresh: Stack, site: httpx.Client
) -> None:
    """402 with the reason, no charge; then the same order is paid by another card."""
    sent = order(payment_method=DECLINING)

    declined = site.post("/api/payments", json=sent)
    stored = site.get(f"/api/payments/{sent['order_id']}").json()

    assert (declined.status_code, code(declined)) == (402, "CARD_DECLINED")
    assert stored["status"] == "declined"
    assert held(fresh, "stripe")["charges"] == []

    again = site.post("/api/payments", json=sent | {"payment_method": VISA})

    assert again.status_code == 201
    paid = wait_until_paid(site, sent["order_id"])
    assert paid["payment_intent"] == stored["payment_intent"]
    assert len(held(fresh, "stripe")["charges"]) == 1


def test_an_order_that_nobody_made_has_no_payment(site: httpx.Client) -> None:
    """Asking for an unknown order is 404."""
    answer = site.get("/api/payments/order-unknown")

    assert (answer.status_code, code(answer)) == (404, "NOT_FOUND")


# -- webhooks -------------------------------------------------------------------------


def deliver(
    site: httpx.Client, event: Json, secret: str = WEBHOOK_SECRET
) -> httpx.Response:
    """Send an event as Stripe does, signed with a secret."""
    body = json.dumps(event)
    signature = stripe.WebhookSignature.generate_signature_header(body, secret)
    headers = {"stripe-signature": signature, "content-type": "application/json"}
    return site.post("/api/webhooks/stripe", content=body, headers=headers)


def test_a_webhook_is_handled_once(
    fresh: Stack, site: httpx.Client, database: psycopg.Connection[Json]
) -> None:
    """The same event again is taken, and changes nothing."""
    sent = order()
    site.post("/api/payments", json=sent)
    wait_until_paid(site, sent["order_id"])
    (event,) = held(fresh, "stripe")["events"]
    database.execute("UPDATE payments SET status = 'processing'")

    answer = deliver(site, event)

    assert answer.status_code == 200
    assert answer.json() == {"received": True, "duplicate": True}
    payment = site.get(f"/api/payments/{sent['order_id']}").json()
    assert payment["status"] == "processing"
    assert database.execute("SELECT id FROM webhook_events").fetchall() == [
        {"id": event["id"]}
    ]


def test_a_webhook_that_is_not_from_stripe_is_no_critical_error(
    fresh: Stack, site: httpx.Client, database: psycopg.Connection[Json]
) -> None:
    """A wrong or missing signature is 400; nothing is stored, nobody is woken."""
    event = {"id": "evt_1", "object": "event", "type": "payment_intent.succeeded"}

    forged = deliver(site, event, secret="whsec_of_somebody_else")
    unsigned = site.post("/api/webhooks/stripe", json=event)

    for answer in (forged, unsigned):
        assert (answer.status_code, code(answer)) == (400, "BAD_SIGNATURE")
    assert database.execute("SELECT FROM webhook_events").fetchall() == []
    assert held(fresh, "sentry")["events"] == []


def test_only_what_stripe_says_when_asked_makes_an_order_paid(
    site: httpx.Client, database: psycopg.Connection[Json]
) -> None:
    """An event that says succeeded about a payment that is not is no payment."""
    sent = order(payment_method=DECLINING)
    site.post("/api/payments", json=sent)
    intent = site.get(f"/api/payments/{sent['order_id']}").json()["payment_intent"]
    event = {
        "id": "evt_early",
        "object": "event",
        "type": "payment_intent.succeeded",
        "data": {"object": {"id": intent, "object": "payment_intent"}},
    }

    answer = deliver(site, event)

    assert answer.status_code == 200
    stored = site.get(f"/api/payments/{sent['order_id']}").json()
    assert stored["status"] == "declined"
    names = [row["id"] for row in database.execute("SELECT id FROM webhook_events")]
    assert "evt_early" in names


# -- health, counters, bugs -----------------------------------------------------------


def test_health_names_every_dependency(site: httpx.Client, v1: httpx.Client) -> None:
    """All healthy is 200, and the answer is never kept by a cache."""
    for release in (site, v1):
        answer = release.get("/api/health")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        names = ("api", "database", "redis", "stripe", "auth")
        assert answer.json() == dict.fromkeys(names, "healthy")


def test_users_are_counted_and_probes_are_not(
    fresh: Stack, site: httpx.Client, redis: Redis
) -> None:
    """Each answered request counts in its second; probes and health do not."""
    probe = {"user-agent": "rollback-probe/1.0"}
    # What was counted before, and is written only now, has an earlier second.
    began = int(time.time()) + 1
    until(lambda: time.time() >= began, "a new second")
    for path in ("/", "/api/payments/none", "/api/timeline"):
        site.get(path)
        site.get(path, headers=probe)
        site.get("/api/health")
    deployment = fresh.deployments["v2"]

    def sums() -> Json:
        keys = redis.keys(f"requests:{deployment}:*")
        rows = [redis.hgetall(key) for key in keys if second(key) >= began]
        fields = ("requests", "failed", "slow")
        return {field: sum(int(row[field]) for row in rows) for field in fields}

    def second(key: object) -> int:
        return int(str(key).rpartition(":")[2])

    until(lambda: sums()["requests"] >= 3, "three requests are counted")
    site.get("/")
    until(lambda: sums()["requests"] >= 4, "the fourth request is counted")

    assert sums() == {"requests": 4, "failed": 0, "slow": 0}
    for key in redis.keys("requests:*"):
        assert began - 1 <= second(key) <= time.time()
        assert 3500 < redis.ttl(key) <= 3600


@pytest.mark.parametrize("path", ["/", "/api/health", "/api/payments/none"])
def test_a_probe_of_the_engine_leaves_a_second_with_nobody_in_it(
    fresh: Stack, v1: httpx.Client, redis: Redis, path: str
) -> None:
    """A night without visitors does not look like a dead counter."""
    v1.get("/api/health")  # by a monitor of somebody's: it says nothing
    v1.get(path, headers={"user-agent": "rollback-probe/1.0"})
    pattern = f"requests:{fresh.deployments['v1']}:*"

    until(lambda: bool(redis.keys(pattern)), "the app says that it is here")

    (key,) = redis.keys(pattern)
    assert redis.hgetall(key) == {"requests": "0", "failed": "0", "slow": "0"}
    assert 3500 < redis.ttl(key) <= 3600


def test_a_bug_is_told_to_sentry_and_not_to_the_user(
    fresh: Stack,
    site: httpx.Client,
    redis: Redis,
    database: psycopg.Connection[Json],
) -> None:
    """An unexpected exception is 500 INTERNAL, an event with tags, and a failure."""
    database.execute("ALTER TABLE submissions RENAME TO elsewhere")
    try:
        answer = site.post(FORM, json={"answers": {}})
    finally:
        database.execute("ALTER TABLE elsewhere RENAME TO submissions")

    assert (answer.status_code, code(answer)) == (500, "INTERNAL")
    assert "submissions" not in answer.text
    until(lambda: bool(held(fresh, "sentry")["events"]), "Sentry has the event")
    (event,) = held(fresh, "sentry")["events"]
    assert event["tags"]["error_code"] == "INTERNAL"
    assert event["tags"]["deployment"] == fresh.deployments["v2"]
    assert event["release"] == fresh.git_shas["v2"]
    assert event["environment"] == "production"
    pattern = f"requests:{fresh.deployments['v2']}:*"

    def failed() -> int:
        keys = redis.keys(pattern)
        return sum(int(redis.hget(key, "failed") or 0) for key in keys)

    until(lambda: failed() == 1, "the failure is counted")


# -- migrations -----------------------------------------------------------------------


@pytest.fixture
def empty(database: psycopg.Connection[Json]) -> Iterator[str]:
    """The address of a database with nothing in it."""
    name = f"empty_{uuid.uuid4().hex}"
    database.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    info = database.info
    yield (f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{name}")
    database.execute(
        sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
    )


def schema(url: str) -> list[tuple[Any, ...]]:
    """Every column, index and view of the app's own tables."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public'"
            " AND table_name <> 'schema_migrations'"
            " UNION ALL SELECT tablename, indexname, indexdef, '', ''"
            " FROM pg_indexes WHERE schemaname = 'public'"
            " AND tablename <> 'schema_migrations'"
            " UNION ALL SELECT viewname, 'view', definition, '', ''"
            " FROM pg_views WHERE schemaname = 'public' ORDER BY 1, 2, 3"
        ).fetchall()


def test_each_rollback_script_takes_back_its_migration(empty: str) -> None:
    """Up and down a step at a time, the schema is what it was before."""
    versions = [path.stem for path in sorted(MIGRATIONS.glob("[0-9]*.sql"))]
    assert versions == ["001", "002", "003", "004", "005", "006"]
    before = []
    for version in versions:
        before.append(schema(empty))
        assert migrate(empty, version) == [version]

    for version, expected in zip(reversed(versions), reversed(before), strict=True):
        script = (MIGRATIONS / f"rollback_{version}.sql").read_text()
        with psycopg.connect(empty) as connection:
            connection.execute(script)
        assert schema(empty) == expected


def test_migrations_are_applied_once_in_order_and_whole(
    empty: str, tmp_path: Path
) -> None:
    """What is applied stays; a script that fails leaves nothing, nor history."""
    assert migrate(empty, "002") == ["001", "002"]
    assert migrate(empty, "003") == ["003"]
    assert migrate(empty, "003") == []
    (tmp_path / "004.sql").write_text("CREATE TABLE half (); SELECT 1 / 0;")

    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty, folder=tmp_path)
    with pytest.raises(ValueError, match="no migration 999"):
        migrate(empty, "999")

    with psycopg.connect(empty) as connection:
        history = connection.execute(
            "SELECT version FROM schema_migrations WHERE applied_at <= now() ORDER BY 1"
        ).fetchall()
        assert history == [("001",), ("002",), ("003",)]
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)


def test_migrate_is_a_command(empty: str) -> None:
    """It says what it applied; an unknown version is one sentence and exit 2."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stack.app.migrate", empty, *arguments]
        return subprocess.run(  # noqa: S603 - our own module
            command, capture_output=True, text=True, check=False, env=os.environ
        )

    done, refused = run("--to", "001"), run("--to", "007")

    assert (done.returncode, done.stdout) == (0, "applied: 001\n")
    assert refused.returncode == 2
    assert "no migration 007" in refused.stderr
    assert "Traceback" not in refused.stderr
