"""The drop-in for Next.js in Node, with Upstash's client, on a real Redis.

What it wrote is read by the engine's own `RedisCounters`.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from rollback.adapters.redis import RedisCounters
from rollback.model import Counts, PlatformDeployment
from stack.backends import Stack

from .nextjs import Site, compiled, running
from .processes import until
from .upstash import TOKEN, Bridge

pytestmark = pytest.mark.redis

OWN = "dpl_nextjs"
PROBE = {"user-agent": "rollback-probe/0.1.0"}
NOTHING: dict[str, int] = {}
GOOD = {"requests": 1, "failed": 0, "slow": 0}
BAD = {"requests": 1, "failed": 1, "slow": 0}
HERE = {"requests": 0, "failed": 0, "slow": 0}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site's folder, compiled once."""
    source = Path(__file__).with_name("nextjs_site.ts")
    return compiled(tmp_path_factory.mktemp("nextjs"), source)


@pytest.fixture(scope="module")
def door(stack: Stack) -> Iterator[Bridge]:
    """Upstash's door to the practice stack's Redis."""
    with Bridge(stack.addresses["redis"]).running() as bridge:
        yield bridge


@pytest.fixture(scope="module")
def started(out: Path, door: Bridge) -> Iterator[Site]:
    """The site, with the environment that it has on the platform."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    environment = {
        "VERCEL_DEPLOYMENT_ID": OWN,
        "UPSTASH_REDIS_REST_URL": door.url,
        "UPSTASH_REDIS_REST_TOKEN": TOKEN,
        "CLOSED_URL": closed,
        "PATH": os.environ["PATH"],
    }
    with running(out / "nextjs_site.js", environment) as site:
        yield site


@pytest.fixture
def site(started: Site, door: Bridge) -> Site:
    """The site, with nothing counted yet."""
    started.control("settled")
    for key in door.redis.keys("requests:dpl_*"):
        door.redis.delete(key)
    door.asked.clear()
    return started


def read(stack: Stack, name: str = OWN) -> tuple[Counts, ...]:
    """What the engine reads of the last minute."""
    now = int(time.time())
    deployment = PlatformDeployment(
        id=name,
        url="http://127.0.0.1:1",
        git_sha="a" * 40,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ready=True,
        candidate=True,
        served=True,
    )

    async def counts() -> tuple[Counts, ...]:
        source = RedisCounters(stack.addresses["redis"])
        return await source.counts(deployment, since=now - 60, until=now + 1)

    return anyio.run(counts)


def sums(stack: Stack, name: str = OWN) -> dict[str, int]:
    """The sums of what the engine reads; empty when the source is silent."""
    found = read(stack, name)
    fields = ("requests", "failed", "slow")
    totals = {field: sum(getattr(each, field) for each in found) for field in fields}
    return totals if found else {}


# -- what is counted ------------------------------------------------------------------


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
    site: Site, stack: Stack, path: str, status: int, expected: dict[str, int]
) -> None:
    """From 500 on, or thrown, is failed; redirect and notFound are thrown, and good."""
    assert site.status(path) == status
    site.control("settled")
    assert sums(stack) == expected


def test_what_is_thrown_is_thrown_on_unchanged(site: Site) -> None:
    """Next.js gets the very error that the handler threw."""
    assert site.client.get("/api/throw").headers["x-same"] == "true"


def test_an_answer_is_given_on_unchanged(site: Site) -> None:
    """Status, reason, headers, both cookies, body and the request's body are kept."""
    made = site.client.get("/api/cookies")
    assert (made.status_code, made.reason_phrase) == (201, "Made")
    assert made.headers["content-type"] == "application/json"
    assert made.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]
    assert made.json() == {"ok": True}
    sent = os.urandom(300_000).hex()
    assert site.client.post("/api/echo", content=sent).text == sent
    head = site.client.head("/api/ok")
    assert (head.status_code, head.content) == (200, b"")


def test_a_head_is_counted_though_nobody_reads_its_body(
    site: Site, stack: Stack
) -> None:
    """Next.js answers HEAD with the GET handler and leaves the body alone."""
    site.client.head("/api/ok")
    site.control("settled")
    assert sums(stack) == GOOD


