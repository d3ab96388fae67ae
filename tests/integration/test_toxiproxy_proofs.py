"""What is not a fault's doing proves nothing, and what is still bad is not healed."""

import socket
import threading

import pytest

from stack.faults import FaultDidNotBite, FaultNotHealed, Faults
from stack.toxiproxy.client.api import Client
from tests.integration.test_faults import KINDS, QUICK, client, faults, handle
from tests.integration.test_toxiproxy_process import free_port, receive, upstream

__all__ = ["client", "faults", "handle"]  # fixtures

pytestmark = pytest.mark.chaos


def test_no_latency_is_no_fault(faults: Faults) -> None:
    """A latency of 0 ms cannot be told from none."""
    fault = faults.inject("latency", "v2", "redis", latency=0)
    with pytest.raises(FaultDidNotBite, match=r"latency=0 .* does not bite"):
        fault.prove()
    assert fault.proved_at is None


def test_a_fast_trickle_is_no_fault(faults: Faults) -> None:
    """A rate that carries anything at once cannot be told from none."""
    fault = faults.inject("trickle", "v2", "redis", rate=1_000_000)
    with pytest.raises(FaultDidNotBite, match="does not bite"):
        fault.prove()


def test_a_long_cut_is_no_fault(faults: Faults) -> None:
    """A reply that is shorter than where it would be cut arrives."""
    fault = faults.inject("cut_reply", "v2", "redis", size=1000)
    with pytest.raises(FaultDidNotBite, match="does not bite"):
        fault.prove()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_broken_before_proves_nothing(
    client: Client, faults: Faults, kind: str
) -> None:
    """No fault is proved on a route whose dependency is down already."""
    client.create("v2-auth", f"127.0.0.1:{free_port()}")
    try:
        fault = faults.inject(kind, "v2", "auth")
        with pytest.raises(FaultDidNotBite, match=r"cannot be proved: .* before it"):
            fault.prove()
    finally:
        client.delete("v2-auth")


@pytest.mark.parametrize("kind", KINDS)
def test_what_breaks_by_itself_proves_nothing(
    client: Client, faults: Faults, kind: str
) -> None:
    """Where the fault is gone and the dependency too, the fault is not proved."""
    with upstream(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n\r\n")) as address:
        client.create("v2-auth", address)
        fault = faults.inject(kind, "v2", "auth")
    try:
        client.reset()
        with pytest.raises(FaultDidNotBite, match="does not bite"):
            fault.prove()
    finally:
        client.delete("v2-auth")


@pytest.mark.parametrize(("kind", "ends"), [("cut_reply", True), ("lost_reply", False)])
def test_a_dependency_that_fails_proves_nothing(
    client: Client, faults: Faults, kind: str, *, ends: bool
) -> None:
    """No reply, because there was none to cut or lose, is not the fault's doing."""
    broken = threading.Event()

    def answer_until_broken(connection: socket.socket) -> None:
        if not broken.is_set():
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.recv(1000)
        if not ends:
            connection.recv(1000)

    with upstream(answer_until_broken) as address:
        client.create("v2-auth", address)
        fault = faults.inject(kind, "v2", "auth")
        broken.set()
        with pytest.raises(FaultDidNotBite, match="does not bite"):
            fault.prove()
    client.delete("v2-auth")


def test_a_wrong_answer_is_none(client: Client, faults: Faults) -> None:
    """Something that is not the dependency does not count as its answer."""
    with upstream(
        lambda c: c.sendall(b"SSH-2.0-OpenSSH\r\n" + receive(c, 1))
    ) as address:
        client.create("v2-auth", address)
        fault = faults.inject("latency", "v2", "auth")
        with pytest.raises(FaultDidNotBite, match="got something else than an answer"):
            fault.prove()
    client.delete("v2-auth")


def test_an_active_fault_is_not_healed(faults: Faults) -> None:
    """Nothing is proved healed that was not taken away."""
    fault = faults.inject("refused", "v2", "redis")
    with pytest.raises(FaultNotHealed, match="refused on v2-redis is still in place"):
        fault.prove_healed()


@pytest.mark.parametrize("other", ["refused", "latency", "black_hole"])
def test_a_route_that_stays_bad_is_not_healed(faults: Faults, other: str) -> None:
    """A fault is gone only when its route is well, whatever ails it now."""
    fault = faults.inject("latency", "v2", "redis", latency=200)
    faults.inject(other, "v2", "redis", **QUICK.get(other, {}))
    fault.heal()
    with pytest.raises(FaultNotHealed, match=r"is not healed: a Redis ping on v2"):
        fault.prove_healed()
