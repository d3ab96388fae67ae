"""The load: what it sends, what it writes down, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from stack.backends import Stack

ROOT = Path(__file__).resolve().parents[2]
USERS = 25
FIELDS = {
    "t",
    "flow",
    "method",
    "path_template",
    "status",
    "ms",
    "deployment",
    "outcome",
}
WRITES = {"signup", "form", "payment"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A load that is running, and its record so far."""

    process: subprocess.Popen[bytes]
    record: Path
    log: Path

    def lines(self) -> list[Json]:
        """Every request that was written down."""
        text = self.record.read_text() if self.record.exists() else ""
        return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]

    def wait_for(self, condition: Callable[[list[Json]], bool], what: str) -> None:
        """Wait until the record is as wanted."""
        deadline = time.monotonic() + 30
        while not condition(self.lines()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{what}: {self.lines()[-5:]}"
            time.sleep(0.05)

    def stop(self, signum: int) -> list[Json]:
        """End it as a runner does, and give the whole record."""
        self.process.send_signal(signum)
        assert self.process.wait(timeout=10) == 0, self.log.read_text()
        return self.lines()


@contextmanager
def load(folder: Path, site: str, seed: str = "7") -> Iterator[Load]:
    """Run the load in a process of its own."""
    record, log = folder / "load.jsonl", folder / "load.log"
    command = [sys.executable, "-m", "locust", "-f", "load/locustfile.py"]
    command += ["--headless", "--host", site, "-u", str(USERS), "-r", str(USERS)]
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own load
            [*command, "--only-summary"],
            cwd=ROOT,
            env=os.environ | {"LOAD_RECORD": str(record), "LOAD_SEED": seed},
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            yield Load(process=process, record=record, log=log)
        finally:
            process.kill()


def paid(lines: list[Json]) -> set[str]:
    """Orders that were seen to be paid."""
    return {r["order_id"] for r in lines if r.get("payment_status") == "paid"}


def test_the_load_does_the_critical_flows_and_writes_each_request_down(
    fresh: Stack, tmp_path: Path
) -> None:
    """At 20 requests a second or more all goes well, and what is written is true."""
    with load(tmp_path, fresh.addresses["edge"]) as running:
        running.wait_for(lambda lines: len(lines) > 20, "the load begins")
        began = time.time() + 1
        running.wait_for(lambda _: time.time() > began + 3, "three seconds")
        running.wait_for(lambda lines: len(paid(lines)) > 10, "orders are paid")
        lines = running.stop(signal.SIGTERM)

    steady = [r for r in lines if began <= r["t"] < began + 3]
    assert len(steady) / 3 >= 20
    assert all(set(r) >= FIELDS for r in lines)
    done = [r for r in lines if r["status"] is not None]
    assert {r["outcome"] for r in done} == {"ok"}, done
    assert {r["flow"] for r in lines} == {*WRITES, "page", "feature"}
    assert {r["deployment"] for r in done} == {fresh.deployments["v2"]}
    assert all(r["ms"] > 0 for r in lines)
    # What was on its way when the load ended may have been done or not.
    cut_short = Counter(r["flow"] for r in lines if r["outcome"] == "unknown")
    assert cut_short.total() == len(lines) - len(done)
    written = {
        "signup": {r["supplier_id"] for r in done if r["flow"] == "signup"},
        "form": {r["submission_id"] for r in done if r["flow"] == "form"},
        "payment": {
            r["order_id"]
            for r in done
            if r["method"] == "POST" and r["flow"] == "payment"
        },
    }
    tables = {"signup": "suppliers", "form": "submissions", "payment": "orders"}
    with psycopg.connect(fresh.addresses["postgres"]) as connection:
        for flow, names in written.items():
            query = f"SELECT id::text FROM {tables[flow]}"  # noqa: S608 - from above
            stored = {name for (name,) in connection.execute(query)}
            assert names <= stored
            assert len(stored - names) <= cut_short[flow]
    state = httpx.get(
        f"{fresh.addresses['stripe']}/_control/state", trust_env=False
    ).json()
    charged = Counter(charge["payment_intent"] for charge in state["charges"])
    assert set(charged.values()) == {1}
    assert len(charged) >= len(paid(lines))


def test_two_loads_with_one_seed_do_not_meet(fresh: Stack, tmp_path: Path) -> None:
    """Names are of the run: the same seed again on the same data is no conflict."""
    orders = []
    for run in ("first", "second"):
        folder = tmp_path / run
        folder.mkdir()
        with load(folder, fresh.addresses["edge"]) as running:
            running.wait_for(lambda lines: len(paid(lines)) > 2, "orders are paid")
            lines = running.stop(signal.SIGINT)
        assert {r["outcome"] for r in lines if r["status"]} == {"ok"}
        orders.append({r["order_id"] for r in lines if "order_id" in r})
    assert not orders[0] & orders[1]


def test_what_is_not_answered_is_unknown_for_a_write_and_failed_for_a_read(
    tmp_path: Path,
) -> None:
    """Without a server the load goes on, and says what it cannot know."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]  # bound, and nobody listens: refused
        with load(tmp_path, f"http://127.0.0.1:{port}") as running:
            running.wait_for(
                lambda lines: {r["method"] for r in lines} == {"GET", "POST"},
                "both sorts were tried",
            )
            lines = running.stop(signal.SIGTERM)

    outcomes = {(r["method"], r["status"], r["outcome"]) for r in lines}
    assert outcomes == {("POST", None, "unknown"), ("GET", None, "failed")}
    assert all(r["deployment"] is None for r in lines)


@pytest.mark.edge
def test_a_refusal_is_failed_and_the_load_goes_on(fresh: Stack, tmp_path: Path) -> None:
    """While the site is broken requests fail; after that they are well again."""
    with load(tmp_path, fresh.addresses["edge"]) as running:
        running.wait_for(lambda lines: len(lines) > 20, "the load begins")
        fault = fresh.faults.inject("refused", "v2", "postgres")
        running.wait_for(
            lambda lines: {"failed"} == {r["outcome"] for r in lines[-3:]}, "failures"
        )
        fault.heal()
        healed = time.time() + 1
        running.wait_for(
            lambda lines: sum(r["t"] > healed for r in lines) > 20, "it goes on"
        )
        lines = running.stop(signal.SIGTERM)
    failed = [r for r in lines if r["outcome"] == "failed"]
    assert {r["status"] for r in failed} == {503}
    assert {r["outcome"] for r in lines if r["t"] > healed and r["status"]} == {"ok"}