def test_slow_is_measured_to_the_last_byte(site: Site, stack: Stack) -> None:
    """A stream that begins at once and ends after 3 s is slow, an API route too."""
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(site.client.get, ("/api/slow", "/pages/slow")))
    assert answers[0].text == "part 1\npart 2\n"
    site.control("settled")
    assert sums(stack) == {"requests": 2, "failed": 0, "slow": 2}


def test_a_stream_that_breaks_off_is_failed(site: Site, stack: Stack) -> None:
    """Its status was 200, and its reader has half an answer."""
    with pytest.raises(httpx.RemoteProtocolError):
        site.client.get("/api/broken")
    site.control("settled")
    assert sums(stack) == BAD


def test_a_visitor_who_leaves_is_counted(site: Site, stack: Stack) -> None:
    """In the middle of a stream or before the answer: nothing is held for ever."""
    before = site.control("left")
    with site.client.stream("GET", "/api/open") as answer:
        assert next(answer.iter_text()) == "part 1\n"
    until(lambda: site.control("left") == before + 1, "the reader is gone")
    with socket.create_connection(("127.0.0.1", site.port)) as visitor:
        visitor.sendall(b"GET /api/waits HTTP/1.1\r\nhost: localhost\r\n\r\n")
    until(lambda: site.control("left") == before + 2, "the visitor is gone")
    site.control("release")
    site.control("settled")
    assert sums(stack) == {"requests": 2, "failed": 0, "slow": 0}


@pytest.mark.parametrize("path", ["/api/ok", "/api/fail", "/api/health", "/pages/ok"])
def test_a_probe_of_the_engine_says_only_that_the_app_is_here(
    site: Site, stack: Stack, path: str
) -> None:
    """Its second exists, with nobody in it: whoever probes counts its probes itself."""
    site.status(path, headers=PROBE)
    site.control("settled")
    assert sums(stack) == HERE


def test_a_request_counts_in_the_second_in_which_it_was_answered(
    site: Site, stack: Stack, door: Bridge
) -> None:
    """Two answers in two seconds are two counts, in hashes that do not stay."""
    began = int(time.time())
    site.status("/api/ok")
    site.control("settled")
    (first,) = read(stack)
    until(lambda: time.time() >= first.second + 1, "the second is over")
    site.status("/api/ok")
    site.control("settled")
    again, second = read(stack)
    assert again == first
    assert (first.requests, second.requests) == (1, 1)
    assert began <= first.second < second.second <= int(time.time())
    for each in (first, second):
        assert 3500 < int(door.redis.ttl(f"requests:{OWN}:{each.second}")) <= 3600


def test_deployments_are_counted_apart(site: Site, stack: Stack) -> None:
    """Each count goes to the deployment that answered."""
    for path in ("/api/ok", "/other/ok", "/other/ok"):
        site.status(path)
    site.control("settled")
    assert sums(stack) == GOOD
    assert sums(stack, "dpl_other") == {"requests": 2, "failed": 0, "slow": 0}


def test_many_at_once_are_all_counted(site: Site, stack: Stack) -> None:
    """Nothing is lost or counted twice when answers overlap."""
    paths = ["/api/ok", "/api/fail", "/api/throw", "/pages/ok", "/api/quick"] * 40
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(site.status, paths))
    site.control("settled")
    assert sums(stack) == {"requests": 200, "failed": 80, "slow": 0}


@pytest.mark.parametrize("path", ["/api/default", "/pages/default"])
def test_nothing_has_to_be_set(site: Site, stack: Stack, path: str) -> None:
    """`counted` and `countedApi`, as they are imported, work by the environment."""

    def arrives() -> bool:
        assert site.status(path) == 200
        site.control("settled")
        return sums(stack) != NOTHING

    until(arrives, "a count arrives")


def test_a_build_is_no_request(site: Site, stack: Stack) -> None:
    """A handler that Next.js runs to build a static page is left alone."""
    site.control("build")
    site.status("/api/ok")
    site.control("run")
    site.control("settled")
    assert sums(stack) == NOTHING


# -- what it costs --------------------------------------------------------------------


def test_a_healthy_answer_is_one_request_with_two_commands(
    site: Site, door: Bridge
) -> None:
    """Upstash bills by the command: fields that are zero are not written."""
    for path in ("/api/ok", "/api/fail"):
        site.status(path)
        site.control("settled")
    commands = [[each[0] for each in pipeline] for pipeline in door.asked]
    assert commands == [
        ["hincrby", "expire"],
        ["hincrby", "hincrby", "expire"],
    ]


