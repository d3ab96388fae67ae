"""Where this fault proxy does more than the original, or better, on purpose."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from statistics import median

import httpx
import pytest

from stack.toxiproxy.client.api import Client
from tests.conformance.toxiproxy.doing import (
    LATENCY,
    SLACK_S,
    add,
    create,
    error,
    is_reset,
    round_trip,
)
from tests.conformance.toxiproxy.fixtures import api, client, http, listen, old, proxy
from tests.integration.test_toxiproxy_process import (
    connect,
    echo,
    free_port,
    receive,
    running,
    until,
    upstream,
)

__all__ = ["api", "client", "http", "listen", "old", "proxy"]  # fixtures


@pytest.fixture(scope="module")
def program() -> Iterator[tuple[Client, int]]:
    """One program for all these tests, and its process id."""
    with running() as (client, process):
        yield client, process.pid


def test_stats_are_on_one_proxy_alone(api: httpx.Client, proxy: str) -> None:
    """The extra key is where it is documented and nowhere else."""
    zero = {
        "connections": 0,
        "refused": 0,
        "bytes_upstream": 0,
        "bytes_downstream": 0,
        "dropped_bytes": 0,
        "resets": 0,
    }
    assert api.get(proxy).json()["stats"] == zero
    assert "stats" not in api.get("/proxies").json()["p"]
    assert "stats" not in api.patch(proxy, json={}).json()


@pytest.mark.parametrize(
    ("kind", "attribute"),
    [("bandwidth", "rate"), ("slicer", "average_size"), ("slicer", "size_variation")],
)
def test_what_the_original_dies_of_is_refused(
    api: httpx.Client, proxy: str, kind: str, attribute: str
) -> None:
    """A negative size or rate is 400, new or in an update, and changes nothing."""
    reason = f"bad request body: {attribute} must not be negative"
    toxics = f"{proxy}/toxics"
    body = {"type": kind, "attributes": {attribute: -1}}
    assert error(api.post(toxics, json=body)) == (400, reason)
    assert api.get(toxics).json() == []
    added = api.post(toxics, json=body | {"attributes": {attribute: 5}}).json()
    answer = api.patch(f"{toxics}/{added['name']}", json=body)
    assert error(answer) == (400, reason)
    assert api.get(toxics).json() == [added]


def test_a_slicer_without_a_size_cuts_nothing(
    client: Client, old: socket.socket
) -> None:
    """With the defaults, of which the original dies, all arrives as it came."""
    add(client, "slicer")
    assert round_trip(old, b"x" * 1000) < SLACK_S


def test_a_variation_above_the_average_loses_nothing(
    client: Client, old: socket.socket
) -> None:
    """Sizes that vary by more than they are, of which the original may die, hold."""
    add(client, "slicer", average_size=2, size_variation=50)
    assert round_trip(old, bytes(range(256)) * 20) < 2 * SLACK_S


def test_what_is_swallowed_or_refused_is_counted(
    client: Client, old: socket.socket
) -> None:
    """Bytes that a toxic throws away are told, and so are clients without upstream."""
    name = add(client, "timeout")
    old.sendall(b"ping")
    until(lambda: dropped(client) == 4, "what a timeout swallows is counted")
    client.call("PATCH", f"/proxies/p/toxics/{name}", {"toxicity": 0})
    add(client, "limit_data", bytes=10)
    old.sendall(b"x" * 100)
    assert len(receive(old, 100)) == 10
    assert dropped(client) == 94
    made = client.create("q", f"127.0.0.1:{free_port()}")
    with connect(made["listen"]) as connection:
        assert connection.recv(1) == b""
    assert client.proxy("q")["stats"]["refused"] == 1


def dropped(client: Client) -> int:
    """What the toxics of p threw away so far."""
    return int(client.proxy("p")["stats"]["dropped_bytes"])


def test_reset_goes_on_after_a_failure(api: httpx.Client) -> None:
    """One proxy that cannot listen is reported, and does not keep others broken."""
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        taken = "127.0.0.1:{1}".format(*occupant.getsockname())
        create(api, "a", listen=taken, enabled=False)
        create(api, "b")
        for name in ("a", "b"):
            api.post(f"/proxies/{name}/toxics", json=LATENCY)
        status, said = error(api.post("/reset"))
    assert status == 500
    assert said == f"listen tcp {taken}: bind: address already in use"
    after = api.get("/proxies").json().values()
    assert [proxy["toxics"] for proxy in after] == [[], []]


def luck(seed: int, address: str) -> tuple[str, list[float]]:
    """Whom a toxicity of one half hits, as x and dot, and what jitter adds."""
    hits = ""
    with running("-seed", seed) as (client, _):
        listen = client.create("p", address)["listen"]
        name = add(client, "limit_data", toxicity=0.5)
        for _ in range(24):
            with connect(listen) as connection, suppress(ConnectionResetError):
                connection.sendall(b"x")
                hits += "." if connection.recv(1) else "x"
        client.remove_toxic("p", name)
        add(client, "latency", latency=100, jitter=100)
        with connect(listen) as connection:
            return hits, [round_trip(connection) for _ in range(5)]


def test_seed_decides_toxicity_and_jitter() -> None:
    """The same seed hits the same connections and adds the same; another does not."""
    with upstream(echo) as address:
        first, again, other = (luck(seed, address) for seed in (7, 7, 8))
    assert first[0] == again[0] != other[0]
    assert set(first[0]) == {"x", "."}
    assert apart(first[1], again[1]) < 0.02 < apart(first[1], other[1])


def apart(some: list[float], others: list[float]) -> float:
    """By how many seconds two lists of delays differ, one or two stalls aside."""
    return median(abs(one - other) for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_reset_bites_old_and_new(
    client: Client, old: socket.socket, listen: str, stream: str
) -> None:
    """A connection older than the toxic is reset too, when it is used."""
    add(client, "reset_peer", stream)
    with connect(listen) as new:
        assert is_reset(old)
        assert is_reset(new)
    assert client.proxy("p")["stats"]["resets"] == 2


def test_reset_is_seen_by_the_server(client: Client) -> None:
    """The upstream side is reset as well."""
    seen = []

    def watch(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        try:
            seen.append(connection.recv(1))
        except ConnectionResetError:
            seen.append(b"reset")

    with upstream(watch) as address:
        listen = client.create("p", address)["listen"]
        with connect(listen) as connection:
            assert receive(connection, 5) == b"hello"
            add(client, "reset_peer", "upstream")
            connection.sendall(b"x")
            until(lambda: seen == [b"reset"], "the server sees a reset")


def test_stats_tell_what_flows(client: Client, listen: str) -> None:
    """Bytes are counted each way while the connection is still open."""
    with connect(listen) as connection:
        connection.sendall(b"x" * 1000)
        assert len(receive(connection, 1000)) == 1000
        stats = client.proxy("p")["stats"]
    assert (stats["bytes_upstream"], stats["bytes_downstream"]) == (1000, 1000)
    assert (stats["connections"], stats["dropped_bytes"]) == (1, 0)
