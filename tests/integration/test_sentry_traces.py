"""The stand-in for Sentry, fed with transactions by Sentry's own SDK."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sentry_sdk

from .stand_ins import running

PUBLIC, TOKEN = "0123456789abcdef0123456789abcdef", "sntrys_test_token"
EVENTS = "/api/0/organizations/wedsync/events/"
BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=60)
OWN = {
    "spans": ["span.duration", "span.status", "span.status_code"],
    "transactions": ["transaction.duration", "transaction.status", "http.status_code"],
}


@pytest.fixture(scope="module")
def sentry() -> Iterator[httpx.Client]:
    """A stand-in with one transaction of two seconds, with one child, and one error."""
    names = {"public_key": PUBLIC, "project_id": "1", "org": "wedsync"}
    with running("sentry", **names, project="web", auth_token=TOKEN) as url:
        bearer = {"authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=url, headers=bearer, trust_env=False) as client:
            _send(url)
            deadline = time.monotonic() + 20
            while not _rows(client, "spans"):
                assert time.monotonic() < deadline, "it is not found"
                time.sleep(0.1)  # or the questions would use up Sentry's limit
            yield client


def _send(url: str) -> None:
    client = sentry_sdk.Client(
        dsn=url.replace("//", f"//{PUBLIC}@") + "/1",
        release="v1",
        environment="production",
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    with sentry_sdk.isolation_scope(), sentry_sdk.new_scope() as scope:
        scope.set_client(client)
        traced = sentry_sdk.start_transaction(
            op="http.server", name="GET /", start_timestamp=BEGAN
        )
        traced.start_child(op="db").finish()
        traced.set_http_status(503)
        traced.finish(end_timestamp=BEGAN + timedelta(seconds=2.25))
        scope.capture_message("no transaction")
    client.close(timeout=5)


def _rows(client: httpx.Client, dataset: str, **params: Any) -> list[dict[str, Any]]:
    asked = {"dataset": dataset, "field": "id", "statsPeriod": "1d"} | params
    answer = client.get(EVENTS, params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


@pytest.mark.parametrize(("dataset", "seconds"), [("spans", 0), ("transactions", 2)])
def test_a_transaction_of_the_sdk_is_found(
    sentry: httpx.Client, dataset: str, seconds: int
) -> None:
    """It has its duration, status and code; spans are dated by the beginning."""
    fields = ["timestamp", "release", "transaction.op", *OWN[dataset]]
    (row,) = _rows(sentry, dataset, field=fields)
    at = datetime.fromisoformat(row.pop("timestamp"))
    assert at == BEGAN + timedelta(seconds=seconds)
    expected = ["v1", "http.server", 2250.0, "unavailable", "503"]
    assert list(row.values()) == expected


def test_what_is_no_transaction_is_none(sentry: httpx.Client) -> None:
    """Errors and transactions are in data sets of their own."""
    (error,) = _rows(sentry, "errors", field="title")
    assert error == {"title": "no transaction"}
    assert len(_rows(sentry, "transactions")) == 1
    assert len(_rows(sentry, "spans", query="is_transaction:true release:v1")) == 1
    assert _rows(sentry, "spans", query="transaction.op:queue.task") == []


@pytest.mark.parametrize(
    ("dataset", "field"),
    [
        ("spans", "transaction.duration"),
        ("transactions", "span.duration"),
        ("errors", "span.duration"),
        ("discover", "id"),
    ],
)
def test_fields_are_of_one_data_set(
    sentry: httpx.Client, dataset: str, field: str
) -> None:
    """What another data set has is refused, and never looks like no value."""
    answer = sentry.get(EVENTS, params={"dataset": dataset, "field": field})
    assert answer.status_code == 400


def test_a_broken_transaction_is_refused(sentry: httpx.Client) -> None:
    """What lacks a transaction's parts gets 400 and is not kept."""
    for body in ("{}", '{"contexts":{}}', '{"contexts":{"trace":{"span_id":"a"}}}'):
        answer = sentry.post(
            "/api/1/envelope/",
            content=f'{{}}\n{{"type":"transaction"}}\n{body}',
            headers={"x-sentry-auth": f"Sentry sentry_key={PUBLIC}"},
        )
        assert answer.status_code == 400
    assert len(sentry.get("/_control/state").json()["transactions"]) == 1
