"""The vendors' stand-ins, started as a process of their own."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]


@contextmanager
def running(vendor: str, **settings: Any) -> Iterator[str]:
    """Run one vendor's stand-in on a free port, give its URL, and see it end clean."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = json.dumps({vendor: {"port": port, **settings}})
    command = [sys.executable, "-m", "stack.vendors", config]
    process = subprocess.Popen(command, cwd=ROOT)  # noqa: S603  # our own words
    try:
        yield _ready(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        assert process.wait(10) == 0


def _ready(url: str) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            httpx.get(f"{url}/_control/state", trust_env=False).raise_for_status()
        except httpx.TransportError:
            assert time.monotonic() < deadline, "the stand-in did not start"
            time.sleep(0.05)
        else:
            return url
