"""What each toxic does to connections, old and new, and what its removal does."""

import socket
import time

import pytest

from stack.toxiproxy.client.api import Client
from tests.conformance.toxiproxy.doing import (
    SLACK_S,
    add,
    is_reset,
    is_silent,
    round_trip,
)
from tests.integration.test_toxiproxy_process import (
    connect,
    echo,
    receive,
    upstream,
)


def test_timeout_of_zero_swallows_all(
    client: Client, old: socket.socket, listen: str
) -> None:
    """Nothing comes back, not even an end."""
    add(client, "timeout")
    with connect(listen) as new:
        for connection in (old, new):
            connection.sendall(b"ping")
            assert is_silent(connection)


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


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
@pytest.mark.parametrize("timeout", [0, 200])
def test_reset_waits_for_its_timeout(
    client: Client, listen: str, stream: str, timeout: int
) -> None:
    """The reset comes so many ms after the first data, and after it the end."""
    add(client, "reset_peer", stream, timeout=timeout)
    with connect(listen) as new:
        started = time.monotonic()
        assert is_reset(new)
        assert timeout / 1000 <= time.monotonic() - started < 0.2 + SLACK_S
        assert new.recv(1) == b""


@pytest.mark.parametrize(("limit", "expected"), [(0, 0), (4, 4), (1000, 1000)])
def test_limit_cuts_the_reply(
    client: Client, old: socket.socket, limit: int, expected: int
) -> None:
    """So many bytes arrive, and then the end, on a connection already in use."""
    add(client, "limit_data", bytes=limit)
    old.sendall(b"x" * 1000)
    assert len(receive(old, 2000)) == expected


def test_limit_keeps_its_count(client: Client, old: socket.socket) -> None:
    """An update does not start the count afresh."""
    name = add(client, "limit_data", bytes=100)
    old.sendall(b"x" * 60)
    assert len(receive(old, 60)) == 60
    client.call("PATCH", f"/proxies/p/toxics/{name}", {"attributes": {"bytes": 80}})
    old.sendall(b"x" * 60)
    assert len(receive(old, 60)) == 20


def test_toxics_in_place_wait_for_the_dial(client: Client) -> None:
    """What a client says before its upstream is reached goes through the toxics too."""
    with upstream(echo) as address:
        listen = client.create("p", address)["listen"]
        add(client, "latency", "upstream", latency=200)
        started = time.monotonic()
        with connect(listen) as connection:
            round_trip(connection)
        assert 0.2 <= time.monotonic() - started < 0.2 + SLACK_S
