"""The servers of one stack, their logs, and the folder that holds all of it."""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack.backends.errors import ServerLost, StackError, StartFailed
from stack.backends.processes import Processes, WardenLost
from stack.warden import Server

LOG_LINES = 20
PREFIX = "wedsync-stack-"
PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Readiness:
    """How a server is known to be ready, and what is to be done as soon as it is."""

    name: str
    ready: Callable[[], bool]
    then: Callable[[], None] = lambda: None


class Servers:
    """Servers whose end, however it comes, also removes the folder they work in."""

    def __init__(self) -> None:
        self.folder = _folder()
        self._logs: dict[str, Path] = {}
        self._jobs: set[str] = set()
        self._processes = Processes()
        self._processes.own(self.folder)
        self._processes.sweep(f"{self.folder.parent}/{PREFIX}*")

    @property
    def pids(self) -> dict[str, int]:
        """The process ids by name; the warden is one of them."""
        return self._processes.pids

    def log(self, name: str) -> Path:
        """Say where a server's log belongs."""
        return self.folder / f"{name}.log"

    def spawn(self, server: Server) -> None:
        """Start a server without waiting for it.

        Raises:
            StartFailed: the warden is gone.

        """
        self._logs[server.name] = Path(server.log)
        try:
            self._processes.spawn(server)
        except WardenLost as error:
            raise StartFailed(server.name, "has no warden any more", "") from error

    def spawn_job(self, job: Server) -> None:
        """Start a process that does its work and ends.

        Raises:
            StartFailed: the warden is gone.

        """
        self._jobs.add(job.name)
        self.spawn(job)

    def end(self, name: str) -> None:
        """End one server, and forget it with its log; without one do nothing.

        Raises:
            StackError: the warden is gone, or the server does not end.

        """
        if self._logs.pop(name, None) is None:
            return
        try:
            self._processes.stop(name)
        except (WardenLost, TimeoutError) as error:
            raise StackError(f"{error} Start the stack again.") from error

    def is_done(self, name: str) -> bool:
        """Whether a job has done its work.

        Raises:
            StackError: the warden is gone.

        """
        return self._code(name) == 0

    def wait(
        self,
        expected: Sequence[Readiness],
        seconds: float,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Wait until all are ready, telling ``progress`` the name of each.

        Raises:
            StartFailed: one ended, or is not ready after ``seconds``.

        """
        waiting = {each.name: each for each in expected}
        deadline = time.monotonic() + seconds
        while waiting:
            for each in list(waiting.values()):
                if each.ready():
                    each.then()
                    del waiting[each.name]
                    progress(each.name)
            self._see_that_none_ended()
            if waiting and time.monotonic() > deadline:
                what = f"was not ready within {seconds:g} s"
                raise self._failure(next(iter(waiting)), what)
            time.sleep(PAUSE if waiting else 0)

    def read(self, name: str) -> str:
        """Give all that a server has written.

        Raises:
            KeyError: there is none of that name.

        """
        return self._logs[name].read_text(errors="replace")

    def check(self) -> None:
        """See that every server still runs.

        Raises:
            ServerLost: one does not.

        """
        for name in self._logs:
            code = self._code(name)
            if code is not None and not (name in self._jobs and code == 0):
                raise ServerLost(name, code, self._tail(name))

    def close(self) -> None:
        """End them all and remove the folder; again is harmless."""
        self._processes.close()

    def _see_that_none_ended(self) -> None:
        try:
            self.check()
        except ServerLost as error:
            raise self._failure(error.name, f"ended with code {error.code}") from None

    def _code(self, name: str) -> int | None:
        try:
            return self._processes.exit_code(name)
        except WardenLost as error:
            raise StackError(
                "The warden was killed, and its servers with it. Start the stack again."
            ) from error

    def _failure(self, name: str, what: str) -> StartFailed:
        return StartFailed(name, what, self._tail(name))

    def _tail(self, name: str) -> str:
        if error := self._processes.error(name):
            return error
        lines = self.read(name).splitlines()
        return "\n".join(lines[-LOG_LINES:])


def _folder() -> Path:
    """Make the temporary folder; as root, one through which others can pass."""
    if os.getuid() != 0:
        return Path(tempfile.mkdtemp(prefix=PREFIX))
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes it ours
        if _open_to_all(Path(parent)):
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            folder.chmod(0o711)
            return folder
    raise StackError(
        "PostgreSQL does not run as root, and no temporary folder can be entered by "
        "others. Set TMPDIR to one that can."
    )


def _open_to_all(folder: Path) -> bool:
    """Whether any account can pass through the folder and what it lies in."""
    resolved = folder.resolve()
    return resolved.is_dir() and all(
        place.stat().st_mode & 0o001 for place in (resolved, *resolved.parents)
    )
