"""Populate and reset, which change many proxies at once."""

import httpx
import pytest

from tests.conformance.toxiproxy.doing import LATENCY, NOWHERE, create, error, listens


def test_populate_makes_proxies(api: httpx.Client) -> None:
    """POST /populate makes each proxy, enabled unless it says otherwise."""
    body = [
        {"name": "a", "listen": "127.0.0.1:0", "upstream": NOWHERE},
        {"name": "b", "listen": "127.0.0.1:0", "upstream": NOWHERE, "enabled": False},
    ]
    answer = api.post("/populate", json=body)
    made = answer.json()["proxies"]
    assert answer.status_code == 201
    assert [(p["name"], p["enabled"]) for p in made] == [("a", True), ("b", False)]
    assert listens(made[0]["listen"])
    assert list(api.get("/proxies").json()) == ["a", "b"]


def test_populate_keeps_what_is_the_same(api: httpx.Client) -> None:
    """A proxy with the same addresses is left alone, host names resolved."""
    listen = create(api, "a")["listen"]
    api.post("/proxies/a/toxics", json=LATENCY)
    same = listen.replace("127.0.0.1", "localhost")
    body = [{"name": "a", "listen": same, "upstream": NOWHERE, "enabled": False}]
    kept = api.post("/populate", json=body).json()["proxies"][0]
    assert (kept["listen"], kept["enabled"]) == (listen, True)
    assert len(kept["toxics"]) == 1


def test_populate_replaces_what_differs(api: httpx.Client) -> None:
    """A proxy with another upstream is made anew on the same port, without toxics."""
    listen = create(api, "a")["listen"]
    api.post("/proxies/a/toxics", json=LATENCY)
    body = [{"name": "a", "listen": listen, "upstream": "b:2"}]
    new = api.post("/populate", json=body).json()["proxies"][0]
    assert (new["listen"], new["upstream"], new["toxics"]) == (listen, "b:2", [])


@pytest.mark.parametrize("field", ["name", "upstream"])
def test_populate_checks_all_before_it_makes_any(api: httpx.Client, field: str) -> None:
    """A field missing in the second proxy is 400, and the first is not made."""
    good = {"name": "a", "listen": "127.0.0.1:0", "upstream": NOWHERE}
    answer = api.post("/populate", json=[good, good | {field: ""}])
    assert error(answer) == (400, f"missing required field: {field} at proxy 2")
    assert answer.json()["proxies"] is None
    assert api.get("/proxies").json() == {}


def test_populate_keeps_those_before_a_failure(api: httpx.Client) -> None:
    """Where the second cannot listen, the first is listed, and the third not made."""
    names = ("a", "b", "c")
    body = [{"name": n, "listen": "127.0.0.1:0", "upstream": NOWHERE} for n in names]
    body[1]["listen"] = "local373"
    answer = api.post("/populate", json=body)
    assert error(answer)[0] == 500
    assert [proxy["name"] for proxy in answer.json()["proxies"]] == ["a"]
    assert list(api.get("/proxies").json()) == ["a"]


@pytest.mark.parametrize(
    ("body", "status"), [("[]", 201), ("{}", 400), ("", 400), ("[5]", 400)]
)
def test_populate_with_nothing(api: httpx.Client, body: str, status: int) -> None:
    """No proxies are null, as Go writes them; what is no array is 400."""
    answer = api.post("/populate", content=body)
    assert answer.status_code == status
    assert answer.json()["proxies"] is None


def test_populated_proxies_take_toxics(api: httpx.Client) -> None:
    """What was populated is a proxy like any other."""
    api.post("/populate", json=[{"name": "a", "upstream": NOWHERE}])
    assert api.post("/proxies/a/toxics", json=LATENCY).status_code == 200


def test_reset_enables_and_clears(api: httpx.Client, proxy: str) -> None:
    """POST /reset enables every proxy and removes every toxic."""
    create(api, "q")
    api.post("/proxies/q/toxics", json=LATENCY)
    api.patch(proxy, json={"enabled": False})
    answer = api.post("/reset")
    assert (answer.status_code, answer.content) == (204, b"")
    for after in api.get("/proxies").json().values():
        assert (after["enabled"], after["toxics"]) == (True, [])
        assert listens(after["listen"])
