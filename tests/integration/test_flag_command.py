"""The command `flag` where the scenarios do not reach: a terminal, and its settings."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from redis import Redis

from stack.backends import Stack
from steps.command import Command

from .test_command import complaint, without

pytestmark = pytest.mark.redis


@pytest.fixture
def redis(fresh: Stack) -> Iterator[Redis]:
    """Redis, directly."""
    with closing(Redis.from_url(fresh.addresses["redis"])) as client:
        yield client


@pytest.mark.parametrize(
    ("word", "code", "state"),
    [
        (b"n\n", 2, b"enabled"),
        (b"\n", 2, b"enabled"),
        (b"perhaps\n", 2, b"enabled"),
        (b"y\n", 0, b"disabled"),
    ],
)
def test_on_a_terminal_it_shows_the_steps_and_asks(
    command: Command, redis: Redis, word: bytes, code: int, state: bytes
) -> None:
    """Only yes is yes; the question names the environment."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "rollback", "flag", "timeline"],
        env={"PATH": os.environ["PATH"], **command.settings},
        cwd=command.folder,
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.write(parent, word)
        output, errors = process.communicate(timeout=60)
    os.close(parent)
    os.close(child)

    assert process.returncode == code, errors
    assert b"Do that in production now?" in errors
    assert b"1. flags: switch timeline off" in output
    assert b"2. cdn: purge feature:timeline at the edge" in output
    assert redis.hget("feature_flags", "timeline") == state


@pytest.mark.parametrize("name", ["REDIS_URL", "VERCEL_TOKEN", "ROLLBACK_LEDGER_URL"])
def test_what_is_missing_is_named_before_anything_is_done(
    command: Command, redis: Redis, name: str
) -> None:
    """Exit 2, and the setting that is needed."""
    lacking = without(command, name, "DATABASE_URL" if "LEDGER" in name else name)

    said = complaint(lacking.run("flag", "timeline", "--yes"), 2)

    assert f"{name} is not set" in said
    assert redis.hget("feature_flags", "timeline") == b"enabled"


def test_an_incident_of_a_flag_cannot_be_undone_as_a_deployment(
    command: Command, redis: Redis
) -> None:
    """`undo` moves deployments: it refuses, and the flag stays."""
    switched = command.run("flag", "timeline", "--yes", "--json").document

    ran = command.run("undo", switched["incident"], "--reason", "x", "--yes", "--json")

    assert ran.code == 4, ran.stderr
    assert redis.hget("feature_flags", "timeline") == b"disabled"
