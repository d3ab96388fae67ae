"""What passes through the fault proxy when nothing is wrong, and what must not."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from stack.toxiproxy.client.api import Client
from tests.integration.test_toxiproxy_process import (
    connect,
    echo,
    free_port,
    receive,
    running,
    until,
    upstream,
)


@pytest.fixture(scope="module")
def program() -> Iterator[Client]:
    """One program for all these tests."""
    with running() as (client, _):
        yield client


@pytest.fixture
def client(program: Client) -> Iterator[Client]:
    """The API, without proxies."""
    yield program
    for name in program.proxies():
        program.delete(name)


@pytest.fixture
def listen(client: Client) -> Iterator[str]:
    """The address of a proxy to an echo server."""
    with upstream(echo) as address:
        yield client.create("p", address)["listen"]


def test_a_big_message_arrives_whole(listen: str) -> None:
    """Five megabytes go out and come back byte for byte."""
    message = os.urandom(5_000_000)
    with connect(listen) as connection:
        sender = threading.Thread(target=connection.sendall, args=(message,))
        sender.start()
        assert receive(connection, len(message)) == message
        sender.join()


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


def test_upstream_that_is_down(client: Client) -> None:
    """The client is accepted and then sees the end; the failure is counted."""
    made = client.create("p", f"127.0.0.1:{free_port()}")
    with connect(made["listen"]) as connection:
        assert connection.recv(1) == b""
    assert client.proxy("p")["stats"]["refused"] == 1


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


def test_a_client_that_breaks_off_is_told_upstream(client: Client) -> None:
    """A client that resets its connection ends the upstream's too, after its data."""
    heard = []

    def listen_to_the_end(connection: socket.socket) -> None:
        heard.append(receive(connection, 100))

    with upstream(listen_to_the_end) as address:
        listen = client.create("p", address)["listen"]
        with connect(listen) as connection:
            connection.sendall(b"well")
            until(
                lambda: client.proxy("p")["stats"]["bytes_upstream"] == 4,
                "the data is through",
            )
            break_off(connection)
        until(lambda: heard == [b"well"], "the server sees the end")


def test_a_server_that_breaks_off_is_told_downstream(client: Client) -> None:
    """An upstream that resets its connection ends the client's too."""
    with upstream(break_off) as address:
        listen = client.create("p", address)["listen"]
        with connect(listen) as connection:
            assert connection.recv(1) == b""


def break_off(connection: socket.socket) -> None:
    """Close with a reset."""
    no_linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    connection.close()


def test_stats_tell_what_flows(client: Client, listen: str) -> None:
    """Bytes are counted each way while the connection is still open."""
    with connect(listen) as connection:
        connection.sendall(b"x" * 1000)
        assert len(receive(connection, 1000)) == 1000
        stats = client.proxy("p")["stats"]
    assert (stats["bytes_upstream"], stats["bytes_downstream"]) == (1000, 1000)
    assert (stats["connections"], stats["dropped_bytes"]) == (1, 0)


def test_disabling_ends_what_is_open(client: Client, listen: str) -> None:
    """A disabled proxy refuses, and closes its connections before it answers."""
    with connect(listen) as connection:
        connection.sendall(b"ping")
        assert receive(connection, 4) == b"ping"
        client.enable("p", enabled=False)
        assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(listen)


def test_another_upstream_ends_what_is_open(client: Client, listen: str) -> None:
    """After a change of upstream, old connections end and new ones go elsewhere."""
    with (
        upstream(lambda connection: connection.sendall(b"new")) as address,
        connect(listen) as old,
    ):
        old.sendall(b"ping")
        assert receive(old, 4) == b"ping"
        client.call("PATCH", "/proxies/p", {"upstream": address})
        assert old.recv(1) == b""
        with connect(listen) as new:
            assert receive(new, 3) == b"new"


def test_a_reader_that_waits_makes_the_sender_wait(client: Client, listen: str) -> None:
    """Nothing is hoarded for a client that does not read."""
    with connect(listen) as connection:
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.sendall(b"x" * 100_000_000)
        stats = client.proxy("p")["stats"]
    # What the kernel's buffers of four sockets hold, and little more.
    assert stats["bytes_upstream"] < 50_000_000
