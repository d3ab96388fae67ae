"""What the tests of the command share."""

import anyio
import pytest

from stack.backends import Stack
from steps.application import put_on_record
from steps.command import Command


@pytest.fixture
def recorded(command: Command, fresh: Stack) -> Command:
    """The command, with both releases recorded: v1 as passing, v2 as just live."""
    anyio.run(put_on_record, fresh)
    return command
