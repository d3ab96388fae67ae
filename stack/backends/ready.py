"""Asking a server whether it is there, in its own protocol."""

import contextlib
import http.client
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg

SECONDS = 2.0


class Answer(NamedTuple):
    """What an HTTP server said; status 0 when it said nothing."""

    status: int
    body: str


def ask(url: str, method: str = "GET", body: str | None = None) -> Answer:
    """Send one request on a connection of its own, past the environment's proxies."""
    parts = urlsplit(url)
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection = http.client.HTTPConnection(parts.netloc, timeout=SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request(method, parts.path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"))
        except (OSError, http.client.HTTPException):
            return Answer(0, "")


def is_ok(url: str) -> bool:
    """Whether the address answers 200."""
    return ask(url).status == http.client.OK


def redis_pings(port: int) -> bool:
    """Whether Redis answers PING."""
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def postgres_answers(url: str) -> bool:
    """Whether PostgreSQL takes a query of its owner."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False
