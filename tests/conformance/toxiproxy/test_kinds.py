"""slicer, slow_close and limit_data, with the original's own cases."""

import socket
import time

import pytest

from stack.toxiproxy.client.api import Client
from tests.conformance.toxiproxy.doing import (
    SLACK_S,
    add,
    is_silent,
    round_trip,
)
from tests.integration.test_toxiproxy_process import connect, receive, upstream

PIECES = 24
DELAY_S = 0.02


def pieces(connection: socket.socket, size: int) -> list[bytes]:
    """Read so many bytes, and give them as they came."""
    found = []
    while size > 0 and (data := connection.recv(65536)):
        found.append(data)
        size -= len(data)
    return found


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_slicer_sends_single_bytes(
    client: Client, old: socket.socket, stream: str
) -> None:
    """24 bytes at a size of 1 come one by one, with the delay after each."""
    add(client, "slicer", stream, average_size=1, delay=int(DELAY_S * 1_000_000))
    started = time.monotonic()
    old.sendall(b"hello world " * 2)
    found = pieces(old, PIECES)
    took = time.monotonic() - started
    assert b"".join(found) == b"hello world " * 2
    # A reader that is late finds several pieces at once.
    assert PIECES / 2 < len(found) <= PIECES
    assert DELAY_S * (PIECES - 1) <= took < DELAY_S * PIECES + 2 * SLACK_S


def test_slicer_varies_the_sizes(client: Client, old: socket.socket) -> None:
    """Pieces of 100 bytes give or take 50 are of several sizes, none above 150."""
    add(client, "slicer", average_size=100, size_variation=50, delay=5_000)
    message = bytes(range(250)) * 20
    old.sendall(message)
    found = pieces(old, len(message))
    assert b"".join(found) == message
    # Those that a late reader found together are no piece.
    single = {len(each) for each in found if len(each) <= 150}
    assert len(single) > 3


def test_removed_slicer_lets_all_go(client: Client, old: socket.socket) -> None:
    """What a removed slicer had not sent yet arrives at once, whole and in order."""
    name = add(client, "slicer", average_size=1, delay=100_000)
    message = bytes(range(200))
    old.sendall(message)
    first = old.recv(1)
    started = time.monotonic()
    client.remove_toxic("p", name)
    assert first + receive(old, 199) == message
    assert time.monotonic() - started < 0.1 + SLACK_S


def greet(connection: socket.socket) -> None:
    """Say something once asked, and close."""
    connection.recv(1)
    connection.sendall(b"bye")


def test_slow_close_delays_the_end_alone(client: Client) -> None:
    """The data is there at once, and the end 400 ms after it."""
    with upstream(greet) as address:
        listen = client.create("p", address)["listen"]
        add(client, "slow_close", delay=400)
        with connect(listen) as connection:
            started = time.monotonic()
            connection.sendall(b"x")
            assert receive(connection, 3) == b"bye"
            met = time.monotonic() - started
            assert connection.recv(1) == b""
            took = time.monotonic() - started
    assert met < SLACK_S
    assert 0.4 <= took < 0.4 + SLACK_S


def test_removed_slow_close_closes(client: Client) -> None:
    """An end that was held back comes when the toxic goes."""
    with upstream(greet) as address:
        listen = client.create("p", address)["listen"]
        name = add(client, "slow_close", delay=60_000)
        with connect(listen) as connection:
            connection.sendall(b"x")
            assert receive(connection, 3) == b"bye"
            assert is_silent(connection)
            client.remove_toxic("p", name)
            assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((50,), 50),
        ((100,), 100),
        ((150,), 100),
        ((25, 25, 25, 25), 100),
        ((90, 20), 100),
        ((101, 1), 100),
    ],
)
def test_limit_counts_over_parts(
    client: Client, old: socket.socket, parts: tuple[int, ...], expected: int
) -> None:
    """A limit of 100 bytes holds for what comes at once and for what comes in parts."""
    add(client, "limit_data", bytes=100)
    got = b""
    for size in parts:
        old.sendall(b"x" * size)
        got += receive(old, min(size, expected - len(got)))
    assert len(got) == expected
    if expected == 100:
        assert old.recv(1) == b""
    else:
        assert is_silent(old)


def test_limit_goes_each_way(client: Client, old: socket.socket) -> None:
    """A limit on what the client sends closes just so."""
    add(client, "limit_data", "upstream", bytes=4)
    old.sendall(b"0123456789")
    assert receive(old, 10) in (b"0123", b"")


def test_removed_limit_limits_no_more(client: Client, old: socket.socket) -> None:
    """After removal more bytes pass than the limit had left."""
    name = add(client, "limit_data", bytes=100)
    assert round_trip(old, b"x" * 60) < SLACK_S
    client.remove_toxic("p", name)
    assert round_trip(old, b"x" * 1000) < SLACK_S
