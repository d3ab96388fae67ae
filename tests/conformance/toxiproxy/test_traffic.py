"""What passes when nothing is wrong, and what must not."""

import os
import socket
import threading
from contextlib import suppress

import pytest

from stack.toxiproxy.client.api import Client
from tests.conformance.toxiproxy.doing import break_off, round_trip
from tests.integration.test_toxiproxy_process import (
    connect,
    free_port,
    receive,
    until,
    upstream,
)


def test_a_big_message_arrives_whole(listen: str) -> None:
    """Five megabytes go out and come back byte for byte."""
    message = os.urandom(5_000_000)
    with connect(listen) as connection:
        sender = threading.Thread(target=connection.sendall, args=(message,))
        sender.start()
        assert receive(connection, len(message)) == message
        sender.join()


def test_upstream_that_is_down(client: Client) -> None:
    """The client is accepted and then sees the end."""
    made = client.create("p", f"127.0.0.1:{free_port()}")
    with connect(made["listen"]) as connection:
        assert connection.recv(1) == b""


def test_a_client_that_breaks_off_is_told_upstream(client: Client) -> None:
    """A client that resets its connection ends the upstream's too, after its data."""
    heard = []

    def listen_to_the_end(connection: socket.socket) -> None:
        heard.append(receive(connection, 4))
        connection.sendall(b".")
        # A proxy that cannot pass on the reset may pass on the end.
        with suppress(ConnectionResetError):
            heard.append(receive(connection, 100))
            return
        heard.append(b"")

    with upstream(listen_to_the_end) as address:
        listen = client.create("p", address)["listen"]
        with connect(listen) as connection:
            connection.sendall(b"well")
            assert connection.recv(1) == b"."
            break_off(connection)
        until(lambda: heard == [b"well", b""], "the server sees the end")


def test_a_server_that_breaks_off_is_told_downstream(client: Client) -> None:
    """An upstream that resets its connection ends the client's too."""
    with upstream(break_off) as address:
        listen = client.create("p", address)["listen"]
        with connect(listen) as connection:
            assert connection.recv(1) == b""


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


def test_a_message_in_two_parts(listen: str) -> None:
    """What is sent in two parts comes back as one stream."""
    with connect(listen) as connection:
        for part in (b"hello ", b"world"):
            connection.sendall(part)
        assert receive(connection, 11) == b"hello world"


def test_the_same_address_by_name_restarts_nothing(client: Client, listen: str) -> None:
    """An update with the host name of its own address ends no connection."""
    with connect(listen) as connection:
        round_trip(connection)
        by_name = listen.replace("127.0.0.1", "localhost")
        client.call("PATCH", "/proxies/p", {"listen": by_name})
        round_trip(connection)


def test_connections_outlive_resets(client: Client, listen: str) -> None:
    """A connection goes on while its toxics are reset, and reset again."""
    with connect(listen) as connection:
        for stream in ("upstream", "downstream"):
            body = {"type": "noop", "stream": stream}
            client.call("POST", "/proxies/p/toxics", body)
        for _ in range(2):
            round_trip(connection)
            client.reset()
        round_trip(connection)
