"""Where the original loses data, waits or hangs, and this fault proxy does not."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from stack.toxiproxy.client.api import Client
from tests.conformance.toxiproxy.doing import (
    BRIEF_S,
    SLACK_S,
    add,
    is_silent,
    round_trip,
)
from tests.conformance.toxiproxy.fixtures import api, client, http, listen, old, proxy
from tests.integration.test_toxiproxy_process import (
    connect,
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


def test_reply_follows_a_half_close(client: Client) -> None:
    """A client that has said all still gets the reply that follows its end of data."""

    def reply_at_the_end(connection: socket.socket) -> None:
        total = 0
        while data := connection.recv(65536):
            total += len(data)
        connection.sendall(b"%d bytes" % total)

    with (
        upstream(reply_at_the_end) as address,
        connect(client.create("p", address)["listen"]) as connection,
    ):
        connection.sendall(b"x" * 100_000)
        connection.shutdown(socket.SHUT_WR)
        assert receive(connection, 100) == b"100000 bytes"


def test_half_close_by_the_server(client: Client) -> None:
    """A server that has said all still gets what the client says after."""
    heard = []

    def greet_and_listen(connection: socket.socket) -> None:
        connection.sendall(b"go on")
        connection.shutdown(socket.SHUT_WR)
        heard.append(receive(connection, 100))

    with (
        upstream(greet_and_listen) as address,
        connect(client.create("p", address)["listen"]) as connection,
    ):
        assert receive(connection, 100) == b"go on"
        connection.sendall(b"and on")
        connection.shutdown(socket.SHUT_WR)
        until(lambda: heard == [b"and on"], "the server hears the rest")


def test_a_slow_dial_holds_up_nobody(client: Client) -> None:
    """While one client waits for its upstream, another is accepted."""
    with ExitStack() as stack:
        # A queue of one that is full: whoever comes then waits for an answer.
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = "127.0.0.1:{1}".format(*full.getsockname())
        stack.enter_context(connect(address))
        listen = client.create("p", address)["listen"]
        for _ in range(3):
            stack.enter_context(connect(listen))
        until(
            lambda: client.proxy("p")["stats"]["connections"] == 3,
            "three clients are accepted",
        )
        assert client.proxy("p")["stats"]["refused"] == 0


def test_a_reader_that_waits_makes_the_sender_wait(client: Client, listen: str) -> None:
    """Nothing is hoarded for a client that does not read."""
    with connect(listen) as connection:
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.sendall(b"x" * 100_000_000)
        stats = client.proxy("p")["stats"]
    # What the kernel's buffers of four sockets hold, and little more.
    assert stats["bytes_upstream"] < 50_000_000


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
