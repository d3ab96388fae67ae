"""The stand-in for Sentry, fed by Sentry's own SDK: finds what was asked, no more."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sentry_sdk

from .stand_ins import running

PUBLIC = "0123456789abcdef0123456789abcdef"
TOKEN = "sntrys_test_token"
V1, V2 = "1" * 40, "2" * 40
EVENTS = "/api/0/organizations/wedsync/events/"
PATIENCE_S = 10.0


@dataclass
class Sentry:
    """The stand-in, by a client with a valid token."""

    http: httpx.Client

    @property
    def dsn(self) -> str:
        """Where the SDK sends to."""
        return f"http://{PUBLIC}@127.0.0.1:{self.http.base_url.port}/1"

    def state(self) -> dict[str, Any]:
        """Look into the stand-in."""
        found: dict[str, Any] = self.http.get("/_control/state").json()
        return found

    def ask(self, query: str = "", **params: Any) -> httpx.Response:
        """Query the errors of the last minutes, with ids if nothing else is said."""
        asked = {"dataset": "errors", "field": "id", "statsPeriod": "10m"}
        return self.http.get(EVENTS, params=asked | {"query": query} | params)

    def rows(self, query: str = "", **params: Any) -> list[dict[str, Any]]:
        """Give the rows of an answer that must be 200."""
        answer = self.ask(query, **params)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    def envelope(self, body: bytes, **headers: str) -> httpx.Response:
        """Send an envelope that the SDK would not send."""
        named = {key.replace("_", "-"): word for key, word in headers.items()}
        return self.http.post("/api/1/envelope/", content=body, headers=named)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run the stand-in as its own process."""
    names = {"public_key": PUBLIC, "project_id": "1", "org": "wedsync"}
    access = {"project": "wedsync-web", "auth_token": TOKEN}
    with running("sentry", **names, **access) as url:
        yield url


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    """Connect once: to make a TLS context takes longer than a test."""
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=url, headers=bearer, trust_env=False) as client:
        yield client


@pytest.fixture
def sentry(http: httpx.Client) -> Sentry:
    """Give a stand-in without events."""
    http.post("/_control/reset").raise_for_status()
    return Sentry(http)


@contextmanager
def _sdk(dsn: str, **options: Any) -> Iterator[sentry_sdk.Scope]:
    """Give a scope of an SDK of its own; leaving waits until it has sent."""
    client = sentry_sdk.Client(
        dsn=dsn,
        default_integrations=False,
        auto_enabling_integrations=False,
        **({"release": V2, "environment": "production"} | options),
    )
    with sentry_sdk.isolation_scope(), sentry_sdk.new_scope() as scope:
        scope.set_client(client)
        yield scope
    client.close(timeout=PATIENCE_S)


def _report(sentry: Sentry, code: str, *, release: str = V2, **options: Any) -> None:
    with _sdk(sentry.dsn, release=release, **options) as scope:
        scope.set_tag("error_code", code)
        scope.set_tag("deployment", f"dpl_{release[0]}")
        scope.capture_message(f"{code} happened", level="error")


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


@pytest.fixture
def three(sentry: Sentry) -> Sentry:
    """Give a stand-in with two errors of v2, one of v1, all ready to be found."""
    _report(sentry, "DATABASE_CONNECTION_LOST")
    _report(sentry, "STRIPE_WEBHOOK_FAILED", environment="preview")
    _report(sentry, "DATABASE_CONNECTION_LOST", release=V1)
    _eventually(lambda: len(sentry.rows()) == 3)
    return sentry


