"""A rollback that is killed anywhere has been done whole, or not at all.

Twenty kills; `make soak` makes it five hundred. SOAK_SEED repeats a run.
"""

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import psycopg
import pytest

from stack.backends.postgres import Postgres, find_account, find_programs
from stack.warden import Server

from .applying import sql
from .crashing import Writer, fingerprint, make, written

pytestmark = pytest.mark.postgres

KILLS = int(os.environ.get("SOAK_KILLS", "20"))
SEED = int(os.environ.get("SOAK_SEED") or secrets.randbits(32))
PATIENCE = 20.0
CLIENT, BACKEND, SERVER = "client killed", "backend terminated", "server stopped hard"
KINDS = (*[CLIENT] * 5, *[BACKEND] * 4, SERVER)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, or fail with what was waited for."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, what
        time.sleep(0.01)


class Own:
    """A server of the test's own, that can be stopped hard and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        account = find_account()
        self.postgres = Postgres(
            programs=find_programs(account),
            folder=folder / "postgres",
            port=port,
            account=account,
        )
        assert self._run(self.postgres.initdb()).wait(60) == 0
        self.start()

    @property
    def url(self) -> str:
        """Its database, as its owner."""
        return self.postgres.url

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = self._run(self.postgres.server())
        until(self.answers, "the server does not start")

    def stop(self) -> None:
        """At once, without a checkpoint: its next start is a recovery."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(PATIENCE)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def quiet(self) -> bool:
        """Whether no session of a rollback is left."""
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'rollback'"
        return not sql(self.url, query)

    def _run(self, server: Server) -> subprocess.Popen[bytes]:
        uid, gid = self.postgres.account or (None, None)
        with Path(server.log).open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - PostgreSQL's own program
                server.argv,
                env=server.env,
                cwd=server.cwd,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
                stdout=log,
                stderr=log,
            )


@pytest.fixture(scope="module")
def own() -> Iterator[Own]:
    """The server."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="crash-") as folder:
        Path(folder).chmod(0o755)
        server = Own(Path(folder))
        yield server
        server.stop()


class Clients:
    """Clients that roll back, each a process of its own."""

    def __init__(self) -> None:
        self.nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.database.crashing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, url: str) -> int:
        """Start one; its process."""
        return self._ask(url)

    def ended(self) -> int:
        """Wait for its end; its exit code."""
        return self._ask("")

    def _ask(self, line: str) -> int:
        assert self.nursery.stdin
        assert self.nursery.stdout
        self.nursery.stdin.write(f"{line}\n")
        self.nursery.stdin.flush()
        return int(self.nursery.stdout.readline())

    def close(self) -> None:
        """No more of them."""
        self.nursery.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    """Where clients come from."""
    started = Clients()
    yield started
    started.close()


def kill(kind: str, own: Own, pid: int) -> None:
    """End it by the means of this kind."""
    if kind == CLIENT:
        os.kill(pid, signal.SIGKILL)
    elif kind == BACKEND:
        sql(
            own.url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'rollback'",
        )
    else:
        own.stop()
        own.start()


def no_value_lost(own: Own, writer: Writer, *, before: bool) -> None:
    """All that the server confirmed is in the tables, or in the archive."""
    wishes, prices, guests = written(own.url, before=before)
    for place, wish in writer.wishes.items():
        # The last one may be there without its confirmation.
        assert wishes[place] in (wish, f"new {writer.number}")
    assert prices.items() >= writer.gifts.items()
    assert guests == set(range(1, 201))
    assert len(wishes) == 200
    assert len(prices) >= 200 + len(writer.gifts)


def attempt(own: Own, clients: Clients, kind: str | None, delay: float) -> Writer:
    """A rollback under a writer, killed after a while; both have ended then."""
    make(own.url)
    writer = Writer(own.url)
    thread = threading.Thread(target=writer.run)
    thread.start()
    began = time.monotonic()
    try:
        pid = clients.start(own.url)
        time.sleep(delay)
        if kind is not None:
            kill(kind, own, pid)
        clients.ended()
        writer.seconds = time.monotonic() - began
        until(own.quiet, "a session of the rollback is left")
    finally:
        writer.stopped = True
        thread.join(PATIENCE)
    assert not thread.is_alive()
    return writer


@pytest.mark.timeout(120 + 15 * KILLS)
def test_killed_at_any_point(own: Own, clients: Clients) -> None:
    """The state is exactly before or after, no value is lost, the next run finishes."""
    chance = random.Random(SEED)  # noqa: S311 - where to kill is no secret
    print(f"SOAK_SEED={SEED}")  # noqa: T201 - to repeat it
    make(own.url)
    states = {"before": anyio.run(fingerprint, own.url)}
    whole = attempt(own, clients, None, 0)
    no_value_lost(own, whole, before=False)
    states["after"] = anyio.run(fingerprint, own.url)
    found = []
    for number in range(KILLS):
        kind = KINDS[number % len(KINDS)]
        writer = attempt(own, clients, kind, chance.uniform(0, whole.seconds))
        state = anyio.run(fingerprint, own.url)
        assert state in states.values(), f"in pieces: {kind}, {number} of {SEED}"
        no_value_lost(own, writer, before=state == states["before"])
        found.append((kind, state == states["after"]))
        clients.start(own.url)
        assert clients.ended() == 0, f"the next run failed: {kind}, {number} of {SEED}"
        assert anyio.run(fingerprint, own.url) == states["after"]
        no_value_lost(own, writer, before=False)
    done = sum(after for _, after in found)
    print(f"{len(found)} kills: {len(found) - done} before, {done} after")  # noqa: T201
