"""What the tests of the fault proxy do to it, and to connections through it."""

import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

import httpx

from stack.toxiproxy.client.api import Client
from tests.integration.test_toxiproxy_process import connect, receive

NOWHERE = "127.0.0.1:1"
LATENCY = {"type": "latency", "attributes": {"latency": 100}}
BRIEF_S = 0.3
"""How long silence is listened to."""
SLACK_S = 1.0
"""How late a busy machine may make anything."""


def create(api: httpx.Client, name: str, **fields: object) -> dict[str, Any]:
    """Make a proxy that by default listens on a free port."""
    body = {"name": name, "listen": "127.0.0.1:0", "upstream": NOWHERE, **fields}
    answer = api.post("/proxies", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def error(answer: httpx.Response) -> tuple[int, str]:
    """What the API refused with: the status, which its body repeats, and the reason."""
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["error"]


def listens(address: str) -> bool:
    """Whether a connection is accepted there."""
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return False
    return True


def add(client: Client, kind: str, stream: str = "downstream", **more: object) -> str:
    """Add a toxic with these attributes, or toxicity, and give its name."""
    toxicity = more.pop("toxicity", 1.0)
    body = {"type": kind, "stream": stream, "attributes": more, "toxicity": toxicity}
    return str(client.add_toxic("p", body)["name"])


def round_trip(connection: socket.socket, message: bytes = b"ping") -> float:
    """Seconds until the echo is back."""
    started = time.monotonic()
    connection.sendall(message)
    assert receive(connection, len(message)) == message
    return time.monotonic() - started


def is_silent(connection: socket.socket) -> bool:
    """Whether nothing comes, not even an end, for a moment."""
    connection.settimeout(BRIEF_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(10)
    return False


def is_reset(connection: socket.socket) -> bool:
    """Whether a message on the connection is answered by a reset."""
    connection.sendall(b"ping")
    try:
        connection.recv(4)
    except ConnectionResetError:
        return True
    return False


def break_off(connection: socket.socket) -> None:
    """Close with a reset."""
    no_linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    connection.close()


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