@pytest.mark.parametrize("experiments", [{}, {"transport_compression_algo": "gzip"}])
def test_an_error_of_the_sdk_is_found(
    sentry: Sentry, experiments: dict[str, str]
) -> None:
    """What the SDK captures, however it packs it, comes out of the query as it was."""
    with _sdk(sentry.dsn, _experiments=experiments) as scope:
        scope.set_tag("error_code", "DATABASE_CONNECTION_LOST")
        event_id = scope.capture_exception(ConnectionError("no route"))
    fields = ["id", "title", "error_code", "release", "timestamp", "error.type"]
    _eventually(lambda: bool(sentry.rows()))
    answer = sentry.ask(f"release:{V2}", field=fields)
    (row,) = answer.json()["data"]
    stamp = datetime.fromisoformat(row.pop("timestamp"))
    assert datetime.now(UTC) - stamp < timedelta(minutes=1)
    assert row == {
        "id": event_id,
        "title": "ConnectionError: no route",
        "error_code": "DATABASE_CONNECTION_LOST",
        "release": V2,
        "error.type": "ConnectionError",
    }
    meta = answer.json()["meta"]["fields"]
    assert meta == dict.fromkeys(fields, "string") | {"timestamp": "date"}
    assert int(answer.headers["x-sentry-rate-limit-remaining"]) < 40


def test_the_state_shows_events(sentry: Sentry) -> None:
    """The state holds an event at once, with its tags, release and environment."""
    _report(sentry, "AUTH_SERVICE_DOWN")
    (event,) = sentry.state()["events"]
    assert event["message"] == "AUTH_SERVICE_DOWN happened"
    assert event["tags"] == {"error_code": "AUTH_SERVICE_DOWN", "deployment": "dpl_2"}
    assert (event["release"], event["environment"]) == (V2, "production")
    assert (event["level"], event["exception"]) == ("error", None)


def test_an_event_is_not_found_at_once(sentry: Sentry) -> None:
    """Between arrival and being found lies the time that Sentry needs to write."""
    _report(sentry, "AUTH_SERVICE_DOWN")
    _eventually(lambda: bool(sentry.rows()))
    found_at = datetime.now(UTC)
    (event,) = sentry.state()["events"]
    arrived_at = datetime.fromisoformat(event["received_at"])
    assert found_at - arrived_at >= timedelta(seconds=0.5)


def test_every_term_must_hold(three: Sentry) -> None:
    """A query finds the events of which every term is true."""
    expected = {
        "": 3,
        f"release:{V2}": 2,
        f"release:{V2} error_code:DATABASE_CONNECTION_LOST": 1,
        f'release:"{V2}" environment:production': 1,
        "error_code:[DATABASE_CONNECTION_LOST, STRIPE_WEBHOOK_FAILED]": 3,
        'error_code:["AUTH_SERVICE_DOWN",STRIPE_WEBHOOK_FAILED]': 1,
        "error_code:AUTH_SERVICE_DOWN": 0,
        "error_code:DATABASE": 0,
        "error_code:DATABASE*": 2,
        "!error_code:DATABASE*": 1,
        "tags[error_code]:STRIPE_WEBHOOK_FAILED deployment:dpl_2": 1,
        "has:error_code !has:deployment": 0,
        "timestamp:>=2020-01-01T00:00:00": 3,
        "timestamp:<2020-01-01T00:00:00+00:00": 0,
        "level:error event.type:default": 3,
        'message:"STRIPE_WEBHOOK_FAILED happened"': 1,
    }
    assert {query: len(three.rows(query)) for query in expected} == expected


def test_parameters_narrow_the_query(three: Sentry) -> None:
    """Environment, project and time leave out what is not theirs."""
    expected = {
        "environment=production": 2,
        "environment=production&environment=preview": 3,
        "environment=staging": 0,
        "project=wedsync-web": 3,
        "project=1": 3,
        "start=2020-01-01T00:00:00&end=2020-01-02T00:00:00": 0,
        "start=2020-01-01T00:00:00&end=2120-01-01T00:00:00": 3,
    }
    found = {
        params: len(three.http.get(f"{EVENTS}?field=id&{params}").json()["data"])
        for params in expected
    }
    assert found == expected


