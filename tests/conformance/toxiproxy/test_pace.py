"""latency and bandwidth: everything arrives, only later."""

import os
import socket
import time

import pytest

from stack.toxiproxy.client.api import Client
from tests.conformance.toxiproxy.doing import (
    BRIEF_S,
    SLACK_S,
    add,
    cpu_seconds,
    is_silent,
    round_trip,
)
from tests.integration.test_toxiproxy_process import connect, receive


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_delays_each_way(
    client: Client, old: socket.socket, listen: str, stream: str
) -> None:
    """A delay of 200 ms on either stream is felt by old and new connections."""
    add(client, "latency", stream, latency=200)
    with connect(listen) as new:
        for connection in (old, new):
            assert 0.2 <= round_trip(connection) < 0.2 + SLACK_S


def test_latencies_add_up(client: Client, old: socket.socket) -> None:
    """Two delays of 100 ms up and one of 100 ms down make 300 ms."""
    add(client, "latency", "upstream", latency=100)
    add(client, "latency", "downstream", latency=100)
    second = {"type": "latency", "name": "second", "stream": "upstream"}
    client.add_toxic("p", second | {"attributes": {"latency": 100}})
    assert 0.3 <= round_trip(old) < 0.3 + SLACK_S


def test_latency_does_not_hold_up_the_sender(
    client: Client, old: socket.socket
) -> None:
    """Ten messages, each 20 ms after the other, are late by 300 ms together."""
    add(client, "latency", latency=300)
    started = time.monotonic()
    for number in range(10):
        old.sendall(b"%d" % number)
        time.sleep(0.02)  # the pace is the point
    assert receive(old, 10) == b"0123456789"
    assert 0.48 <= time.monotonic() - started < 0.48 + SLACK_S


def test_jitter_stays_in_its_range(client: Client, old: socket.socket) -> None:
    """With 50 ms give or take 40, round trips differ, within 10 to 90 ms."""
    add(client, "latency", latency=50, jitter=40)
    took = [round_trip(old) for _ in range(12)]
    assert min(took) >= 0.01
    assert max(took) < 0.09 + SLACK_S
    assert max(took) - min(took) > 0.01


def test_latency_of_zero_is_none(client: Client, old: socket.socket) -> None:
    """A delay of zero changes nothing."""
    add(client, "latency")
    assert round_trip(old) < SLACK_S


def test_updated_latency_is_felt_at_once(client: Client, old: socket.socket) -> None:
    """When the update is answered, the new delay is in force."""
    path = f"/proxies/p/toxics/{add(client, 'latency', latency=5000)}"
    client.call("PATCH", path, {"attributes": {"latency": 200}})
    assert 0.2 <= round_trip(old) < 0.2 + SLACK_S


def test_removal_lets_go_what_was_delayed(client: Client, old: socket.socket) -> None:
    """What a removed delay held back arrives at once, in order."""
    name = add(client, "latency", latency=60_000)
    old.sendall(b"ab")
    assert is_silent(old)
    client.remove_toxic("p", name)
    assert receive(old, 2) == b"ab"
    assert round_trip(old) < SLACK_S


def test_bandwidth_sets_the_pace(client: Client, old: socket.socket) -> None:
    """60 KB at 100 KB/s take 0.6 s."""
    add(client, "bandwidth", rate=100)
    assert 0.59 <= round_trip(old, os.urandom(60_000)) < 0.6 + SLACK_S


def test_bandwidth_of_zero_stops_without_work(
    client: Client, program: tuple[Client, int], old: socket.socket
) -> None:
    """At rate 0 nothing passes and the program sleeps; removal lets all of it go."""
    name = add(client, "bandwidth")
    message = os.urandom(1000)
    old.sendall(message)
    before = cpu_seconds(program[1])
    assert is_silent(old)
    assert cpu_seconds(program[1]) - before < BRIEF_S / 3
    client.remove_toxic("p", name)
    assert receive(old, 1000) == message


def test_removed_bandwidth_lets_all_go(client: Client, old: socket.socket) -> None:
    """What a removed limit held back arrives at once and whole."""
    name = add(client, "bandwidth", rate=1)
    message = os.urandom(50_000)
    old.sendall(message)
    started = time.monotonic()
    received = receive(old, 100)
    client.remove_toxic("p", name)
    assert received + receive(old, 49_900) == message
    assert time.monotonic() - started < 0.1 + SLACK_S
