"""The suite runs on each server that speaks the protocol, and names none of them."""

import os
from collections.abc import Iterator

import pytest

from stack.toxiproxy.client.api import Client
from tests.conformance.counted import count
from tests.conformance.toxiproxy.fixtures import api, client, http, listen, old, proxy
from tests.integration.test_toxiproxy_process import running

__all__ = ["api", "client", "http", "listen", "old", "proxy"]  # fixtures


@pytest.fixture(scope="module")
def ours() -> Iterator[tuple[Client, int]]:
    """Ours, once for all tests of a module, and its process id."""
    with running() as (client, process):
        yield client, process.pid


@pytest.fixture(params=["ours", "the original"])
def program(request: pytest.FixtureRequest) -> Iterator[tuple[Client, int]]:
    """The server under test; the original anew each time, as it may hang."""
    if request.param == "ours":
        yield request.getfixturevalue("ours")
        return
    with running(program=_original()) as (client, process):
        yield client, process.pid


@pytest.fixture(autouse=True)
def counted(request: pytest.FixtureRequest, program: object) -> None:
    """Each case is counted for its server."""
    del program
    count(request, f"Toxiproxy suite, {request.node.callspec.params['program']}")


def _original() -> tuple[str]:
    if not (found := os.environ.get("ROLLBACK_TEST_TOXIPROXY")):
        pytest.skip("no Toxiproxy is named by ROLLBACK_TEST_TOXIPROXY")
    return (found,)
