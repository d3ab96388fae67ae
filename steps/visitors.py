"""Visitors of the site: Locust in its own process, and what it recorded."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import children
from .children import WITH_US

USERS = "18"  # about 30 requests a second between them
STARTS_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Visitors:
    """The load that is running. `record` has a JSON line for each request."""

    process: subprocess.Popen[bytes]
    record: Path
    log: Path

    def requests(self) -> list[dict[str, Any]]:
        """Every request so far, in the order in which they ended."""
        if not self.record.exists():
            return []
        whole = self.record.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def wait_for_steady_state(self, *, rate: float, seconds: float) -> float:
        """Wait until so many requests a second succeed over `seconds` without failure.

        Returns the rate seen; raises `AssertionError` when it does not come about.
        """
        deadline = time.monotonic() + STARTS_WITHIN
        seen: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the load ended:\n{self._log()}"
            since = time.time() - seconds
            seen = [r for r in self.requests() if r["t"] >= since]
            good = all(r["outcome"] == "ok" for r in seen)
            if good and len(seen) >= rate * seconds:
                return len(seen) / seconds
            time.sleep(0.1)
        bad = [r for r in seen if r["outcome"] != "ok"][:3]
        raise AssertionError(
            f"no steady state within {STARTS_WITHIN:.0f} s: {len(seen) / seconds:.1f} "
            f"requests/s of {rate:.0f} wanted, failures: {bad}\n{self._log()}"
        )

    def _log(self) -> str:
        return self.log.read_text()[-2000:]


@contextmanager
def visiting(url: str, *, folder: Path, seed: int) -> Iterator[Visitors]:
    """Visitors come while the context is open."""
    record, log = folder / "load.jsonl", folder / "load.log"
    command = [sys.executable, "-m", "locust", "-f", "load/locustfile.py"]
    command += ["--headless", "--host", url, "-u", USERS, "-r", USERS, "--only-summary"]
    command += ["--run-time", "10m"]
    environment = os.environ | {"LOAD_RECORD": str(record), "LOAD_SEED": str(seed)}
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own file, no shell
            command,
            preexec_fn=WITH_US,  # noqa: PLW1509 - one call of the kernel, no lock
            env=environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Visitors(process=process, record=record, log=log)
        finally:
            children.end(process)
