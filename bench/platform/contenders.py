"""Who moves the traffic: each a command that is started, and ends by itself."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.backends import Stack

VERSION = "58.4.4"  # the latest that could be installed when this was written
INSTALL_S = 400
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
RAW = """
import sys, urllib.request
url, token = sys.argv[1:]
headers = {"authorization": "Bearer " + token}
request = urllib.request.Request(url, method="POST", headers=headers)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opener.open(request, timeout=30).close()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A command that rolls v2 back to v1."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


def known(
    stack: Stack, folder: Path, vercel: Path | None
) -> tuple[tuple[Contender, ...], str | None]:
    """All that this machine can run, and why one of them is missing."""
    command, missing = (vercel, None) if vercel else _installed(folder)
    found = (_ours(stack, folder), _raw(stack, folder))
    if command is None:
        return found, missing
    return (*found, _vercel(stack, folder, command)), None


def _ours(stack: Stack, folder: Path) -> Contender:
    return Contender(
        name="`rollback run`",
        command=(
            *(sys.executable, "-m", "rollback", "run", "--yes"),
            *("--from", stack.deployments["v2"], "--to", stack.deployments["v1"]),
            *("--reason", "a measurement", "--json"),
        ),
        environment=_kept() | dict(stack.environment),
        folder=folder,
    )


def _raw(stack: Stack, folder: Path) -> Contender:
    given = stack.environment
    project, good = given["VERCEL_PROJECT_ID"], stack.deployments["v1"]
    url = f"{given['VERCEL_API_URL']}/v1/projects/{project}/rollback/{good}"
    url += f"?teamId={given['VERCEL_TEAM_ID']}"
    return Contender(
        name="the raw call alone",
        command=(sys.executable, "-S", "-c", RAW, url, given["VERCEL_TOKEN"]),
        environment=_kept(),
        folder=folder,
    )


def _vercel(stack: Stack, folder: Path, command: Path) -> Contender:
    given = stack.environment
    return Contender(
        name=f"`vercel rollback` {VERSION}",
        command=(
            *(str(command.resolve()), "rollback", stack.deployments["v1"], "--yes"),
            *("--api", given["VERCEL_API_URL"], "--token", given["VERCEL_TOKEN"]),
            *("--scope", given["VERCEL_TEAM_ID"].removeprefix("team_")),
            *("--global-config", str(folder / "vercel-config")),
        ),
        environment=_kept() | {"VERCEL_TELEMETRY_DISABLED": "1", "CI": "1"},
        folder=folder,
    )


def _installed(folder: Path) -> tuple[Path | None, str | None]:
    """Vercel's command in a folder of its own; or why it is not there."""
    npm = shutil.which("npm")
    if npm is None:
        return None, "npm is not there"
    command = (npm, "install", "--no-audit", "--no-fund", f"vercel@{VERSION}")
    try:
        subprocess.run(  # noqa: S603 - our own words
            command, cwd=folder, timeout=INSTALL_S, check=True, capture_output=True
        )
    except (OSError, subprocess.SubprocessError):
        return None, f"npm cannot install vercel@{VERSION}"
    return folder / "node_modules" / ".bin" / "vercel", None


def _kept() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"PYTHONPATH": root}
