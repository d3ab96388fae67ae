"""The parent of every server of the practice stack; ends them when the runner is gone.

``python -m stack.warden`` reads orders as JSON lines on stdin:

- ``{"spawn": {..the fields of Server..}}``
- ``{"stop": name}``
- ``{"own": folder}``: it is removed at the end
- ``{"sweep": pattern}``: folders are removed now whose owners were killed

and writes events as JSON lines on stdout: ``{"started": name, "pid": pid}``,
``{"failed": name, "error": text}``, ``{"exited": name, "code": code}``.

At end of file on stdin, however the runner died, everything is ended and removed.
On Linux the servers also end with the warden, should it be the one that is killed.
"""

import contextlib
import ctypes
import fcntl
import glob
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_STALE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A process to be started: its environment is complete, its output goes to the log.

    ``uid_gid`` is the account to drop to. ``stop_signal`` is asked first when the
    process is to end; ``death_signal`` is what the kernel sends if the warden dies.
    """

    name: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: str
    uid_gid: tuple[int, int] | None = None
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL


class _Child:
    """A running server, and how far its ending has come."""

    def __init__(self, server: Server) -> None:
        self.name = server.name
        self.process = _popen(server)
        self.due = float("inf")
        self._rungs: Iterator[tuple[int, float]] = iter(
            [
                (server.stop_signal, 3.0),
                (signal.SIGTERM, 2.0),
                (signal.SIGKILL, float("inf")),
            ]
        )

    def end(self, now: float) -> None:
        """Begin to end it; a second call changes nothing."""
        self.due = min(self.due, now)

    def climb(self, now: float) -> None:
        """Send the next signal of the ladder if its time has come."""
        if now < self.due:
            return
        signum, patience = next(self._rungs)
        self.due = now + patience
        self.process.send_signal(signum)


def _popen(server: Server) -> subprocess.Popen[bytes]:
    uid, gid = server.uid_gid or (None, None)
    with Path(server.log).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the runner says what to start
            server.argv,
            env=server.env,
            cwd=server.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            process_group=0,
            preexec_fn=_die_with_parent(server.death_signal),  # noqa: PLW1509 - the warden has one thread
        )


def _die_with_parent(signum: int) -> Callable[[], None] | None:
    """What a child does last of all: dropping privileges would undo it. Linux alone."""
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:  # it died before the kernel was asked
            os.kill(os.getpid(), signal.SIGKILL)

    return prepare


class _Warden:
    """One thread that waits for the runner, for signals and for its children."""

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}
        self._folders: dict[str, int] = {}
        self._input = b""
        self._ending = False
        self._selector = selectors.DefaultSelector()
        self._wakeup, wakeup = os.pipe()
        for end in (self._wakeup, wakeup):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda *_: self._leave())
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._awake)
        self._selector.register(0, selectors.EVENT_READ, self._read)

    def run(self) -> None:
        try:
            while not self._ending:
                self._turn()
        finally:
            self._selector.unregister(0)
            for child in self._children.values():
                child.end(time.monotonic())
            while self._children:
                self._turn()
            for folder in self._folders:
                remove(Path(folder))

    def _leave(self) -> None:
        self._ending = True

    def _turn(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            child.climb(now)
        due = min((c.due for c in self._children.values()), default=float("inf"))
        patience = None if due == float("inf") else max(0.0, due - time.monotonic())
        for key, _ in self._selector.select(patience):
            key.data()
        self._reap()

    def _awake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)

    def _reap(self) -> None:
        for name, child in list(self._children.items()):
            if (code := child.process.poll()) is not None:
                del self._children[name]
                _say({"exited": name, "code": code})

    def _read(self) -> None:
        received = os.read(0, 65536)
        self._ending |= not received
        *lines, self._input = (self._input + received).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, order: dict[str, Any]) -> None:
        match order:
            case {"spawn": fields}:
                self._spawn(Server(**fields))
            case {"stop": name}:
                if name in self._children:
                    self._children[name].end(time.monotonic())
            case {"own": folder}:
                self._folders[folder] = _claim(Path(folder))
            case {"sweep": pattern}:
                _sweep(pattern)

    def _spawn(self, server: Server) -> None:
        try:
            if server.name in self._children:
                raise FileExistsError(f"{server.name} is running already")
            child = _Child(server)
        except (OSError, subprocess.SubprocessError) as error:
            _say({"failed": server.name, "error": str(error)})
            return
        self._children[server.name] = child
        _say({"started": server.name, "pid": child.process.pid})


def _say(message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the runner may be gone
        os.write(1, json.dumps(message).encode() + b"\n")


def _claim(folder: Path) -> int:
    """Lock the folder for as long as this process lives, so that no sweep takes it."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def remove(folder: Path) -> None:
    """Remove a folder into which dying processes may still be writing for a moment."""
    deadline = time.monotonic() + 5.0
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(pattern: str) -> None:
    """Remove folders left over by wardens that were killed together with the runner."""
    for name in glob.glob(pattern):  # noqa: PTH207 - the pattern is absolute
        with contextlib.suppress(OSError):  # in use, not ours, or just removed
            _remove_if_abandoned(Path(name))


def _remove_if_abandoned(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        seen = os.fstat(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if seen.st_uid == os.getuid() and time.time() - seen.st_mtime > _STALE_SECONDS:
            remove(folder)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    _Warden().run()
