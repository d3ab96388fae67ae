"""What the tests of the command share."""

import pytest

from stack.backends import Stack
from steps.command import Command


@pytest.fixture
def recorded(command: Command, fresh: Stack) -> Command:
    """The command, with both releases recorded: v1 as passing, v2 as just live."""
    for release, migration in (("v1", "002"), ("v2", "003")):
        made = command.run(
            "record",
            fresh.deployments[release],
            "--git-sha",
            fresh.git_shas[release],
            "--migration",
            migration,
        )
        assert made.code == 0, made.stderr
    assert command.run("health", fresh.deployments["v1"]).code == 0
    return command
