"""The `rollback` command as its users run it: a child process and its JSON."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import children
from .children import WITH_US

# With PYTHONPATH the drill runs a checkout's own engine, not one installed elsewhere.
KEEP = (
    "PATH",
    "PYTHONPATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "VIRTUAL_ENV",
    "SYSTEMROOT",
)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """Its JSON; fails with what it said when there is none."""
        assert self.stdout, f"no JSON, exit {self.code}, it said:\n{self.stderr}"
        return json.loads(self.stdout)


@dataclass(slots=True)
class Running:
    """A command under way."""

    process: subprocess.Popen[str]
    _lines: list[str] = field(default_factory=list)
    _spoke: threading.Event = field(default_factory=threading.Event)
    _reader: threading.Thread | None = None

    def listen(self) -> None:
        """Collect what it says to people."""
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def wait_for_a_word(self, *, seconds: float) -> bool:
        """Wait until it has said something."""
        return self._spoke.wait(seconds)

    def said(self) -> list[str]:
        """What it has said to people so far."""
        return list(self._lines)

    def result(self, *, seconds: float) -> Ran:
        """Wait for its end."""
        assert self.process.stdout
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            said = "".join(self._lines)
            raise AssertionError(
                f"it did not end within {seconds:.0f} s; it said:\n{said}"
            ) from None
        if self._reader:
            self._reader.join()
        return Ran(
            self.process.returncode, self.process.stdout.read(), "".join(self._lines)
        )

    def _collect(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self._lines.append(line)
            self._spoke.set()


@dataclass(frozen=True, slots=True)
class Command:
    """Runs `rollback` with settings, in an empty folder: no rollback.toml of ours."""

    settings: Mapping[str, str]
    folder: Path

    def run(self, *arguments: str, seconds: float = 60) -> Ran:
        """Run to the end."""
        running = self.start(*arguments)
        try:
            return running.result(seconds=seconds)
        finally:
            end(running)

    def start(self, *arguments: str) -> Running:
        """Start it; the caller ends it with `end`."""
        environment = {k: v for k, v in os.environ.items() if k in KEEP}
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "rollback", *arguments],
            preexec_fn=WITH_US,  # noqa: PLW1509 - one call of the kernel, no lock
            env=environment | dict(self.settings),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running = Running(process)
        running.listen()
        return running


def end(running: Running) -> None:
    """End it if it still runs, and close its pipes."""
    children.end(running.process)
    for pipe in (running.process.stdout, running.process.stderr):
        if pipe:
            pipe.close()
