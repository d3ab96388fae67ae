"""However a drill is ended, nothing of it goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .processes import descendants, gone, until

ROOT = Path(__file__).parents[2]
# The scenarios that begin with load and gate, and the last of them.
SOME, LAST = "rolled_back", "A Stripe outage is rolled back"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux", reason="processes are counted in /proc"
    ),
]


def ctrl_c(drill: int) -> None:
    """As the terminal does: to everybody in the foreground."""
    os.killpg(drill, signal.SIGINT)


def kill_command(drill: int) -> None:
    """The command that people started."""
    os.kill(drill, signal.SIGKILL)


def kill_runner(drill: int) -> None:
    """The test run below it."""
    runner = next(p for p, cmd in descendants(drill).items() if "pytest" in cmd)
    os.kill(runner, signal.SIGKILL)


@pytest.mark.parametrize("ending", [ctrl_c, kill_command, kill_runner])
def test_nothing_goes_on_after_the_drill(
    tmp_path: Path, ending: Callable[[int], None]
) -> None:
    """Servers, load and gate end with it: at Ctrl-C, and when it is killed."""
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "rollback", "drill", "-k", SOME, "--report", tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={k: v for k, v in os.environ.items() if k != "CI"},
    ) as drill:
        assert drill.stdout
        said = []
        for line in drill.stdout:
            said.append(line)
            if "the gate watches" in line:
                break
        below = descendants(drill.pid)
        assert any("locust" in command for command in below.values()), said
        assert any("rollback\x00gate" in command for command in below.values()), said
        ending(drill.pid)
        # Until nobody holds it any more: a drill that went on would come to its end.
        assert LAST not in drill.stdout.read()

    until(lambda: all(map(gone, below)), f"still there: {below}", seconds=30)