def test_old_events_fall_out_of_the_period(three: Sentry) -> None:
    """A period looks back from now, by the sender's own time."""
    old = {"event_id": "a" * 32, "timestamp": time.time() - 3600, "release": V1}
    body = b'{}\n{"type":"event"}\n' + json.dumps(old).encode()
    sent = three.envelope(body, X_Sentry_Auth=f"Sentry sentry_key={PUBLIC}")
    assert sent.json() == {"id": "a" * 32}
    _eventually(lambda: len(three.rows(statsPeriod="2h")) == 4)
    assert len(three.rows(statsPeriod="30m")) == 3


def test_errors_are_counted_by_group(three: Sentry) -> None:
    """With ``count()`` the other fields make the groups, sorted as asked."""
    fields = ["error_code", "count()"]
    answer = three.ask(field=fields, sort="-count()")
    assert answer.json()["data"] == [
        {"error_code": "DATABASE_CONNECTION_LOST", "count()": 2},
        {"error_code": "STRIPE_WEBHOOK_FAILED", "count()": 1},
    ]
    meta = answer.json()["meta"]["fields"]
    assert meta == {"error_code": "string", "count()": "integer"}
    upward = three.rows(field=fields, sort="count()")
    assert [row["count()"] for row in upward] == [1, 2]


def test_counting_nothing_gives_zero(sentry: Sentry) -> None:
    """A count without groups is one row also if there is nothing to count."""
    assert sentry.rows(field="count()") == [{"count()": 0}]
    assert sentry.rows(field=["release", "count()"]) == []


def test_pages_follow_the_link(three: Sentry) -> None:
    """The Link header leads through all rows, and says when there are no more."""
    seen, cursor = [], "0:0:0"
    for more in ("true", "true", "false"):
        answer = three.ask(per_page=1, cursor=cursor)
        seen += [row["id"] for row in answer.json()["data"]]
        following = answer.links["next"]
        assert following["results"] == more
        assert answer.links["previous"]["results"] == str(cursor != "0:0:0").lower()
        cursor = following["cursor"]
    assert sorted(seen) == sorted(row["id"] for row in three.rows())
    assert three.http.get(following["url"]).json()["data"] == []


@pytest.mark.parametrize(
    "params",
    [
        {"query": "relaese:1"},
        {"query": "release:"},
        {"query": "just words"},
        {"query": "release:[]"},
        {"query": "release:>1"},
        {"query": 'release:"open'},
        {"query": "(release:1 OR release:2)"},
        {"query": "timestamp:2026-01-01"},
        {"query": "timestamp:>soon"},
        {"dataset": "ourlogs"},
        {"field": []},
        {"field": "p95(duration)"},
        {"field": "colour"},
        {"field": [f"f{number}" for number in range(21)]},
        {"sort": "-timestamp"},
        {"per_page": "101"},
        {"per_page": "0"},
        {"cursor": "next"},
        {"statsPeriod": "ten minutes"},
        {"statsPeriod": None, "start": "2026-01-01T00:00:00"},
        {"statsPeriod": None, "start": "2026-01-02", "end": "2026-01-01"},
        {"statsPeriod": None, "start": "then", "end": "now"},
        {"enviroment": "production"},
    ],
)
def test_what_is_not_understood_is_refused(
    sentry: Sentry, params: dict[str, Any]
) -> None:
    """A slip in a query gets 400 and a reason, never an answer to something else."""
    asked = {"dataset": "errors", "field": "id", "statsPeriod": "10m"} | params
    given = {key: value for key, value in asked.items() if value is not None}
    answer = sentry.http.get(EVENTS, params=given)
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_a_period_of_nothing_said_is_long(three: Sentry) -> None:
    """Without a period and a dataset the last 90 days of errors are meant."""
    answer = three.http.get(EVENTS, params={"field": "id"})
    assert len(answer.json()["data"]) == 3


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (EVENTS, {"Authorization": "Bearer wrong"}, 401),
        (EVENTS, {"Authorization": ""}, 401),
        (EVENTS.replace("wedsync", "other"), {}, 404),
        (f"{EVENTS}?project=other", {}, 403),
    ],
)
def test_a_stranger_is_denied(
    sentry: Sentry, path: str, headers: dict[str, str], status: int
) -> None:
    """Without the token, or for another organization or project, there is nothing."""
    field = "&field=id" if "?" in path else "?field=id"
    answer = sentry.http.get(path + field, headers=headers)
    assert answer.status_code == status
    assert answer.json().keys() == {"detail"}


