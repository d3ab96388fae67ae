"""How the drop-in for Next.js writes: a lost Redis costs no request anything."""

import os
import signal
import time
from typing import Any

import pytest

from stack.backends import Stack

from .nextjs import GOOD, NOTHING, Site, sums
from .processes import until
from .upstash import Bridge

pytest_plugins = ["tests.integration.nextjs_fixtures"]
pytestmark = pytest.mark.redis


# -- what it costs --------------------------------------------------------------------


def test_a_healthy_answer_is_one_request_with_two_commands(
    nextjs: Site, upstash: Bridge
) -> None:
    """Upstash bills by the command: fields that are zero are not written."""
    for path in ("/api/ok", "/api/fail"):
        nextjs.status(path)
        nextjs.control("settled")
    commands = [[each[0] for each in pipeline] for pipeline in upstash.asked]
    assert commands == [
        ["hincrby", "expire"],
        ["hincrby", "hincrby", "expire"],
    ]


def test_counts_that_wait_go_together(
    nextjs: Site, stack: Stack, upstash: Bridge
) -> None:
    """While one write is under way the others are summed up: no queue can grow."""
    before = upstash.arrived
    with upstash.holding():
        nextjs.status("/api/ok")
        until(lambda: upstash.arrived == before + 1, "the first write is under way")
        for _ in range(20):
            assert nextjs.status("/api/ok") == 200
    nextjs.control("settled")
    # The twenty may fall into two seconds, but never into two requests.
    assert len(upstash.asked) == 2
    assert sums(stack)["requests"] == 21


# -- when Redis is lost ---------------------------------------------------------------


def test_a_lost_redis_costs_no_request_anything(nextjs: Site, stack: Stack) -> None:
    """The visitor has the answer, and whoever wants to know is told."""
    assert nextjs.status("/lost/ok") == 200
    (told,) = nextjs.control("settled")
    assert "fetch failed" in told
    assert sums(stack, "dpl_lost") == NOTHING


def test_a_wrong_token_costs_no_request_anything(nextjs: Site, stack: Stack) -> None:
    """Upstash refuses the write, not the visitor."""
    assert nextjs.status("/denied/ok") == 200
    (told,) = nextjs.control("settled")
    assert "WRONGPASS" in told
    assert sums(stack, "dpl_denied") == NOTHING


@pytest.mark.parametrize("path", ["/api/told", "/given/ok"])
def test_a_silent_redis_holds_up_nobody(
    nextjs: Site, upstash: Bridge, path: str
) -> None:
    """Answers go out and writes are given up, by the app's own client too."""
    with upstash.holding():
        assert [nextjs.status(path) for _ in range(5)] == [200] * 5
        told = nextjs.control("settled")
    assert told
    assert all("Redis took more than" in each or "abort" in each for each in told)


def test_whoever_is_told_may_throw(nextjs: Site, upstash: Bridge) -> None:
    """A broken `onError` breaks nothing else."""
    with upstash.holding():
        assert nextjs.status("/api/told") == 200
        nextjs.control("settled")
    until(lambda: works(nextjs), "a write is done again")


def works(nextjs: Site) -> bool:
    """Whether a count is written in time; a busy machine may need a second try."""
    assert nextjs.status("/api/told") == 200
    return not nextjs.control("settled")


def test_a_write_whose_reply_is_lost_is_not_repeated(
    nextjs: Site, stack: Stack, upstash: Bridge
) -> None:
    """It may have been done, and then a second try would count twice."""
    upstash.deaf = True
    try:
        nextjs.status("/api/ok")
        nextjs.control("settled")
    finally:
        upstash.deaf = False
    assert sums(stack) == GOOD
    assert len(upstash.asked) == 1


def test_what_a_frozen_instance_finds_late_is_dropped(
    nextjs: Site, stack: Stack, upstash: Bridge
) -> None:
    """A serverless instance can sleep between answer and write."""
    before = upstash.arrived
    with upstash.holding():
        nextjs.status("/api/freezes")
        until(lambda: upstash.arrived == before + 1, "the first write is under way")
        nextjs.status("/api/freezes")
        os.kill(nextjs.pid, signal.SIGSTOP)
        try:
            late = int(time.time()) + 5
            until(lambda: time.time() > late, "the second cannot be written any more")
        finally:
            os.kill(nextjs.pid, signal.SIGCONT)
        told: list[Any] = nextjs.control("settled")
    assert "dropped: they are late" in told[-1]
    until(lambda: len(upstash.asked) == 1, "the first write is through")
    assert sums(stack)["requests"] == 1


@pytest.mark.parametrize("path", ["/api/ok", "/api/default", "/pages/ok"])
def test_the_platform_is_asked_to_wait_for_the_write(
    nextjs: Site, upstash: Bridge, path: str
) -> None:
    """An instance that is done with its answers is frozen, but for `waitUntil`."""
    with upstash.holding():
        assert nextjs.status(path) == 200
        assert nextjs.control("held") == 1


def test_outside_of_what_after_knows_the_platform_waits(
    nextjs: Site, stack: Stack, upstash: Bridge
) -> None:
    """`after` refuses API routes of the Pages Router: the platform's own serves."""
    with upstash.holding():
        assert nextjs.status("/pages/outside") == 200
        assert nextjs.control("held") == 1
    (told,) = nextjs.control("settled")
    assert "outside a request scope" in told
    assert sums(stack) == GOOD
