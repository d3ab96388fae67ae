"""One run: v2 is live, a command is started, and visitors are asked what they see."""

import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import anyio
import httpx

from rollback.adapters.postgres import PostgresLedger
from rollback.model import DeploymentVersion, HealthStatus
from stack.backends import Stack

from .contenders import Contender

PAUSE_S = 0.01
ENDS_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Seconds from the command's start, and the requests that it made.

    `asked` until the platform had taken the request, `moved` until every production
    host was seen to serve v1, `ended` until the command was done.
    """

    asked: float
    moved: float
    ended: float
    requests: int


class Race:
    """The stack that all contenders run on."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._http = httpx.Client(trust_env=False, timeout=30)

    def __enter__(self) -> Self:
        """Give the race itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, contender: Contender) -> Run:
        """Let one of them roll back; raises `RuntimeError` when it does not."""
        self._stack.reset(live="v2")
        anyio.run(_record, self._stack)
        hosts = list(self._state()["domains"])
        wall, began = time.time(), time.monotonic()
        with subprocess.Popen(  # noqa: S603 - our own words
            contender.command,
            cwd=contender.folder,
            env=dict(contender.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                moved = self._moved(hosts, began)
                said, _ = process.communicate(timeout=ENDS_S)
            finally:
                process.kill()
        ended = time.monotonic() - began
        if process.returncode or moved is None:
            raise RuntimeError(f"{contender.name} did not roll back: {said}")
        calls = self._state()["calls"]
        asked = next(c["at"] for c in calls if c["endpoint"] == "rollback")
        return Run(asked=asked - wall, moved=moved, ended=ended, requests=len(calls))

    def _moved(self, hosts: list[str], began: float) -> float | None:
        """When the last host was first seen to serve v1."""
        good = self._stack.deployments["v1"]
        while time.monotonic() - began < ENDS_S:
            if all(self._serves(host) == good for host in hosts):
                return time.monotonic() - began
            time.sleep(PAUSE_S)
        return None

    def _serves(self, host: str) -> str:
        edge = self._stack.addresses["edge"]
        return self._http.get(edge, headers={"host": host}).headers["x-deployment-id"]

    def _state(self) -> dict[str, Any]:
        url = f"{self._stack.addresses['platform']}/_control/state"
        state: dict[str, Any] = self._http.get(url).raise_for_status().json()
        return state


async def _record(stack: Stack) -> None:
    """v1 passed: what ours wants to know, and the others do not ask."""
    ledger = PostgresLedger(stack.environment["ROLLBACK_LEDGER_URL"])
    now = datetime.now(UTC)
    for release in ("v1", "v2"):
        recorded = DeploymentVersion(
            id=f"production-{stack.deployments[release]}",
            deployment_id=stack.deployments[release],
            environment="production",
            timestamp=now,
            git_sha=stack.git_shas[release],
            db_migration_version="003",
        )
        await ledger.record(recorded)
    good = stack.deployments["v1"]
    await ledger.set_health(good, "production", HealthStatus.PASSING, now)
