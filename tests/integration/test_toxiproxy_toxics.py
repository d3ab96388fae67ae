"""What each toxic does to connections, old and new, and what its removal does."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from statistics import median

import pytest

from stack.toxiproxy.client.api import Client
from tests.integration.test_toxiproxy_process import (
    connect,
    echo,
    receive,
    running,
    until,
    upstream,
)

BRIEF_S = 0.3
"""How long silence is listened to."""
SLACK_S = 1.0
"""How late a busy machine may make anything."""


@pytest.fixture(scope="module")
def program() -> Iterator[tuple[Client, int]]:
    """One program for all these tests, and its process id."""
    with running() as (client, process):
        yield client, process.pid


@pytest.fixture
def client(program: tuple[Client, int]) -> Iterator[Client]:
    """The API, without proxies."""
    yield program[0]
    for name in program[0].proxies():
        program[0].delete(name)


@pytest.fixture
def listen(client: Client) -> Iterator[str]:
    """The address of the proxy p, to an echo server."""
    with upstream(echo) as address:
        yield client.create("p", address)["listen"]


@pytest.fixture
def old(listen: str) -> Iterator[socket.socket]:
    """A connection that was open and in use before any toxic."""
    with connect(listen) as connection:
        assert round_trip(connection) < SLACK_S
        yield connection


def add(client: Client, kind: str, stream: str = "downstream", **more: object) -> str:
    """Add a toxic with these attributes, or toxicity, and give its name."""
    toxicity = more.pop("toxicity", 1.0)
    body = {"type": kind, "stream": stream, "attributes": more, "toxicity": toxicity}
    return str(client.add_toxic("p", body)["name"])


def round_trip(connection: socket.socket, message: bytes = b"ping") -> float:
    """Seconds until the echo is back."""
    started = time.monotonic()
    connection.sendall(message)
    assert receive(connection, len(message)) == message
    return time.monotonic() - started


def is_silent(connection: socket.socket) -> bool:
    """Whether nothing comes, not even an end, for a moment."""
    connection.settimeout(BRIEF_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(10)
    return False


def is_reset(connection: socket.socket) -> bool:
    """Whether a message on the connection is answered by a reset."""
    connection.sendall(b"ping")
    try:
        connection.recv(4)
    except ConnectionResetError:
        return True
    return False


# toxicity


def test_toxicity_of_zero_spares_all(client: Client, listen: str) -> None:
    """At toxicity 0 even a reset bites nobody, now or after its update."""
    name = add(client, "reset_peer", toxicity=0.0)
    with connect(listen) as connection:
        assert not is_reset(connection)
        client.call("PATCH", f"/proxies/p/toxics/{name}", {"toxicity": 1.0})
        assert is_reset(connection)


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


# timeout


def test_timeout_of_zero_swallows_all(
    client: Client, old: socket.socket, listen: str
) -> None:
    """Nothing comes back, not even an end, and what was swallowed is counted."""
    add(client, "timeout")
    with connect(listen) as new:
        for connection in (old, new):
            connection.sendall(b"ping")
            assert is_silent(connection)
    assert client.proxy("p")["stats"]["dropped_bytes"] == 8


def test_timeout_closes_after_silence(client: Client, old: socket.socket) -> None:
    """After 200 ms without data the connection is closed."""
    started = time.monotonic()
    add(client, "timeout", timeout=200)
    assert old.recv(1) == b""
    assert 0.2 <= time.monotonic() - started < 0.2 + SLACK_S


def test_removed_timeout_closes(
    client: Client, old: socket.socket, listen: str
) -> None:
    """Removal closes the connections that it silenced; new ones work."""
    name = add(client, "timeout", "upstream")
    old.sendall(b"ping")
    client.remove_toxic("p", name)
    assert old.recv(4) == b""
    with connect(listen) as new:
        assert round_trip(new) < SLACK_S


# reset_peer


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


def test_reset_waits_for_its_timeout(client: Client, old: socket.socket) -> None:
    """With a timeout of 200 ms the reset comes that long after the first data."""
    add(client, "reset_peer", timeout=200)
    started = time.monotonic()
    assert is_reset(old)
    assert 0.2 <= time.monotonic() - started < 0.2 + SLACK_S


def test_removed_reset_restores(
    client: Client, old: socket.socket, listen: str
) -> None:
    """After removal a reset that was due is not sent, and an end is just an end."""
    with connect(listen) as met:
        name = add(client, "reset_peer", timeout=60_000)
        met.sendall(b"ab")
        assert is_silent(met)
        client.remove_toxic("p", name)
        assert receive(met, 2) == b"ab"
    assert round_trip(old) < SLACK_S
    client.enable("p", enabled=False)
    assert old.recv(1) == b""


# limit_data


@pytest.mark.parametrize(("limit", "expected"), [(0, 0), (4, 4), (1000, 1000)])
def test_limit_cuts_the_reply(
    client: Client, old: socket.socket, limit: int, expected: int
) -> None:
    """So many bytes arrive, and then the end, on a connection already in use."""
    add(client, "limit_data", bytes=limit)
    old.sendall(b"x" * 1000)
    assert len(receive(old, 2000)) == expected
    assert client.proxy("p")["stats"]["dropped_bytes"] == 1000 - expected


def test_limit_keeps_its_count(client: Client, old: socket.socket) -> None:
    """An update does not start the count afresh."""
    name = add(client, "limit_data", bytes=100)
    old.sendall(b"x" * 60)
    assert len(receive(old, 60)) == 60
    client.call("PATCH", f"/proxies/p/toxics/{name}", {"attributes": {"bytes": 80}})
    old.sendall(b"x" * 60)
    assert len(receive(old, 60)) == 20


# all of them


def test_nothing_is_lost_while_toxics_come_and_go(
    client: Client, old: socket.socket
) -> None:
    """Bytes arrive whole and in order while toxics are added, changed and removed."""
    message = os.urandom(200_000)
    received = b""
    for part in range(0, len(message), 20_000):
        old.sendall(message[part : part + 20_000])
        added = [
            add(client, "latency", latency=20, jitter=20),
            add(client, "bandwidth", rate=100),
            add(client, "noop", "upstream"),
        ]
        client.call("PATCH", f"/proxies/p/toxics/{added[0]}", {"toxicity": 0.5})
        received += receive(old, 1000)
        for name in added:
            client.remove_toxic("p", name)
    assert received + receive(old, len(message) - len(received)) == message


def test_toxics_in_place_wait_for_the_dial(client: Client) -> None:
    """What a client says before its upstream is reached goes through the toxics too."""
    with upstream(echo) as address:
        listen = client.create("p", address)["listen"]
        add(client, "latency", "upstream", latency=200)
        started = time.monotonic()
        with connect(listen) as connection:
            round_trip(connection)
        assert 0.2 <= time.monotonic() - started < 0.2 + SLACK_S


def test_half_close_passes_a_latency(client: Client) -> None:
    """The end of the data comes after the data, and the reply after both."""

    def count(connection: socket.socket) -> None:
        total = sum(len(data) for data in iter(lambda: connection.recv(65536), b""))
        connection.sendall(b"%d" % total)

    with upstream(count) as address:
        listen = client.create("p", address)["listen"]
        add(client, "latency", "upstream", latency=100)
        with connect(listen) as connection:
            connection.sendall(b"x" * 500)
            connection.shutdown(socket.SHUT_WR)
            assert receive(connection, 10) == b"500"


def test_removal_while_the_peer_does_not_read(
    client: Client, old: socket.socket
) -> None:
    """A toxic can be removed though its output is full, and nothing is lost."""
    name = add(client, "noop")
    old.settimeout(BRIEF_S)
    sent = 0
    with suppress(TimeoutError):
        while True:
            sent += old.send(b"x" * 65536)
    client.remove_toxic("p", name)
    old.settimeout(10)
    assert len(receive(old, sent)) == sent
