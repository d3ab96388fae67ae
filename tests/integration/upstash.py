"""Upstash's REST protocol before a real Redis, as far as its client speaks it.

Source: upstash.com/docs/redis/features/restapi. `POST /` takes one command, `/pipeline`
and `/multi-exec` take many; whoever has not the token is refused.
"""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

Command = Sequence[Any]
TOKEN = "upstash-token"


class Bridge:
    """Takes requests while it is `open`; remembers what it was asked."""

    def __init__(self, redis_url: str) -> None:
        self.redis = Redis.from_url(redis_url, decode_responses=True)
        self.asked: list[list[Command]] = []
        self.arrived = 0
        self.deaf = False  # does what it is told and cuts the line before the reply
        self._open = threading.Event()
        self._open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.bridge = self  # type: ignore[attr-defined]  # for the handler
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["Bridge"]:
        """Answer while the context is open."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._open.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()
            self.redis.close()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let every request wait while the context is open."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def answer(self, path: str, body: Any, *, encoded: bool) -> tuple[int, Any]:
        """Do what is asked: the status and what is answered."""
        self.arrived += 1
        self._open.wait()
        commands = [body] if path == "/" else body
        self.asked.append(commands)
        if path == "/pipeline":
            return 200, [self._one(command, encoded) for command in commands]
        if path == "/multi-exec":
            return self._all(commands, encoded)
        if path != "/":
            return 400, {"error": "ERR the path is not known here"}
        answer = self._one(body, encoded)
        return (400 if "error" in answer else 200), answer

    def _one(self, command: Command, encoded: bool) -> dict[str, Any]:
        try:
            done = self.redis.execute_command(*command)  # type: ignore[no-untyped-call]  # theirs
            return {"result": _shown(done, encoded)}
        except RedisError as error:
            return {"error": str(error)}

    def _all(self, commands: Sequence[Command], encoded: bool) -> tuple[int, Any]:
        with self.redis.pipeline(transaction=True) as transaction:
            for command in commands:
                transaction.execute_command(*command)  # type: ignore[no-untyped-call]  # theirs
            try:
                results = transaction.execute()
            except RedisError as error:
                return 400, {"error": str(error)}
        return 200, [{"result": _shown(each, encoded)} for each in results]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        bridge: Bridge = self.server.bridge  # type: ignore[attr-defined]  # set above
        raw = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["authorization"] != f"Bearer {TOKEN}":
            return self._send(401, {"error": "WRONGPASS invalid or missing auth token"})
        encoded = self.headers.get("upstash-encoding") == "base64"
        status, answer = bridge.answer(self.path, json.loads(raw), encoded=encoded)
        if bridge.deaf:
            self.close_connection = True
            return None
        return self._send(status, answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - theirs
        """Say nothing of each request."""

    def _send(self, status: int, answer: Any) -> None:
        body = json.dumps(answer).encode()
        head = (
            f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        try:
            self.wfile.write(head.encode() + body)
        except OSError:  # who asked did not wait
            self.close_connection = True


def _shown(value: Any, encoded: bool) -> Any:
    if isinstance(value, list):
        return [_shown(each, encoded) for each in value]
    if value is True:  # redis-py reads "OK"
        return "OK"
    if encoded and isinstance(value, str):
        return b64encode(value.encode()).decode()
    return value
