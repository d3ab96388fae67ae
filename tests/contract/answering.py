"""An HTTP server that answers as a test says: for what a real one seldom gives."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is sent back; JSON unless it is bytes already."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Asked = Mapping[str, str]
"""The first value of each parameter."""


@dataclass
class Answering:
    """Where the server is, and the headers of all requests so far."""

    url: str
    reply: Callable[[Asked], Reply]
    headers: list[Mapping[str, str]] = field(default_factory=list)


@contextmanager
def answering(reply: Callable[[Asked], Reply]) -> Iterator[Answering]:
    """Serve on a free port until the block ends."""
    state = Answering("", reply)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, state))
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, state: Answering, *arguments: Any) -> None:
        self.state = state
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer(self.path.partition("?")[2])

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"])).decode())

    def _answer(self, form: str) -> None:
        self.state.headers.append({k.lower(): v for k, v in self.headers.items()})
        reply = self.state.reply({k: v[0] for k, v in parse_qs(form).items()})
        plain = isinstance(reply.body, bytes)
        body = reply.body if plain else json.dumps(reply.body).encode()
        kind = "text/html" if plain else "application/json"
        self.send_response(reply.status)
        for name, value in {"content-type": kind, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - theirs
        """Keep quiet."""
