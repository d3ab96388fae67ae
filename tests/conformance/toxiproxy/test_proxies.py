"""The HTTP API of proxies: statuses, words, addresses."""

import httpx
import pytest

from tests.conformance.toxiproxy.doing import LATENCY, NOWHERE, create, error, listens
from tests.integration.test_toxiproxy_process import free_port


def test_version(api: httpx.Client) -> None:
    """/version says 2.12.0, to the byte."""
    answer = api.get("/version")
    assert answer.text == '{"version": "2.12.0"}\n'
    assert answer.headers["content-type"] == "application/json;charset=utf-8"


def test_each_answer_has_an_id_of_its_own(api: httpx.Client) -> None:
    """X-Toxiproxy-Request-Id is on every answer and never twice the same."""
    paths = ("/version", "/proxies", "/proxies/none")
    ids = {api.get(path).headers["X-Toxiproxy-Request-Id"] for path in paths}
    assert len(ids) == 3


def test_browsers_are_turned_away(api: httpx.Client) -> None:
    """A User-Agent that begins with Mozilla/ is answered 403."""
    answer = api.get("/proxies", headers={"User-Agent": "Mozilla/5.0 (X11) Firefox"})
    assert (answer.status_code, answer.text) == (403, "User agent not allowed\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/proxies/", 404),
        ("GET", "/metrics", 404),
        ("PUT", "/proxies", 405),
        ("GET", "/reset", 405),
    ],
)
def test_no_such_route(api: httpx.Client, method: str, path: str, status: int) -> None:
    """What the original does not route is 404, or 405 for another method's path."""
    assert api.request(method, path).status_code == status


def test_create_gives_the_proxy(api: httpx.Client) -> None:
    """A new proxy is 201, in the original's words, with the port that it got."""
    answer = api.post(
        "/proxies",
        json={"name": "p", "listen": "127.0.0.1:0", "upstream": "example.test:80"},
    )
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert listens(made.pop("listen"))
    assert made == {
        "name": "p",
        "upstream": "example.test:80",
        "enabled": True,
        "Logger": {},
        "toxics": [],
    }


def test_listen_becomes_the_resolved_address(api: httpx.Client) -> None:
    """A host name in listen is shown as the address that it stands for."""
    port = free_port()
    made = create(api, "p", listen=f"localhost:{port}")
    assert made["listen"] == f"127.0.0.1:{port}"


def test_disabled_proxy_keeps_listen_as_written(api: httpx.Client) -> None:
    """A proxy made disabled does not listen, nor resolve until it is enabled."""
    port = free_port()
    made = create(api, "p", listen=f"localhost:{port}", enabled=False)
    assert (made["listen"], made["enabled"]) == (f"localhost:{port}", False)
    assert not listens(f"127.0.0.1:{port}")
    enabled = api.patch("/proxies/p", json={"enabled": True}).json()
    assert (enabled["listen"], enabled["enabled"]) == (f"127.0.0.1:{port}", True)
    assert listens(enabled["listen"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{}", "missing required field: name"),
        ('{"name": "p"}', "missing required field: upstream"),
        ("", "bad request body: EOF"),
        ('{"name": "p', "bad request body: unexpected EOF"),
        ('{"name": "p"', "bad request body: unexpected EOF"),
        ("[]", "bad request body: "),
        ("p", "bad request body: "),
        ('{"name": 5}', "bad request body: json: cannot unmarshal number into Go"),
        ('{"enabled": 1}', "bad request body: json: cannot unmarshal number into Go"),
    ],
)
def test_create_refuses_bad_bodies(api: httpx.Client, body: str, reason: str) -> None:
    """A body that is no proxy is 400, with the original's reason."""
    status, said = error(api.post("/proxies", content=body))
    assert status == 400
    assert said.startswith(reason)


def test_bodies_are_read_as_go_reads_them(api: httpx.Client) -> None:
    """Keys in any case count, unknown keys and what follows the body do not."""
    body = '{"NAME": "p", "Upstream": "a:1", "enabled": null, "color": 1} trailing'
    made = api.post("/proxies", content=body).json()
    assert (made["name"], made["upstream"], made["enabled"]) == ("p", "a:1", True)


