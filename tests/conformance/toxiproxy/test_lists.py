"""The toxics of a proxy, as the HTTP API lists and changes them."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conformance.toxiproxy.doing import error

TOXICS = "/proxies/p/toxics"
DEFAULTS = {
    "bandwidth": {"rate": 0},
    "latency": {"latency": 0, "jitter": 0},
    "limit_data": {"bytes": 0},
    "noop": {},
    "reset_peer": {"timeout": 0},
    "slicer": {"average_size": 0, "size_variation": 0, "delay": 0},
    "slow_close": {"delay": 0},
    "timeout": {"timeout": 0},
}


@pytest.fixture
def api(http: httpx.Client) -> Iterator[httpx.Client]:
    """The API, with one proxy."""
    http.post("/proxies", json={"name": "p", "upstream": "127.0.0.1:1"})
    yield http
    http.delete("/proxies/p")


def add(api: httpx.Client, **body: object) -> dict[str, Any]:
    """Add a toxic."""
    answer = api.post(TOXICS, json=body)
    assert answer.status_code == 200, answer.text
    added: dict[str, Any] = answer.json()
    return added


@pytest.mark.parametrize("kind", DEFAULTS)
def test_defaults(api: httpx.Client, kind: str) -> None:
    """A toxic of which only the type is given is downstream, certain, and all zero."""
    name = f"{kind}_downstream"
    expected = {
        "attributes": DEFAULTS[kind],
        "name": name,
        "type": kind,
        "stream": "downstream",
        "toxicity": 1.0,
    }
    assert add(api, type=kind) == expected
    assert api.get(f"{TOXICS}/{name}").json() == expected
    assert api.get(TOXICS).json() == [expected]
    assert api.get("/proxies/p").json()["toxics"] == [expected]


def test_what_is_given_is_kept(api: httpx.Client) -> None:
    """Name, stream, toxicity and attributes are those that were sent."""
    body = {
        "attributes": {"latency": 100, "jitter": 10},
        "name": "slow",
        "type": "latency",
        "stream": "upstream",
        "toxicity": 0.25,
    }
    assert add(api, **body) == body


def test_keys_and_stream_in_any_case(api: httpx.Client) -> None:
    """Keys match in any case, and so does the stream, which is shown as written."""
    body = {"Type": "latency", "Stream": "UPSTREAM", "Attributes": {"Latency": 7}}
    added = add(api, **body)
    assert added["attributes"] == {"latency": 7, "jitter": 0}
    assert (added["stream"], added["name"]) == ("UPSTREAM", "latency_UPSTREAM")


def test_unknown_and_flat_attributes_do_nothing(api: httpx.Client) -> None:
    """Attributes that the type does not have, or outside their object, are ignored."""
    added = add(api, type="latency", latency=7, attributes={"rate": 5, "jitter": None})
    assert added["attributes"] == {"latency": 0, "jitter": 0}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"type": "slicker"}, "invalid toxic type"),
        ({}, "invalid toxic type"),
        (
            {"type": "latency", "stream": "sideways"},
            "stream was invalid, can be either upstream or downstream",
        ),
        (
            {"type": "slicker", "stream": "sideways"},
            "stream was invalid, can be either upstream or downstream",
        ),
        ([], "bad request body: "),
        ({"type": "latency", "attributes": {"latency": "1"}}, "bad request body: "),
        ({"type": "latency", "attributes": {"latency": 1.5}}, "bad request body: "),
        ({"type": "latency", "attributes": {"latency": 10**20}}, "bad request body: "),
        ({"type": "latency", "attributes": {"latency": True}}, "bad request body: "),
        ({"type": "latency", "attributes": 5}, "bad request body: "),
        ({"type": "latency", "toxicity": "high"}, "bad request body: "),
    ],
)
def test_add_refuses(api: httpx.Client, body: object, reason: str) -> None:
    """What is no toxic is 400 with the original's reason, and is not added."""
    status, said = error(api.post(TOXICS, json=body))
    assert status == 400
    assert said.startswith(reason)
    assert api.get(TOXICS).json() == []


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_names_are_unique_across_streams(api: httpx.Client, stream: str) -> None:
    """A name that is taken, on this stream or the other, is 409."""
    add(api, type="latency", name="same", stream=stream)
    body = {"type": "bandwidth", "name": "same", "stream": "downstream"}
    assert error(api.post(TOXICS, json=body)) == (409, "toxic already exists")


def test_upstream_is_listed_first(api: httpx.Client) -> None:
    """The list has the upstream chain and then the downstream one, each in order."""
    for name, stream in (("a", "downstream"), ("b", "upstream"), ("c", "upstream")):
        add(api, type="noop", name=name, stream=stream)
    assert [toxic["name"] for toxic in api.get(TOXICS).json()] == ["b", "c", "a"]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_update_merges(api: httpx.Client, method: str) -> None:
    """An update changes the attributes sent and the toxicity, and nothing else."""
    added = add(api, type="latency", attributes={"latency": 100, "jitter": 10})
    body = {
        "attributes": {"latency": 200},
        "toxicity": 0.5,
        "name": "other",
        "type": "timeout",
        "stream": "upstream",
    }
    answer = api.request(method, f"{TOXICS}/latency_downstream", json=body)
    expected = {"attributes": {"latency": 200, "jitter": 10}, "toxicity": 0.5}
    assert answer.status_code == 200
    assert answer.json() == added | expected
    assert api.get(TOXICS).json() == [added | expected]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_unknown_toxic(api: httpx.Client, method: str) -> None:
    """Whatever is asked of a toxic that is not there, the answer is 404."""
    answer = api.request(method, f"{TOXICS}/none", content="{}")
    assert error(answer) == (404, "toxic not found")


def test_delete(api: httpx.Client) -> None:
    """A deleted toxic is gone: 204 without a body, and its name is free."""
    add(api, type="noop")
    answer = api.delete(f"{TOXICS}/noop_downstream")
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get(TOXICS).json() == []
    add(api, type="noop")
