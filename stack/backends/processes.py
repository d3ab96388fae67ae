"""The runner's end of the warden's pipe."""

import contextlib
import json
import select
import subprocess
import sys
import time
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from stack.warden import Server, remove

ROOT = Path(__file__).resolve().parents[2]
NOT_STARTED = 127  # as a shell says it


class WardenLost(Exception):
    """The warden is gone, and every server with it."""


class Processes:
    """Servers started through a warden of their own; used from one thread.

    Closing, or the death of this process, ends them all and removes what is owned.
    """

    def __init__(self) -> None:
        self._warden = subprocess.Popen(
            [sys.executable, "-m", "stack.warden"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C at the terminal is for the runner alone
        )
        self._orders = cast("FileIO", self._warden.stdin)
        self._events = cast("FileIO", self._warden.stdout)
        self._pids: dict[str, int] = {}
        self._codes: dict[str, int] = {}
        self._errors: dict[str, str] = {}
        self._owned: list[Path] = []
        self._received = b""

    @property
    def pids(self) -> dict[str, int]:
        """The process id of the warden and of each server that was started."""
        with contextlib.suppress(WardenLost):
            self._refresh(0)
        return {"warden": self._warden.pid, **self._pids}

    def spawn(self, server: Server) -> None:
        """Ask for a server; whether it started is known later.

        Raises:
            WardenLost: there is no warden to ask.

        """
        for known in (self._codes, self._errors):
            known.pop(server.name, None)
        self._order({"spawn": asdict(server)})

    def stop(self, name: str, seconds: float = 10.0) -> None:
        """End one server and wait until it is gone; one that has ended is no error.

        Its process id is forgotten.

        Raises:
            TimeoutError: it is still there after ``seconds``.
            WardenLost: there is no warden to ask.

        """
        self._order({"stop": name})
        self.wait(name, seconds)
        self._pids.pop(name, None)

    def wait(self, name: str, seconds: float) -> int:
        """Wait until a server has ended by itself and give its exit code.

        Raises:
            TimeoutError: it is still running after ``seconds``.
            WardenLost: the warden is gone.

        """
        deadline = time.monotonic() + seconds
        while (code := self.exit_code(name, deadline - time.monotonic())) is None:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{name} still runs after {seconds:g} s.")
        return code

    def exit_code(self, name: str, seconds: float = 0.0) -> int | None:
        """How a server ended (127: it could not be started), or None while it runs.

        Waits up to ``seconds`` for any news from the warden.

        Raises:
            WardenLost: the warden is gone.

        """
        if name not in self._codes:
            self._refresh(max(0.0, seconds))
        return self._codes.get(name)

    def error(self, name: str) -> str:
        """Why a server could not be started at all; empty if it could."""
        return self._errors.get(name, "")

    def own(self, folder: Path) -> None:
        """Have the folder removed at the end, however the end comes.

        Raises:
            WardenLost: there is no warden to ask.

        """
        self._owned.append(folder)
        self._order({"own": str(folder)})

    def sweep(self, pattern: str) -> None:
        """Have folders removed that match and are owned by no living warden.

        Raises:
            WardenLost: there is no warden to ask.

        """
        self._order({"sweep": pattern})

    def close(self, seconds: float = 15.0) -> None:
        """End everything and wait until it has ended; again is harmless."""
        for stream in (self._orders, self._events):
            stream.close()
        try:
            self._warden.wait(seconds)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()
        for folder in self._owned:  # left over if the warden was killed
            remove(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _order(self, order: dict[str, Any]) -> None:
        line = json.dumps(order).encode() + b"\n"
        try:
            while line:
                line = line[self._orders.write(line) :]
        except (OSError, ValueError) as error:
            raise WardenLost("The warden is gone.") from error

    def _refresh(self, seconds: float) -> None:
        if self._events.closed:
            return
        ready, _, _ = select.select([self._events], [], [], seconds)
        if not ready:
            return
        received = self._events.read(65536)
        if not received:
            raise WardenLost("The warden is gone.")
        *lines, self._received = (self._received + received).split(b"\n")
        for line in lines:
            self._learn(json.loads(line))

    def _learn(self, event: dict[str, Any]) -> None:
        match event:
            case {"started": name, "pid": pid}:
                self._pids[name] = pid
            case {"failed": name, "error": error}:
                self._codes[name], self._errors[name] = NOT_STARTED, error
            case {"exited": name, "code": code}:
                self._codes[name] = code
