"""What only Vercel's cache has to promise: what is asked again, and in which words."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest

from rollback.errors import PlatformDenied, PlatformUnreachable
from stack.backends import Stack

from .test_cache import TIMELINE, connect
from .test_platform_vercel import StandIn, stand_in

__all__ = ["stand_in"]

pytestmark = [pytest.mark.anyio, pytest.mark.edge]


@pytest.fixture
def kind() -> str:
    """Only the real adapter."""
    return "real"


async def test_a_purge_that_fails_is_sent_again(
    stack: Stack, stand_in: StandIn
) -> None:
    """Deleting twice is deleting once, so a broken answer is only a delay."""
    stand_in.faults(delete_by_tags={"status": 500, "times": 5})
    await connect(stack).purge((TIMELINE,))
    assert stand_in.asked("delete_by_tags") == [500] * 5 + [200]


async def test_a_limit_is_waited_for(stack: Stack, stand_in: StandIn) -> None:
    """It is sent again after the time that was asked for."""
    stand_in.faults(delete_by_tags={"status": 429, "retry_after": 1})
    began = anyio.current_time()
    await connect(stack).purge((TIMELINE,))
    assert anyio.current_time() - began >= 1
    assert stand_in.asked("delete_by_tags") == [429, 200]


async def test_a_long_limit_is_not_waited_for(stack: Stack, stand_in: StandIn) -> None:
    """What nobody can wait for is told at once."""
    stand_in.faults(delete_by_tags={"status": 429, "retry_after": 3600, "times": 9})
    with pytest.raises(PlatformUnreachable, match="429"):
        await connect(stack).purge((TIMELINE,))
    assert stand_in.asked("delete_by_tags") == [429]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
async def test_a_refusal_is_not_asked_again(
    stack: Stack, stand_in: StandIn, status: int
) -> None:
    """Each is told in the platform's own words, once."""
    stand_in.faults(
        delete_by_tags={"status": status, "message": "Not like this", "times": 9}
    )
    with pytest.raises(PlatformDenied, match="Not like this"):
        await connect(stack).purge((TIMELINE,))
    assert stand_in.asked("delete_by_tags") == [status]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"token": "wrong"}, "Not authorized"),
        ({"project_id": "prj_other"}, "Could not find the project"),
        ({"team_id": None}, "permission"),
    ],
)
async def test_whoever_may_not_purge_is_told(
    stack: Stack, stand_in: StandIn, changed: dict[str, Any], said: str
) -> None:
    """The token, the project and the team, each by the platform itself."""
    with pytest.raises(PlatformDenied, match=said):
        await connect(stack, **changed).purge((TIMELINE,))
    assert len(stand_in.asked("delete_by_tags")) == 1


async def test_a_tag_that_is_too_long_is_told(stack: Stack, stand_in: StandIn) -> None:
    """It is the feature's name; nothing can be done about it by asking again."""
    await connect(stack).purge(("x" * 256,))
    with pytest.raises(PlatformDenied, match="256"):
        await connect(stack).purge(("x" * 257,))
    assert stand_in.asked("delete_by_tags") == [200, 400]


async def test_it_is_production_s_entries_that_are_deleted_by_sixteen(
    stack: Stack,
) -> None:
    """Not marked as stale, as many as a call may have, and previews left alone."""
    with listening() as heard:
        cache = connect(stack, url=heard.url)
        await cache.purge([f"feature:{number}" for number in range(33)])

    assert [path.partition("?")[0] for path, _ in heard.posts] == [
        "/v1/edge-cache/dangerously-delete-by-tags"
    ] * 3
    assert [len(body["tags"]) for _, body in heard.posts] == [16, 16, 1]
    assert {body["target"] for _, body in heard.posts} == {"production"}
    assert sorted({name for _, body in heard.posts for name in body["tags"]}) == sorted(
        f"feature:{number}" for number in range(33)
    )


async def test_nobody_there_is_told_after_its_patience(stack: Stack) -> None:
    """A refused connection is tried again until then."""
    cache = connect(stack, url="http://127.0.0.1:1", patience_seconds=0.5)
    with anyio.fail_after(20), pytest.raises(PlatformUnreachable, match="127"):
        await cache.purge((TIMELINE,))


class Heard:
    """A server's address, and what was posted to it."""

    def __init__(self) -> None:
        self.url = ""
        self.posts: list[tuple[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    def __init__(self, heard: Heard, *arguments: Any) -> None:
        self.heard = heard
        super().__init__(*arguments)

    def do_POST(self) -> None:
        """Note it and say 200."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.heard.posts.append((self.path, json.loads(body)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - theirs
        """Keep quiet."""


@contextmanager
def listening() -> Iterator[Heard]:
    """Serve on a free port until the block ends."""
    heard = Heard()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, heard))
    heard.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield heard
    finally:
        server.shutdown()
        server.server_close()
