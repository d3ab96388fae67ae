"""The site in Next.js' stead; the suites that need it name this file as a plugin."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.backends import Stack

from .nextjs import OWN, Site, compiled, running
from .upstash import TOKEN, Bridge


@pytest.fixture(scope="session")
def nextjs_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site's folder, compiled once."""
    source = Path(__file__).with_name("nextjs_site.ts")
    return compiled(tmp_path_factory.mktemp("nextjs"), source)


@pytest.fixture(scope="module")
def upstash(stack: Stack) -> Iterator[Bridge]:
    """Upstash's door to the practice stack's Redis."""
    with Bridge(stack.addresses["redis"]).running() as bridge:
        yield bridge


@pytest.fixture(scope="module")
def nextjs_started(nextjs_out: Path, upstash: Bridge) -> Iterator[Site]:
    """The site, with the environment that it has on the platform."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    environment = {
        "VERCEL_DEPLOYMENT_ID": OWN,
        "UPSTASH_REDIS_REST_URL": upstash.url,
        "UPSTASH_REDIS_REST_TOKEN": TOKEN,
        "CLOSED_URL": closed,
        "PATH": os.environ["PATH"],
    }
    with running(nextjs_out / "nextjs_site.js", environment) as site:
        yield site


@pytest.fixture
def nextjs(nextjs_started: Site, upstash: Bridge) -> Site:
    """The site, with nothing counted yet."""
    nextjs_started.control("settled")
    for key in upstash.redis.keys("requests:dpl_*"):
        upstash.redis.delete(key)
    upstash.asked.clear()
    return nextjs_started
