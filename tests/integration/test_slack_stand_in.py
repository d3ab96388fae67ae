"""The stand-in for Slack: takes what Slack takes, in its words and at its pace."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from .stand_ins import running

HOOK = "/services/T0000/B0000/test"
BOT = {"Authorization": "Bearer xoxb-test"}
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "*down*"}}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run the stand-in as its own process."""
    with running("slack", path=HOOK) as url:
        yield url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """Give a client of a stand-in without messages."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        client.post("/_control/reset").raise_for_status()
        yield client


def _messages(http: httpx.Client) -> list[dict[str, Any]]:
    state: dict[str, list[dict[str, Any]]] = http.get("/_control/state").json()
    return state["messages"]


def test_a_message_is_taken(http: httpx.Client) -> None:
    """The webhook answers ``ok`` and shows the message with the time it came."""
    before = time.time()
    answer = http.post(HOOK, json={"text": "rolling back", "blocks": [SECTION]})
    assert (answer.status_code, answer.text) == (200, "ok")
    (message,) = _messages(http)
    assert message["text"] == "rolling back"
    assert message["blocks"] == [SECTION]
    assert before <= message["received_at"] <= time.time()


def test_the_older_form_is_taken(http: httpx.Client) -> None:
    """JSON in the form field ``payload`` is a message too."""
    answer = http.post(HOOK, data={"payload": '{"text": "rolling back"}'})
    assert answer.text == "ok"
    assert _messages(http)[0]["text"] == "rolling back"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("no json", "invalid_payload"),
        ("[]", "invalid_payload"),
        ('{"text": 5}', "invalid_payload"),
        ("{}", "no_text"),
        ('{"text": ""}', "no_text"),
        ('{"text": null, "blocks": []}', "no_text"),
        ('{"text": "a", "blocks": "b"}', "invalid_blocks"),
        ('{"text": "a", "blocks": [{}]}', "invalid_blocks"),
        (json.dumps({"blocks": [SECTION] * 51}), "invalid_blocks"),
    ],
)
def test_what_is_no_message_is_refused(
    http: httpx.Client, body: str, word: str
) -> None:
    """A bad payload is answered 400 with Slack's own word, and not kept."""
    answer = http.post(HOOK, content=body)
    assert (answer.status_code, answer.text) == (400, word)
    assert _messages(http) == []


def test_another_path_is_no_service(http: httpx.Client) -> None:
    """The path is the secret: with another one nothing is taken."""
    answer = http.post("/services/T0000/B0000/other", json={"text": "hello"})
    assert (answer.status_code, answer.text) == (404, "no_service")
    assert _messages(http) == []


def test_more_than_a_burst_has_to_wait(http: httpx.Client) -> None:
    """After ten messages at once Slack says when to come again, and then takes it."""
    answers = [http.post(HOOK, json={"text": str(number)}) for number in range(20)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert 10 <= len(_messages(http)) == 20 - len(refused)
    # What Slack asks a client to do, and so no condition that could be awaited.
    time.sleep(int(refused[-1].headers["retry-after"]))
    assert http.post(HOOK, json={"text": "later"}).text == "ok"


def test_the_web_api_posts_a_message(http: httpx.Client) -> None:
    """``chat.postMessage`` takes a bot's message and gives its place in the channel."""
    body = {"channel": "C1", "text": "restored"}
    answer = http.post("/api/chat.postMessage", json=body, headers=BOT)
    assert answer.json()["ok"] is True
    assert answer.json()["channel"] == "C1"
    (message,) = _messages(http)
    assert (message["channel"], message["text"]) == ("C1", "restored")
    assert answer.json()["ts"] == f"{message['received_at']:.6f}"


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({}, {"channel": "C1", "text": "a"}, "not_authed"),
        ({"Authorization": "Bearer nobody"}, {"channel": "C1"}, "invalid_auth"),
        (BOT, {"text": "a"}, "channel_not_found"),
        (BOT, {"channel": "C1"}, "no_text"),
    ],
)
def test_the_web_api_denies_with_status_200(
    http: httpx.Client, headers: dict[str, str], body: dict[str, str], error: str
) -> None:
    """Slack's Web API says no in the body alone: whoever reads the status is wrong."""
    answer = http.post("/api/chat.postMessage", json=body, headers=headers)
    assert answer.status_code == 200
    assert answer.json() == {"ok": False, "error": error}
    assert _messages(http) == []
