"""The drop-in for Next.js in Node, with Upstash's client, on a real Redis.

What it wrote is read by the engine's own `RedisCounters`.
"""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from stack.backends import Stack

from .nextjs import BAD, GOOD, NOTHING, OWN, Site, read, sums
from .processes import until
from .upstash import Bridge

pytest_plugins = ["tests.integration.nextjs_fixtures"]
pytestmark = pytest.mark.redis

PROBE = {"user-agent": "rollback-probe/0.1.0"}
HERE = {"requests": 0, "failed": 0, "slow": 0}


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/api/ok", 200, GOOD),
        ("/api/empty", 204, GOOD),
        ("/api/bad", 400, GOOD),
        ("/api/fail", 500, BAD),
        ("/api/throw", 500, BAD),
        ("/api/digest", 500, BAD),
        ("/api/redirect", 307, GOOD),
        ("/api/missing", 404, GOOD),
        ("/api/quick", 200, GOOD),
        ("/api/cancelled", 200, GOOD),
        ("/api/health", 200, NOTHING),
        ("/pages/ok", 200, GOOD),
        ("/pages/fail", 503, BAD),
        ("/pages/throw", 500, BAD),
    ],
)
def test_an_answer_is_counted_by_its_status(
    nextjs: Site, stack: Stack, path: str, status: int, expected: dict[str, int]
) -> None:
    """From 500 on, or thrown, is failed; redirect and notFound are thrown, and good."""
    assert nextjs.status(path) == status
    nextjs.control("settled")
    assert sums(stack) == expected


def test_what_is_thrown_is_thrown_on_unchanged(nextjs: Site) -> None:
    """Next.js gets the very error that the handler threw."""
    assert nextjs.client.get("/api/throw").headers["x-same"] == "true"


def test_an_answer_is_given_on_unchanged(nextjs: Site) -> None:
    """Status, reason, headers, both cookies, body and the request's body are kept."""
    made = nextjs.client.get("/api/cookies")
    assert (made.status_code, made.reason_phrase) == (201, "Made")
    assert made.headers["content-type"] == "application/json"
    assert made.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]
    assert made.json() == {"ok": True}
    sent = os.urandom(300_000).hex()
    assert nextjs.client.post("/api/echo", content=sent).text == sent
    head = nextjs.client.head("/api/ok")
    assert (head.status_code, head.content) == (200, b"")


def test_a_head_is_counted_though_nobody_reads_its_body(
    nextjs: Site, stack: Stack
) -> None:
    """Next.js answers HEAD with the GET handler and leaves the body alone."""
    nextjs.client.head("/api/ok")
    nextjs.control("settled")
    assert sums(stack) == GOOD


def test_slow_is_measured_to_the_last_byte(nextjs: Site, stack: Stack) -> None:
    """A stream that begins at once and ends after 3 s is slow, an API route too."""
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(nextjs.client.get, ("/api/slow", "/pages/slow")))
    assert answers[0].text == "part 1\npart 2\n"
    nextjs.control("settled")
    assert sums(stack) == {"requests": 2, "failed": 0, "slow": 2}


def test_a_stream_that_breaks_off_is_failed(nextjs: Site, stack: Stack) -> None:
    """Its status was 200, and its reader has half an answer."""
    with pytest.raises(httpx.RemoteProtocolError):
        nextjs.client.get("/api/broken")
    nextjs.control("settled")
    assert sums(stack) == BAD


def test_a_visitor_who_leaves_is_counted(nextjs: Site, stack: Stack) -> None:
    """In the middle of a stream or before the answer: nothing is held for ever."""
    before = nextjs.control("left")
    with nextjs.client.stream("GET", "/api/open") as answer:
        assert next(answer.iter_text()) == "part 1\n"
    until(lambda: nextjs.control("left") == before + 1, "the reader is gone")
    with socket.create_connection(("127.0.0.1", nextjs.port)) as visitor:
        visitor.sendall(b"GET /api/waits HTTP/1.1\r\nhost: localhost\r\n\r\n")
    until(lambda: nextjs.control("left") == before + 2, "the visitor is gone")
    nextjs.control("release")
    nextjs.control("settled")
    assert sums(stack) == {"requests": 2, "failed": 0, "slow": 0}


@pytest.mark.parametrize("path", ["/api/ok", "/api/fail", "/api/health", "/pages/ok"])
def test_a_probe_of_the_engine_says_only_that_the_app_is_here(
    nextjs: Site, stack: Stack, path: str
) -> None:
    """Its second exists, with nobody in it: whoever probes counts its probes itself."""
    nextjs.status(path, headers=PROBE)
    nextjs.control("settled")
    assert sums(stack) == HERE


def test_a_request_counts_in_the_second_in_which_it_was_answered(
    nextjs: Site, stack: Stack, upstash: Bridge
) -> None:
    """Two answers in two seconds are two counts, in hashes that do not stay."""
    began = int(time.time())
    nextjs.status("/api/ok")
    nextjs.control("settled")
    (first,) = read(stack)
    until(lambda: time.time() >= first.second + 1, "the second is over")
    nextjs.status("/api/ok")
    nextjs.control("settled")
    again, second = read(stack)
    assert again == first
    assert (first.requests, second.requests) == (1, 1)
    assert began <= first.second < second.second <= int(time.time())
    for each in (first, second):
        assert 3500 < int(upstash.redis.ttl(f"requests:{OWN}:{each.second}")) <= 3600


def test_deployments_are_counted_apart(nextjs: Site, stack: Stack) -> None:
    """Each count goes to the deployment that answered."""
    for path in ("/api/ok", "/other/ok", "/other/ok"):
        nextjs.status(path)
    nextjs.control("settled")
    assert sums(stack) == GOOD
    assert sums(stack, "dpl_other") == {"requests": 2, "failed": 0, "slow": 0}


def test_many_at_once_are_all_counted(nextjs: Site, stack: Stack) -> None:
    """Nothing is lost or counted twice when answers overlap."""
    paths = ["/api/ok", "/api/fail", "/api/throw", "/pages/ok", "/api/quick"] * 40
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(nextjs.status, paths))
    nextjs.control("settled")
    assert sums(stack) == {"requests": 200, "failed": 80, "slow": 0}


@pytest.mark.parametrize("path", ["/api/default", "/pages/default"])
def test_nothing_has_to_be_set(nextjs: Site, stack: Stack, path: str) -> None:
    """`counted` and `countedApi`, as they are imported, work by the environment."""

    def arrives() -> bool:
        assert nextjs.status(path) == 200
        nextjs.control("settled")
        return sums(stack) != NOTHING

    until(arrives, "a count arrives")


def test_a_build_is_no_request(nextjs: Site, stack: Stack) -> None:
    """A handler that Next.js runs to build a static page is left alone."""
    nextjs.control("build")
    nextjs.status("/api/ok")
    nextjs.control("run")
    nextjs.control("settled")
    assert sums(stack) == NOTHING
