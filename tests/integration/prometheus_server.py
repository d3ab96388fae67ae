"""A real Prometheus, and something for it to scrape."""

import os
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from .processes import until

CONFIG = """\
global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: ["127.0.0.1:{exporter}"]}}]
"""


@dataclass
class Exporter:
    """Counts requests by deployment and shows the counters, as an app's client does."""

    port: int
    counters: Counter[str] = field(default_factory=Counter)
    scraped: int = 0
    server: ThreadingHTTPServer | None = None

    def request(
        self, deployment: str, *, code: int = 200, seconds: float = 0.1, times: int = 1
    ) -> None:
        """Count requests of one kind."""
        name, labels = "http_request_duration_seconds", f'deployment="{deployment}"'
        self.counters[f'http_requests_total{{{labels},code="{code}"}}'] += times
        self.counters[f"{name}_count{{{labels}}}"] += times
        for bound in ("1", "3", "+Inf"):
            inside = times if seconds <= float(bound) else 0
            self.counters[f'{name}_bucket{{{labels},le="{bound}"}}'] += inside

    def start(self) -> None:
        """Begin at zero, as a process that was restarted does."""
        self.counters.clear()
        handler = partial(_Page, self)
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer nobody any more."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def wait_for_scrape(self) -> None:
        """Return when Prometheus has seen what is counted now."""
        # One scrape may be under way already; the second one begins after this call.
        wanted = self.scraped + 2
        until(lambda: self.scraped >= wanted, "Prometheus does not scrape")


class _Page(BaseHTTPRequestHandler):
    def __init__(self, exporter: Exporter, *arguments: object) -> None:
        self.exporter = exporter
        super().__init__(*arguments)  # type: ignore[arg-type]  # the server's own

    def do_GET(self) -> None:
        lines = [f"{name} {value}\n" for name, value in self.exporter.counters.items()]
        body = "".join(lines).encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.exporter.scraped += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - theirs
        """Keep quiet."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def binary() -> str:
    """Where Prometheus is; skips where there is none."""
    found = os.environ.get("ROLLBACK_TEST_PROMETHEUS") or shutil.which("prometheus")
    if not found:
        pytest.skip("no Prometheus on PATH or in ROLLBACK_TEST_PROMETHEUS")
    return found


@contextmanager
def running(folder: Path, *, exporter: int) -> Iterator[str]:
    """Run Prometheus, scraping a port four times a second; gives its URL."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(exporter=exporter))
    command = [
        binary(),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    process = subprocess.Popen(command, cwd=folder)  # noqa: S603 - our own words
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _ready(url), "Prometheus did not start")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False
