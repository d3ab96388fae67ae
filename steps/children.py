"""Processes that end with the test run, also when that is killed."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
STOPS_WITHIN = 15.0


def _with_us() -> Callable[[], None] | None:
    """What a child does first: ask Linux to end it when we are gone.

    Elsewhere a killed run leaves the gate until its window ends, and the load until its
    time is over; every server is the warden's.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask


WITH_US = _with_us()


def end(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    """Terminate it if it still runs; kill it if that is not enough."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
