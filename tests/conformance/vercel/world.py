"""The platform stand-in with a few releases, and the vendor's clients that ask it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from tests.integration.processes import until

ROOT = Path(__file__).parents[3]
TOKEN = "vercel_test_token"
PROJECT = "prj_wedsync"
TEAM = "team_wedsync"
V0, V1, V2, BROKEN, PREVIEW = (
    f"dpl_{name}" for name in ("v0", "v1", "v2", "broken", "preview")
)
NAMED = "wedsync.localhost"
CUSTOM = "shop.example.com"
FATES: dict[str, dict[str, str]] = {
    BROKEN: {"state": "ERROR"},
    PREVIEW: {"target": "preview", "substate": "STAGED"},
}


@dataclass(frozen=True, slots=True)
class Platform:
    """The stand-in, as the test looks into it."""

    http: httpx.Client
    url: str

    def control(self, what: str, body: object = None) -> None:
        """Reset it, or switch a fault on."""
        self.http.post(f"/_control/{what}", json=body).raise_for_status()

    def state(self) -> dict[str, Any]:
        """What it holds."""
        held: dict[str, Any] = self.http.get("/_control/state").json()
        return held

    def roll_back(self, deployment: str) -> None:
        """Roll back by a raw call, and wait until it is done."""
        path = f"/v1/projects/{PROJECT}/rollback/{deployment}"
        self.http.post(path, params={"teamId": TEAM}).raise_for_status()
        until(lambda: self.live == deployment, "the domains have moved")
        until(lambda: self.job == "succeeded", "the job is over")

    @property
    def live(self) -> str:
        """The production deployment."""
        return str(self.state()["live"])

    @property
    def job(self) -> str:
        """Where the last request to move the domains is."""
        return str(self.state()["last_alias_request"]["jobStatus"])


@dataclass(frozen=True, slots=True)
class Said:
    """What a command answered, on both channels, and how it ended."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Cli:
    """The vendor's command line, in a folder that is linked to the project."""

    script: Path
    folder: Path
    url: str

    def run(self, *arguments: str, token: str = TOKEN) -> Said:
        """Run one command, as a pipeline would: no terminal, no home."""
        common = ("--api", self.url, "--token", token, "--scope", "wedsync")
        home = str(self.folder / "home")
        environment = {"PATH": os.environ["PATH"], "HOME": home, "NO_COLOR": "1"}
        environment |= {"VERCEL_TELEMETRY_DISABLED": "1", "NO_UPDATE_NOTIFIER": "1"}
        done = subprocess.run(  # noqa: S603 - our own words
            ["node", self.script, *arguments, *common, "--global-config", home],  # noqa: S607 - whichever node there is
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Said(done.returncode, done.stdout + done.stderr)


@dataclass(frozen=True, slots=True)
class Sdk:
    """The vendor's library, in a process that takes a call a line."""

    requests: IO[str]
    outcomes: IO[str]

    def call(self, group: str, method: str, **more: Any) -> dict[str, Any]:
        """Call a method: its ``value``, or by which error it was ``refused``."""
        token = more.pop("token", None)
        team = {} if group == "user" else {"teamId": TEAM}
        call = {"group": group, "method": method, "request": team | more}
        print(json.dumps(call | {"token": token}), file=self.requests, flush=True)
        outcome: dict[str, Any] = json.loads(self.outcomes.readline())
        return outcome

    def value(self, group: str, method: str, **more: Any) -> Any:
        """Call a method that must succeed, and be valid to the library's schema."""
        outcome = self.call(group, method, **more)
        assert "value" in outcome, outcome
        return outcome["value"]


@contextmanager
def platform() -> Iterator[Platform]:
    """Run the stand-in as a process of its own."""
    config = _config()
    url = f"http://127.0.0.1:{config['api_port']}"
    command = [sys.executable, "-m", "stack.platform", json.dumps(config)]
    process = subprocess.Popen(command, cwd=ROOT)  # noqa: S603 - our own words
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try:
        with httpx.Client(base_url=url, headers=headers, trust_env=False) as http:
            until(lambda: _answers(http), "the platform answers")
            yield Platform(http, url)
    finally:
        process.terminate()
        assert process.wait(20) == 0


@contextmanager
def sdk(folder: Path, url: str) -> Iterator[Sdk]:
    """Run the library, and see it end by itself."""
    with subprocess.Popen(  # noqa: S603 - our own words
        ["node", folder / "sdk_driver.mjs", url, TOKEN],  # noqa: S607 - whichever node there is
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Sdk(process.stdin, process.stdout)
        process.stdin.close()
        assert process.wait(20) == 0


def _config() -> dict[str, Any]:
    names = (V0, V1, V2, BROKEN, PREVIEW)
    with ExitStack() as stack:
        taken = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(len(names) + 2)
        ]
        api, edge, *ports = (each.getsockname()[1] for each in taken)
    deployments = [
        {"id": name, "name": name.removeprefix("dpl_"), "git_sha": f"{port:040x}"}
        | {"port": port, "upstream": "http://127.0.0.1:9"}
        | FATES.get(name, {})
        for name, port in zip(names, ports, strict=True)
    ]
    return {
        "api_port": api,
        "edge_port": edge,
        "token": TOKEN,
        "team_id": TEAM,
        "project": {"id": PROJECT, "name": "wedsync"},
        "bypass_secret": "bypass_test_secret",
        "domains": [f"127.0.0.1:{edge}", NAMED],
        "deployments": deployments,
        "live": V2,
    }


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/_control/state").is_success
    except httpx.TransportError:
        return False