def test_counts_that_wait_go_together(site: Site, stack: Stack, door: Bridge) -> None:
    """While one write is under way the others are summed up: no queue can grow."""
    before = door.arrived
    with door.holding():
        site.status("/api/ok")
        until(lambda: door.arrived == before + 1, "the first write is under way")
        for _ in range(20):
            assert site.status("/api/ok") == 200
    site.control("settled")
    # The twenty may fall into two seconds, but never into two requests.
    assert len(door.asked) == 2
    assert sums(stack)["requests"] == 21


# -- when Redis is lost ---------------------------------------------------------------


def test_a_lost_redis_costs_no_request_anything(site: Site, stack: Stack) -> None:
    """The visitor has the answer, and whoever wants to know is told."""
    assert site.status("/lost/ok") == 200
    (told,) = site.control("settled")
    assert "fetch failed" in told
    assert sums(stack, "dpl_lost") == NOTHING


def test_a_wrong_token_costs_no_request_anything(site: Site, stack: Stack) -> None:
    """Upstash refuses the write, not the visitor."""
    assert site.status("/denied/ok") == 200
    (told,) = site.control("settled")
    assert "WRONGPASS" in told
    assert sums(stack, "dpl_denied") == NOTHING


@pytest.mark.parametrize("path", ["/api/told", "/given/ok"])
def test_a_silent_redis_holds_up_nobody(site: Site, door: Bridge, path: str) -> None:
    """Answers go out and writes are given up, by the app's own client too."""
    with door.holding():
        assert [site.status(path) for _ in range(5)] == [200] * 5
        told = site.control("settled")
    assert told
    assert all("Redis took more than" in each or "abort" in each for each in told)


def test_whoever_is_told_may_throw(site: Site, door: Bridge) -> None:
    """A broken `onError` breaks nothing else."""
    with door.holding():
        assert site.status("/api/told") == 200
        site.control("settled")
    until(lambda: works(site), "a write is done again")


def works(site: Site) -> bool:
    """Whether a count is written in time; a busy machine may need a second try."""
    assert site.status("/api/told") == 200
    return not site.control("settled")


def test_a_write_whose_reply_is_lost_is_not_repeated(
    site: Site, stack: Stack, door: Bridge
) -> None:
    """It may have been done, and then a second try would count twice."""
    door.deaf = True
    try:
        site.status("/api/ok")
        site.control("settled")
    finally:
        door.deaf = False
    assert sums(stack) == GOOD
    assert len(door.asked) == 1


def test_what_a_frozen_instance_finds_late_is_dropped(
    site: Site, stack: Stack, door: Bridge
) -> None:
    """A serverless instance can sleep between answer and write."""
    before = door.arrived
    with door.holding():
        site.status("/api/freezes")
        until(lambda: door.arrived == before + 1, "the first write is under way")
        site.status("/api/freezes")
        os.kill(site.pid, signal.SIGSTOP)
        try:
            late = int(time.time()) + 5
            until(lambda: time.time() > late, "the second cannot be written any more")
        finally:
            os.kill(site.pid, signal.SIGCONT)
        told: list[Any] = site.control("settled")
    assert "dropped: they are late" in told[-1]
    until(lambda: len(door.asked) == 1, "the first write is through")
    assert sums(stack)["requests"] == 1


@pytest.mark.parametrize("path", ["/api/ok", "/api/default", "/pages/ok"])
def test_the_platform_is_asked_to_wait_for_the_write(
    site: Site, door: Bridge, path: str
) -> None:
    """An instance that is done with its answers is frozen, but for `waitUntil`."""
    with door.holding():
        assert site.status(path) == 200
        assert site.control("held") == 1


def test_outside_of_what_after_knows_the_platform_waits(
    site: Site, stack: Stack, door: Bridge
) -> None:
    """`after` refuses API routes of the Pages Router: the platform's own serves."""
    with door.holding():
        assert site.status("/pages/outside") == 200
        assert site.control("held") == 1
    (told,) = site.control("settled")
    assert "outside a request scope" in told
    assert sums(stack) == GOOD
