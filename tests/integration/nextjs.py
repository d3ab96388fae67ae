"""The drop-in for Next.js, compiled with the team's tools and run by Node."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from rollback.adapters.redis import RedisCounters
from rollback.model import Counts, PlatformDeployment
from stack.backends import Stack

ROOT = Path(__file__).parents[2]
DROP_IN = ROOT / "integrations" / "nextjs"
NEEDED = "node 20 and npm are not there"
OWN = "dpl_nextjs"
NOTHING: dict[str, int] = {}
GOOD = {"requests": 1, "failed": 0, "slow": 0}
BAD = {"requests": 1, "failed": 1, "slow": 0}
INSTALL = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]


def compiled(folder: Path, *more: Path) -> Path:
    """The drop-in and more TypeScript, checked and compiled; skips where it cannot be.

    Raises:
        AssertionError: The types are wrong.

    """
    for name in ("rollback-counters.ts", "package.json", "tsconfig.json"):
        shutil.copy(DROP_IN / name, folder)
    for path in more:
        shutil.copy(path, folder)
    install(folder)
    checked = _run(["node_modules/.bin/tsc"], folder)
    assert checked.returncode == 0, checked.stdout
    return folder / "out"


def install(folder: Path, *flags: str) -> None:
    """Install what the package.json of a folder names; skips where it cannot be."""
    if not _node_is_there():
        pytest.skip(NEEDED)
    try:
        _run([*INSTALL, *flags], folder).check_returncode()
    except subprocess.SubprocessError as error:
        pytest.skip(f"npm cannot install: {error}")


def _node_is_there() -> bool:
    if not shutil.which("npm") or not (node := shutil.which("node")):
        return False
    version = _run([node, "--version"], ROOT).stdout
    return int(version.removeprefix("v").partition(".")[0]) >= 20


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own words
        command, cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )


@dataclass(frozen=True, slots=True)
class Site:
    """A running site, as its visitors and the test reach it."""

    client: httpx.Client
    port: int
    pid: int

    def status(self, path: str, **more: Any) -> int:
        """The status of a GET."""
        return self.client.get(path, **more).status_code

    def control(self, name: str) -> Any:
        """What the site says of itself."""
        return self.client.get(f"/control/{name}").json()


@contextmanager
def running(script: Path, environment: dict[str, str]) -> Iterator[Site]:
    """Run a compiled site, and see it end by itself."""
    process = subprocess.Popen(  # noqa: S603 - our own words
        [shutil.which("node") or "node", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin:
        port = int(process.stdout.readline())
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, timeout=20, trust_env=False) as client:
            yield Site(client, port, process.pid)
        process.stdin.close()
        assert process.wait(20) == 0


def read(stack: Stack, name: str = OWN) -> tuple[Counts, ...]:
    """What the engine reads of the last minute."""
    now = int(time.time())
    deployment = PlatformDeployment(
        id=name,
        url="http://127.0.0.1:1",
        git_sha="a" * 40,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ready=True,
        candidate=True,
        served=True,
    )

    async def counts() -> tuple[Counts, ...]:
        source = RedisCounters(stack.addresses["redis"])
        return await source.counts(deployment, since=now - 60, until=now + 1)

    return anyio.run(counts)


def sums(stack: Stack, name: str = OWN) -> dict[str, int]:
    """The sums of what the engine reads; empty when the source is silent."""
    found = read(stack, name)
    fields = ("requests", "failed", "slow")
    totals = {field: sum(getattr(each, field) for each in found) for field in fields}
    return totals if found else {}
