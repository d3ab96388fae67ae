"""The contract of the port `Site`."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import httpx
import pytest

from rollback.adapters.memory import MemorySite, SiteRequest
from rollback.adapters.probes import USER_AGENT, HttpSite
from rollback.model import Answer
from rollback.ports import Site
from stack.backends import Stack

pytestmark = pytest.mark.anyio

SECRET = "bypass_test_secret"
real_only = pytest.mark.parametrize("kind", ["real"])
Behave = Callable[[anyio.abc.SocketStream], Awaitable[None]]


@pytest.fixture
def edge(kind: str, request: pytest.FixtureRequest) -> str:
    """The address that users know."""
    if kind != "real":
        return "http://wedsync.test"
    stack: Stack = request.getfixturevalue("stack")
    platform = stack.addresses["platform"]
    control: httpx.Client = request.getfixturevalue("control")
    control.post(f"{platform}/_control/reset").raise_for_status()
    return stack.addresses["edge"]


@pytest.fixture
def own(kind: str, request: pytest.FixtureRequest) -> str:
    """The address of the live deployment alone, which is protected."""
    if kind != "real":
        return "http://v2.wedsync.test"
    stack: Stack = request.getfixturevalue("stack")
    return stack.deployment_urls["v2"]


@pytest.fixture
def live(kind: str, request: pytest.FixtureRequest) -> str:
    """The id of the deployment that is live."""
    if kind != "real":
        return "dpl_v2"
    stack: Stack = request.getfixturevalue("stack")
    return stack.deployments["v2"]


@pytest.fixture
def site(kind: str) -> Site:
    """The application from outside."""
    return MemorySite(wedsync) if kind != "real" else HttpSite(bypass_secret=SECRET)


def wedsync(request: SiteRequest) -> Answer:
    """The application in memory, as far as this suite goes."""
    if request.url.startswith("http://nobody"):
        return Answer(status=None, seconds=0.01, problem="connection refused")
    if "v2." in request.url and not request.protected:
        return Answer(status=401, seconds=0.01)
    if request.method == "POST" and not (request.json or {}).get("name"):
        return Answer(status=400, seconds=0.01, deployment="dpl_v2")
    slow = 2.0 if request.url.endswith("/slow") else 0.01
    return Answer(status=200, seconds=slow, body=b'{"api":', deployment="dpl_v2")


async def test_an_answer_says_who_gave_it(site: Site, edge: str, live: str) -> None:
    """Status, body, time taken and the deployment that answered are told."""
    answer = await site.request("GET", f"{edge}/api/health", timeout_seconds=5)
    assert answer.status == 200
    assert answer.body.startswith(b'{"api":')
    assert answer.deployment == live
    assert 0 < answer.seconds < 5
    assert answer.problem is None


async def test_a_deployment_s_own_address_is_protected(
    site: Site, own: str, live: str
) -> None:
    """It opens to the secret, and the secret is sent only where that is asked for."""
    path = f"{own}/api/health"
    closed = await site.request("GET", path, timeout_seconds=5)
    opened = await site.request("GET", path, timeout_seconds=5, protected=True)
    assert (closed.status, opened.status) == (401, 200)
    assert opened.deployment == live


async def test_a_refused_body_is_an_answer(site: Site, edge: str) -> None:
    """A body is sent as JSON; what the site says against it is no error here."""
    answer = await site.request(
        "POST", f"{edge}/api/suppliers", json={"name": ""}, timeout_seconds=5
    )
    assert answer.status in (400, 422)


async def test_nobody_there_is_an_answer_without_status(kind: str, site: Site) -> None:
    """When nothing listens, that is said, at once and without an exception."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}/" if kind == "real" else "http://nobody.test/"
    answer = await site.request("GET", url, timeout_seconds=5)
    assert answer.status is None
    assert answer.problem
    assert answer.seconds < 5


async def test_the_deadline_is_kept(kind: str, site: Site) -> None:
    """What is not finished by the deadline is no answer, however far it came."""
    async with serving(drip) as dripping:
        url = f"{dripping}/slow" if kind == "real" else "http://wedsync.test/slow"
        answer = await site.request("GET", url, timeout_seconds=0.6)
    assert answer.status is None
    assert answer.problem
    assert "0.6 s" in answer.problem
    assert 0.6 <= answer.seconds < 3


@real_only
async def test_the_clock_runs_to_the_last_byte(site: Site) -> None:
    """An answer is finished when its body is, not when its head is."""
    async with serving(drip) as url:
        answer = await site.request("GET", url, timeout_seconds=5)
    assert answer.status == 200
    assert answer.body == b"12345678"
    assert answer.seconds >= 0.8


@real_only
@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1", b"?"]
)
async def test_a_cut_answer_is_no_answer(site: Site, sent: bytes) -> None:
    """A connection that ends too early, or speaks no HTTP, raises nothing."""

    async def cut(stream: anyio.abc.SocketStream) -> None:
        if sent:
            await stream.send(sent)

    async with serving(cut) as url:
        answer = await site.request("GET", url, timeout_seconds=5)
    assert answer.status is None
    assert answer.problem


@real_only
async def test_a_redirect_is_not_followed(site: Site, edge: str) -> None:
    """The secret goes to the address that was named, and not where it points."""
    asked: list[bytes] = []

    async def redirect(stream: anyio.abc.SocketStream) -> None:
        asked.append(await stream.receive())
        head = f"HTTP/1.1 307 Go\r\nlocation: {edge}/\r\ncontent-length: 0\r\n\r\n"
        await stream.send(head.encode())

    async with serving(redirect) as url:
        answer = await site.request("GET", url, timeout_seconds=5, protected=True)
    assert answer.status == 307
    (head,) = asked
    assert f"x-vercel-protection-bypass: {SECRET}".encode() in head.lower()
    assert f"user-agent: {USER_AGENT}".encode() in head.lower()
    assert USER_AGENT.startswith("rollback-probe/")


@real_only
async def test_the_secret_stays_away_from_a_public_site(site: Site) -> None:
    """Only a request to a protected address carries the secret."""
    asked: list[bytes] = []

    async def listen(stream: anyio.abc.SocketStream) -> None:
        asked.append(await stream.receive())
        await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with serving(listen) as url:
        for protected in (True, False):
            await site.request("GET", url, timeout_seconds=5, protected=protected)
    assert [SECRET.encode() in head for head in asked] == [True, False]


@real_only
@pytest.mark.parametrize("url", ["", "nonsense", "http://[", "ftp://host/"])
async def test_an_address_that_is_none_is_no_answer(site: Site, url: str) -> None:
    """Even an address that cannot be read is told as an answer without status."""
    answer = await site.request("GET", url, timeout_seconds=5)
    assert answer.status is None
    assert answer.problem


@asynccontextmanager
async def serving(behave: Behave) -> AsyncIterator[str]:
    """A server that takes a request and does what a good one would not."""

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            if behave is drip:
                await stream.receive()
            await behave(stream)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - not Django's
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield f"http://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


async def drip(stream: anyio.abc.SocketStream) -> None:
    """Answer a byte at a time, each well within any timeout of a single read."""
    await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")
    for number in range(1, 9):
        await anyio.sleep(0.1)
        await stream.send(str(number).encode())
