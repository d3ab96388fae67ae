"""What could not be told to the ledger, kept on disk until it can be reached again.

One file of JSON lines in a folder, appended to and synced line by line. Whoever
delivers takes the whole file aside first, so that nothing is appended to what is being
read; one who dies on the way leaves it for the next, and whatever is delivered twice
changes nothing: records replace themselves, a journal takes each of its entries once,
and a health status is of its own moment.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rollback.model import (
    DeploymentVersion,
    HealthStatus,
    Incident,
    JournalEntry,
    Outcome,
)

__all__ = ["HealthNote", "JournalNote", "Note", "Spool", "collapsed", "failing"]

CURRENT = "now.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthNote:
    """A health status that is to be recorded."""

    deployment_id: str
    environment: str
    status: HealthStatus
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalNote:
    """An entry of a journal."""

    incident_id: str
    entry: JournalEntry


Note = DeploymentVersion | HealthNote | JournalNote | Incident
KINDS: dict[str, TypeAdapter[Any]] = {
    "deployment": TypeAdapter(DeploymentVersion),
    "health": TypeAdapter(HealthNote),
    "journal": TypeAdapter(JournalNote),
    "incident": TypeAdapter(Incident),
}
NAMES: dict[type[Any], str] = {
    DeploymentVersion: "deployment",
    HealthNote: "health",
    JournalNote: "journal",
    Incident: "incident",
}


class Spool:
    """The folder of what is to be delivered. Raises `OSError` where that cannot be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, note: Note) -> None:
        """Keep one note; it is on the disk when this returns."""
        kind = NAMES[type(note)]
        document = KINDS[kind].dump_python(note, mode="json")
        # Begun on a line of its own: the one before may have been cut short.
        line = "\n" + json.dumps({"kind": kind, "note": document}) + "\n"
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked() as file:
            os.write(file, line.encode())
            os.fsync(file)

    def waiting(self) -> tuple[Path, ...]:
        """The files that hold something, in the order in which they were written."""
        return tuple(sorted(self.folder.glob("*.jsonl")))

    def take(self, token: str) -> tuple[Path, ...]:
        """The files to be delivered; from now on notes go into another one."""
        if (self.folder / CURRENT).exists():
            with self._locked():
                number = 1 + max(map(_number, self.waiting()))
                aside = self.folder / f"{number:06d}-{token}.jsonl"
                (self.folder / CURRENT).rename(aside)
        return self.waiting()

    @contextmanager
    def delivering(self) -> Iterator[bool]:
        """Whether nobody else delivers: two who look first and then write, double."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            yield _lock_at_once(folder)
        finally:
            os.close(folder)

    def read(self, path: Path) -> Iterator[Note]:
        """The notes of a file. A line that was cut short by a crash is lost."""
        for line in path.read_text("utf-8").splitlines():
            try:
                known = json.loads(line)
                yield KINDS[known["kind"]].validate_python(known["note"])
            except (ValueError, LookupError, TypeError):
                continue

    def remove(self, path: Path) -> None:
        """Take a file away that was delivered."""
        path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The current file, ours alone; another one when it was taken meanwhile."""
        path = self.folder / CURRENT
        while True:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _is(path, file):
                    yield file
                    return
            finally:
                os.close(file)


def _lock_at_once(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _number(path: Path) -> int:
    """Which file it is; the current one has no number yet."""
    number = path.name.partition("-")[0]
    return int(number) if number.isdecimal() else 0


def _is(path: Path, file: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file).st_ino
    except FileNotFoundError:
        return False


def collapsed(notes: list[Note]) -> Iterator[Note]:
    """Each incident once, as it was last, with every entry of its journal.

    A journal alone is kept as it is: its incident is in the ledger.
    """
    incidents: dict[str, Incident] = {}
    for note in notes:
        if isinstance(note, Incident):
            incidents[note.id] = note
    for note in notes:
        if isinstance(note, JournalNote) and note.incident_id in incidents:
            known = incidents[note.incident_id]
            if note.entry not in known.journal:
                journal = (*known.journal, note.entry)
                incidents[known.id] = replace(known, journal=journal)
        elif not isinstance(note, Incident):
            yield note
    yield from incidents.values()


def failing(notes: list[Note], environment: str) -> frozenset[str]:
    """Which deployments were last said to fail, or gone away from since they passed.

    What an undoing goes away from is as good as it was.
    """
    said: list[tuple[datetime, str, bool]] = []
    for note in notes:
        match note:
            case HealthNote(environment=where) if where == environment:
                bad = note.status is HealthStatus.FAILING
                said.append((note.at, note.deployment_id, bad))
            case Incident(environment=where, undoes=None) if where == environment:
                if note.outcome is not Outcome.REFUSED:
                    said.append((note.opened_at, note.from_deployment, True))
    last = {deployment: bad for _, deployment, bad in sorted(said)}
    return frozenset(deployment for deployment, bad in last.items() if bad)
