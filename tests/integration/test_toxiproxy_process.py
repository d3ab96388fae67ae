"""The fault proxy as a program: its flags, its beginning and its end.

The servers that its other tests need are here too.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from stack.toxiproxy.client.api import Client, ToxiproxyError

ROOT = Path(__file__).parents[2]
PATIENCE_S = 10.0
OURS = (sys.executable, "-m", "stack.toxiproxy")


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, or fail with what was waited for."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def launch(*flags: object, program: Sequence[str] = OURS) -> subprocess.Popen[str]:
    """Start the program; whoever calls this ends it."""
    return subprocess.Popen(  # noqa: S603  # our own program
        [*program, *map(str, flags)],
        cwd=ROOT,
        # Nobody empties the pipes; the original would wait once its log had filled one.
        env=os.environ | {"LOG_LEVEL": "fatal"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_up(client: Client) -> bool:
    """Whether the API answers."""
    try:
        return client.version() == "2.12.0"
    except ToxiproxyError:
        return False


@contextmanager
def running(
    *flags: object, program: Sequence[str] = OURS
) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    """A fault proxy on a free port, and a client of its API."""
    port = free_port()
    with (
        launch("-host", "127.0.0.1", "-port", port, *flags, program=program) as process,
        Client(f"http://127.0.0.1:{port}") as client,
    ):
        try:
            until(lambda: is_up(client), "the API answers")
            yield client, process
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


@contextmanager
def upstream(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server with a thread for each connection; gives its address."""
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            handle(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield "127.0.0.1:{1}".format(*listener.getsockname())
        finally:
            for open_one in (listener, *connections):
                with suppress(OSError):
                    open_one.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *threads):
                thread.join(PATIENCE_S)


def echo(connection: socket.socket) -> None:
    """Send back what comes, until no more does."""
    while data := connection.recv(65536):
        connection.sendall(data)


def connect(address: str) -> socket.socket:
    """Open a connection that does not wait for ever."""
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), PATIENCE_S)


def receive(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes, fewer only if the connection ends."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def test_config_is_in_place_before_the_api_answers(tmp_path: Path) -> None:
    """The proxies of -config listen by the time that the API answers."""
    config = tmp_path / "proxies.json"
    with upstream(echo) as address:
        listen = f"127.0.0.1:{free_port()}"
        proxy = {"name": "v1-redis", "listen": listen, "upstream": address}
        config.write_text(json.dumps([proxy]))
        with running("-config", config) as (client, _), connect(listen) as connection:
            connection.sendall(b"ping")
            assert receive(connection, 4) == b"ping"
            assert client.proxies()["v1-redis"]["enabled"] is True


def test_useless_config_ends_the_program(tmp_path: Path) -> None:
    """A -config that names no upstream is reported, and the program ends with 1."""
    config = tmp_path / "proxies.json"
    config.write_text('[{"name": "v1-redis"}]')
    with launch("-port", free_port(), "-config", config) as process:
        _, said = process.communicate(timeout=PATIENCE_S)
        assert "missing required field: upstream at proxy 1" in said
        assert process.returncode == 1


def test_missing_config_ends_the_program(tmp_path: Path) -> None:
    """A -config that is not there is reported, and the program ends with 1."""
    missing = tmp_path / "none.json"
    with launch("-port", free_port(), "-config", missing) as process:
        _, said = process.communicate(timeout=PATIENCE_S)
        assert "No such file" in said
        assert process.returncode == 1


def test_sigterm_ends_it_well_with_connections_open() -> None:
    """SIGTERM ends the program with 0 while connections are open, and closes them."""
    with upstream(echo) as address, running() as (client, process):
        listen = client.create("p", address)["listen"]
        with connect(listen) as connection:
            connection.sendall(b"ping")
            assert receive(connection, 4) == b"ping"
            process.terminate()
            assert connection.recv(1) == b""
            assert process.wait(PATIENCE_S) == 0


def test_seed_that_was_chosen_is_told() -> None:
    """Without -seed the program says which it chose, so that a run can be repeated."""
    with running() as (_, process):
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE_S)
        assert "with seed " in said


@pytest.mark.parametrize("flag", ["-version", "--version"])
def test_version_is_the_one_that_is_spoken(flag: str) -> None:
    """-version prints the version of the original that this one follows."""
    with launch(flag) as process:
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert said == "2.12.0\n"
        assert process.returncode == 0
