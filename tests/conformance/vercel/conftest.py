"""Vercel's own clients, installed once, and a platform for them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.counted import count
from tests.conformance.vercel import world
from tests.conformance.vercel.world import PROJECT, TEAM, Cli, Platform, Sdk
from tests.integration.nextjs import install

HERE = Path(__file__).parent
LEAN = ("--ignore-scripts", "--omit=optional", "--prefer-offline")


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both clients, in the versions of package.json."""
    folder = tmp_path_factory.mktemp("vercel")
    for name in ("package.json", "sdk_driver.mjs"):
        shutil.copy(HERE / name, folder)
    install(folder, *LEAN)
    return folder


@pytest.fixture(scope="session")
def started() -> Iterator[Platform]:
    """One platform for all of these tests."""
    with world.platform() as platform:
        yield platform


@pytest.fixture
def platform(started: Platform) -> Platform:
    """The platform as it was at start."""
    started.control("reset")
    return started


@pytest.fixture
def cli(
    clients: Path, platform: Platform, tmp_path: Path, request: pytest.FixtureRequest
) -> Cli:
    """The command line; each test that uses it is a case."""
    link = tmp_path / ".vercel" / "project.json"
    link.parent.mkdir()
    names = {"projectId": PROJECT, "orgId": TEAM, "projectName": "wedsync"}
    link.write_text(json.dumps(names))
    (tmp_path / "home").mkdir()
    count(request, "vercel 58.4.4 (command line)")
    script = clients / "node_modules" / "vercel" / "dist" / "vc.js"
    return Cli(script, tmp_path, platform.url)


@pytest.fixture(scope="session")
def sdk_started(clients: Path, started: Platform) -> Iterator[Sdk]:
    """One process of the library for all of these tests."""
    with world.sdk(clients, started.url) as sdk:
        yield sdk


@pytest.fixture
def sdk(sdk_started: Sdk, platform: Platform, request: pytest.FixtureRequest) -> Sdk:
    """The library; each test that uses it is a case."""
    del platform
    count(request, "@vercel/sdk 1.28.35")
    return sdk_started