def test_asking_too_often_is_denied(sentry: Sentry) -> None:
    """More requests a second than Sentry allows get 429, with its headers."""
    # In one breath, as a client that waits for each answer may be too slow for this.
    asked = (
        f"GET {EVENTS}?field=id HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}"
    )
    port = sentry.http.base_url.port
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as line:
        line.sendall(f"{asked}\r\n\r\n".encode() * 120)
        line.sendall(f"{asked}\r\nConnection: close\r\n\r\n".encode())
        answers = line.makefile("rb").read().split(b"HTTP/1.1 ")[1:]
    allowed = [answer for answer in answers if answer.startswith(b"200 ")]
    denied = [answer.lower() for answer in answers if answer.startswith(b"429 ")]
    assert len(allowed) >= 40
    assert len(allowed) + len(denied) == 121
    assert denied
    assert b"x-sentry-rate-limit-limit: 40\r\n" in denied[0]
    assert b"x-sentry-rate-limit-remaining: 0\r\n" in denied[0]
    assert b"x-sentry-rate-limit-reset: " in denied[0]


def test_only_the_key_of_the_project_may_send(sentry: Sentry) -> None:
    """An envelope without a key gets 401, with another one 403; nothing is kept."""
    body = b'{}\n{"type":"event"}\n{}'
    assert sentry.envelope(body).status_code == 401
    wrong = f"Sentry sentry_key={'f' * 32}, sentry_version=7"
    assert sentry.envelope(body, X_Sentry_Auth=wrong).status_code == 403
    with _sdk(sentry.dsn.replace(PUBLIC, "f" * 32)) as scope:
        scope.capture_message("from elsewhere")
    assert sentry.state()["events"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no envelope",
        b"[]",
        b'{}\n{"type":"event","length":99}\n{}',
        b'{}\n{"type":"event"}\n[]',
        b'{}\n{"type":"event"}\n{"timestamp":"soon"}',
        b'{}\n{"type":"event"}\n{"tags":5}',
    ],
)
def test_a_broken_envelope_is_refused(sentry: Sentry, body: bytes) -> None:
    """What is no envelope, or holds no event where it says so, gets 400."""
    key = f"Sentry sentry_key={PUBLIC}"
    answer = sentry.envelope(body, X_Sentry_Auth=key)
    assert answer.status_code == 400
    packed = sentry.envelope(b"{}", X_Sentry_Auth=key, Content_Encoding="gzip")
    assert packed.status_code == 400
    assert sentry.state()["events"] == []


def test_other_items_are_let_pass(sentry: Sentry) -> None:
    """Sessions and the like are taken without complaint, and are no errors."""
    with _sdk(sentry.dsn, auto_session_tracking=True) as scope:
        scope.start_session()
        scope.end_session()
    _eventually(lambda: "session" in sentry.state()["ignored_items"])
    assert sentry.state()["events"] == []


def test_one_event_is_kept_once(sentry: Sentry) -> None:
    """An event that is sent twice is one event."""
    body = b'{}\n{"type":"event"}\n{"event_id":"' + b"b" * 32 + b'"}\n'
    for _ in range(2):
        sentry.envelope(body, X_Sentry_Auth=f"Sentry sentry_key={PUBLIC}")
    assert len(sentry.state()["events"]) == 1
