"""Toxics that come, change and go while there is traffic."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stack.toxiproxy.client.api import Client
from tests.conformance.toxiproxy.doing import add, is_reset, is_silent, round_trip
from tests.integration.test_toxiproxy_process import connect, receive

NUMBERS = 20_000


@contextmanager
def changing(client: Client, kind: str, **attributes: Any) -> Iterator[list[int]]:
    """Add and remove a toxic all the while; gives how often so far, in one place."""
    rounds = [0]
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            client.remove_toxic("p", add(client, kind, **attributes))
            rounds[0] += 1

    changer = threading.Thread(target=change)
    changer.start()
    try:
        yield rounds
    finally:
        over.set()
        changer.join()


def test_nothing_is_dropped_or_swapped(client: Client, old: socket.socket) -> None:
    """Twenty thousand numbers arrive in order though a delay comes and goes."""
    message = b"".join(number.to_bytes(2, "big") for number in range(NUMBERS))
    with changing(client, "latency", latency=1000) as rounds:
        sender = threading.Thread(target=send_in_pairs, args=(old, message))
        sender.start()
        received = receive(old, len(message))
        sender.join()
    assert received == message
    assert rounds[0] > 1


def send_in_pairs(connection: socket.socket, message: bytes) -> None:
    """Send two bytes at a time."""
    for start in range(0, len(message), 2):
        connection.sendall(message[start : start + 2])


def test_echoes_come_back_while_toxics_change(
    client: Client, old: socket.socket
) -> None:
    """A hundred round trips succeed while a toxic comes and goes."""
    with changing(client, "noop") as rounds:
        for _ in range(100):
            round_trip(old)
    assert rounds[0] > 1


def test_toxicity_can_rise(client: Client, old: socket.socket) -> None:
    """At toxicity 0 a timeout lets all pass; raised to 1 it silences and closes."""
    body = {"type": "timeout", "toxicity": 0.0}
    name = client.add_toxic("p", body)["name"]
    round_trip(old)
    change = {"toxicity": 1.0, "attributes": {"timeout": 100}}
    client.call("PATCH", f"/proxies/p/toxics/{name}", change)
    old.sendall(b"ping")
    assert old.recv(4) == b""


@pytest.mark.parametrize("toxicity", [0.0, 1.0])
def test_toxicity_is_all_or_nothing_at_its_ends(
    client: Client, listen: str, toxicity: float
) -> None:
    """At 0 no connection of ten is hit, at 1 each."""
    add(client, "limit_data", toxicity=toxicity)
    hit = 0
    for _ in range(10):
        with connect(listen) as connection:
            connection.sendall(b"x")
            hit += connection.recv(1) == b""
    assert hit == 10 * toxicity


def test_a_timeout_blocks_no_removal_before_it(
    client: Client, old: socket.socket
) -> None:
    """A delay in front of a timeout that swallows all can be removed."""
    name = add(client, "latency", "upstream", latency=10)
    add(client, "timeout", "upstream")
    for _ in range(5):
        old.sendall(b"hello")
        assert is_silent(old)
    client.remove_toxic("p", name)
    assert [each["type"] for each in client.proxy("p")["toxics"]] == ["timeout"]


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_a_toxic_of_a_broken_connection_can_be_removed(
    client: Client, listen: str, stream: str
) -> None:
    """A toxic that holds everything back goes though its client has left."""
    name = add(client, "bandwidth", stream, rate=1)
    with connect(listen) as connection:
        connection.sendall(b"x" * 20_000)
    client.remove_toxic("p", name)
    with connect(listen) as connection:
        round_trip(connection)


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


def test_clients_that_leave_harm_nobody(client: Client, listen: str) -> None:
    """Two hundred clients leave while a delay comes and goes; the next is served."""
    for _ in range(200):
        name = add(client, "latency", "upstream", latency=10)
        with connect(listen) as connection:
            connection.sendall(b"hello")
        client.remove_toxic("p", name)
    with connect(listen) as connection:
        round_trip(connection)


def test_toxicity_of_zero_spares_all(client: Client, listen: str) -> None:
    """At toxicity 0 even a reset bites nobody, now or after its update."""
    name = add(client, "reset_peer", toxicity=0.0)
    with connect(listen) as connection:
        assert not is_reset(connection)
        client.call("PATCH", f"/proxies/p/toxics/{name}", {"toxicity": 1.0})
        assert is_reset(connection)
