"""What runs below a process, read from /proc (Linux)."""

import time
from collections.abc import Callable
from pathlib import Path


def descendants(pid: int) -> dict[int, str]:
    """All processes below one, with their command lines."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if stat := read(entry / "stat"):
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: dict[int, str] = {}
    below = {pid}
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found |= {child: read(Path(f"/proc/{child}/cmdline")) for child in below}
    return found


def read(path: Path) -> str:
    """A file of /proc; empty if its process has gone."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def gone(pid: int) -> bool:
    """Whether a process has ended; where nobody collects orphans, a zombie has."""
    stat = read(Path(f"/proc/{pid}/stat"))
    return not stat or stat.rpartition(")")[2].split()[0] == "Z"


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for a condition, or fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
