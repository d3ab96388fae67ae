"""What the tests of the fault proxy stand on: all of it on a `program`."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from stack.toxiproxy.client.api import Client
from tests.conformance.toxiproxy.doing import SLACK_S, create, round_trip
from tests.integration.test_toxiproxy_process import connect, echo, upstream


@pytest.fixture
def http(program: tuple[Client, int]) -> Iterator[httpx.Client]:
    """A bare HTTP client of the program."""
    with httpx.Client(base_url=program[0].url, timeout=5, trust_env=False) as bare:
        yield bare


@pytest.fixture
def api(http: httpx.Client) -> Iterator[httpx.Client]:
    """The API, without proxies."""
    yield http
    for name in http.get("/proxies").json():
        http.delete(f"/proxies/{name}")


@pytest.fixture
def proxy(api: httpx.Client) -> str:
    """The path of a proxy to nowhere."""
    create(api, "p")
    return "/proxies/p"


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
