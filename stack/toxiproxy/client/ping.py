"""The smallest exchange with a dependency that shows how its route is.

Each goes through to the dependency itself and needs no login. Sources: PostgreSQL's
frontend/backend protocol (SSLRequest, StartupMessage), Redis' RESP, RFC 9112.
"""

import re
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Address = tuple[str, int]
Outcome = Literal["answered", "refused", "reset", "silent", "closed", "garbled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """What came of one ping."""

    outcome: Outcome
    ms: float
    """From before the connection to the outcome."""

    def __str__(self) -> str:
        """Continue a sentence that begins with "a ping"."""
        took = milliseconds(self.ms)
        return {
            "answered": f"took {took}",
            "refused": "was refused",
            "reset": f"was reset after {took}",
            "silent": f"got nothing within {took}",
            "closed": f"was cut off after {took}",
            "garbled": f"got something else than an answer after {took}",
        }[self.outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How to ask one sort of server for a sign of life."""

    ping: str
    """What its ping is called."""
    request: Callable[[int], bytes]
    """The request, with so many bytes of padding for a slow line to carry."""
    answer: re.Pattern[bytes]
    """What every answer begins with."""
    enough: int
    """Bytes after which it is known whether it does."""


def milliseconds(ms: float) -> str:
    """Write a duration with as many digits as are worth reading."""
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"  # noqa: PLR2004  # two digits


def ping(
    address: Address, protocol: Protocol, *, timeout: float, padding: int = 0
) -> Ping:
    """Connect, ask, and wait up to ``timeout`` seconds for an answer to begin.

    Raises:
        OSError: the network itself fails, other than by refusal, reset or silence.

    """
    started = time.monotonic()
    try:
        outcome = _exchange(address, protocol, started + timeout, padding)
    except ConnectionRefusedError:
        outcome = "refused"
    except (ConnectionResetError, BrokenPipeError):
        outcome = "reset"
    except TimeoutError:
        outcome = "silent"
    return Ping(outcome=outcome, ms=(time.monotonic() - started) * 1000)


def _exchange(
    address: Address, protocol: Protocol, deadline: float, padding: int
) -> Outcome:
    with socket.create_connection(address, _left(deadline)) as connection:
        connection.sendall(protocol.request(padding))
        answer = b""
        while len(answer) < protocol.enough:
            connection.settimeout(_left(deadline))
            more = connection.recv(protocol.enough - len(answer))
            if not more:
                return "closed"
            answer += more
            if protocol.answer.match(answer):
                return "answered"
    return "garbled"


def _left(deadline: float) -> float:
    # Zero would mean not to wait, and raise something else than TimeoutError.
    return max(0.001, deadline - time.monotonic())


def _postgres(padding: int) -> bytes:
    if not padding:
        return struct.pack("!II", 8, 80877103)  # SSLRequest
    # A start-up without a user: refused with an error, before any login.
    body = b"application_name\0" + b"x" * padding + b"\0\0"
    return struct.pack("!II", 8 + len(body), 196608) + body


def _redis(padding: int) -> bytes:
    words = [b"PING", b"x" * padding] if padding else [b"PING"]
    bulks = (b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n" % len(words) + b"".join(bulks)


def _http(padding: int) -> bytes:
    # The agent's name keeps it out of the app's own counts of requests.
    head = "HEAD / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: rollback-probe\r\n"
    more = f"X-Padding: {'x' * padding}\r\n" if padding else ""
    return f"{head}{more}\r\n".encode()


POSTGRES = Protocol(
    ping="a PostgreSQL ping",
    request=_postgres,
    answer=re.compile(rb"[SNERv]"),
    enough=1,
)
REDIS = Protocol(
    ping="a Redis ping",
    request=_redis,
    # fakeredis gives the padding back as a simple string instead of a bulk string.
    answer=re.compile(rb"\+PONG|\+x|-NOAUTH|\$\d"),
    enough=len(b"-NOAUTH"),
)
HTTP = Protocol(
    ping="an HTTP ping",
    request=_http,
    answer=re.compile(rb"HTTP/1\.[01] \d{3}"),
    enough=len(b"HTTP/1.1 200"),
)
