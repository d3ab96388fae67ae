"""Seconds from a command's start to its end: so many migrations taken back."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from . import migrations
from .contenders import Contender, run
from .server import Server, name_of

__all__ = ["Parts", "Run", "race"]

COUNTS = (1, 10, 100)
LEFT = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relname ~ '^t[0-9]+(_id)?$'"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Of ours: the backup alone, and the transaction with its locks."""

    backup: float
    apply: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One command, of one contender."""

    count: int
    contender: str
    seconds: float
    parts: Parts | None = None

    @property
    def without_backup(self) -> float:
        """What is left when the backup is taken off, as no peer takes one."""
        return self.seconds - (self.parts.backup if self.parts else 0.0)


def race(
    server: Server,
    known: Callable[[Path], list[Contender]],
    folder: Path,
    rounds: int,
    say: Callable[[str], None],
) -> list[Run]:
    """All contenders in turn in each round, so that a busy moment hits all of them."""
    runs: list[Run] = []
    for count in COUNTS:
        place = folder / str(count)
        place.mkdir()
        with _deployed(server, known(place), count) as templates:
            for number in range(rounds):
                for contender, template in templates:
                    runs.append(_once(server, contender, template, count))
                    say(
                        f"{count} migrations, round {number + 1}, {contender.name}: "
                        f"{runs[-1].seconds:.2f} s"
                    )
    return runs


@contextmanager
def _deployed(
    server: Server, contenders: Sequence[Contender], count: int
) -> Iterator[list[tuple[Contender, str]]]:
    """A database for each contender, to which it has deployed everything itself."""
    with ExitStack() as stack:
        templates = []
        for contender in contenders:
            contender.folder.mkdir()
            contender.write(contender.folder, migrations.made(count))
            url = stack.enter_context(server.database())
            run(
                contender.deploy(url, count),
                contender.folder,
                contender.environment(url),
            )
            templates.append((contender, name_of(url)))
        yield templates


def _once(server: Server, contender: Contender, template: str, count: int) -> Run:
    with server.database(template) as url:
        environment = contender.environment(url)
        command = contender.revert(url, count)
        began = time.perf_counter()
        said = run(command, contender.folder, environment)
        seconds = time.perf_counter() - began
        with psycopg.connect(url) as connection:
            left = connection.execute(LEFT).fetchone()
        if left != (1,):
            raise RuntimeError(f"{contender.name} left {left} objects: {said}")
    parts = _parts(json.loads(said)) if contender.name == "ours" else None
    return Run(count=count, contender=contender.name, seconds=seconds, parts=parts)


def _parts(document: dict[str, Any]) -> Parts:
    """As the incident's journal and receipt say."""
    at = {
        entry["event"]: datetime.fromisoformat(entry["at"])
        for entry in document["journal"]
    }
    backup = (at["backup_done"] - at["backup_begins"]).total_seconds()
    return Parts(backup=backup, apply=float(document["receipt"]["total"]))