def test_create_refuses_a_name_that_is_taken(api: httpx.Client) -> None:
    """A second proxy of the same name is 409."""
    create(api, "p")
    body = {"name": "p", "upstream": NOWHERE}
    assert error(api.post("/proxies", json=body)) == (409, "proxy already exists")


def test_create_refuses_a_port_that_is_taken(api: httpx.Client) -> None:
    """A port in use is 500 with Go's words, and there is no such proxy after."""
    listen = create(api, "p")["listen"]
    body = {"name": "q", "listen": listen, "upstream": NOWHERE}
    reason = f"listen tcp {listen}: bind: address already in use"
    assert error(api.post("/proxies", json=body)) == (500, reason)
    assert list(api.get("/proxies").json()) == ["p"]


def test_create_refuses_an_address_without_port(api: httpx.Client) -> None:
    """A listen address without a port is 500 with Go's words."""
    body = {"name": "p", "listen": "local373", "upstream": NOWHERE}
    status, said = error(api.post("/proxies", json=body))
    assert status == 500
    assert said.endswith("address local373: missing port in address")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/toxics"),
        ("POST", "/toxics"),
        ("GET", "/toxics/t"),
        ("PATCH", "/toxics/t"),
        ("DELETE", "/toxics/t"),
    ],
)
def test_unknown_proxy(api: httpx.Client, method: str, path: str) -> None:
    """Whatever is asked of a proxy that is not there, the answer is 404."""
    answer = api.request(method, f"/proxies/none{path}", content="{}")
    assert error(answer) == (404, "proxy not found")


def test_index_is_a_map_by_name(api: httpx.Client) -> None:
    """GET /proxies gives every proxy under its name, in the order of names."""
    for name in ("b", "a"):
        create(api, name)
    assert list(api.get("/proxies").json()) == ["a", "b"]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_update_changes_what_is_sent(api: httpx.Client, method: str) -> None:
    """Both methods change the upstream alone, and keep port and toxics."""
    before = create(api, "p")
    api.post("/proxies/p/toxics", json=LATENCY)
    answer = api.request(method, "/proxies/p", json={"upstream": "b:2", "name": "q"})
    after = answer.json()
    assert answer.status_code == 200
    assert (after["name"], after["upstream"]) == ("p", "b:2")
    assert after["listen"] == before["listen"]
    assert [toxic["name"] for toxic in after["toxics"]] == ["latency_downstream"]


def test_update_moves_the_listener(api: httpx.Client) -> None:
    """After a change of listen, the new port accepts and the old one refuses."""
    before = create(api, "p")["listen"]
    wanted = f"127.0.0.1:{free_port()}"
    assert api.patch("/proxies/p", json={"listen": wanted}).json()["listen"] == wanted
    assert (listens(before), listens(wanted)) == (False, True)


def test_update_to_a_taken_port_leaves_it_stopped(api: httpx.Client) -> None:
    """A port in use is 500, and the proxy is off until it is given another."""
    taken = create(api, "q")["listen"]
    create(api, "p")
    assert api.patch("/proxies/p", json={"listen": taken}).status_code == 500
    assert api.get("/proxies/p").json()["enabled"] is False
    body = {"listen": "127.0.0.1:0", "enabled": True}
    assert listens(api.patch("/proxies/p", json=body).json()["listen"])


def test_toxics_survive_a_disabled_time(api: httpx.Client, proxy: str) -> None:
    """Disabling refuses connections; enabling brings back port and toxics."""
    api.post(f"{proxy}/toxics", json=LATENCY)
    off = api.patch(proxy, json={"enabled": False}).json()
    assert not listens(off["listen"])
    on = api.patch(proxy, json={"enabled": True}).json()
    assert on == off | {"enabled": True}
    assert listens(on["listen"])


def test_delete_frees_port_and_name(api: httpx.Client) -> None:
    """A deleted proxy is gone: 204, then 404, and its port refuses."""
    listen = create(api, "p")["listen"]
    assert api.delete("/proxies/p").status_code == 204
    assert api.get("/proxies/p").status_code == 404
    assert not listens(listen)
    assert create(api, "p", listen=listen)["listen"] == listen
