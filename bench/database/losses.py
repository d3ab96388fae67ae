"""Values lost while somebody writes, and how long the writers wait.

A column of 300 000 values is dropped by a rollback. Lost is a value of which a writer
was told that it is committed, and which is in no backup and in no archive afterwards.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from .contenders import Contender, run
from .migrations import Migration
from .server import Server, name_of

__all__ = ["MIGRATIONS", "ROWS", "Loss", "losses"]

ROWS = 300_000
WRITERS = 2
WARM = 200
WARM_SECONDS = 60.0
MIGRATIONS = (
    Migration(
        number=1,
        up="CREATE TABLE guests (id bigint PRIMARY KEY, name text NOT NULL)",
        down="DROP TABLE guests",
    ),
    Migration(
        number=2,
        up="ALTER TABLE guests ADD COLUMN note text",
        down="ALTER TABLE guests DROP COLUMN note",
    ),
)
FILL = """
INSERT INTO guests SELECT n, 'guest ' || n, md5(n::text) FROM generate_series(1, %s) n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One rollback under writers."""

    contender: str
    lost: int
    written: int
    blocked: float


@dataclass(slots=True)
class _Writer:
    """Writes values until the column is gone; what was committed, and the longest."""

    url: str
    number: int
    committed: dict[int, str] = field(default_factory=dict)
    longest: float = 0.0
    count: int = 0

    def write(self) -> None:
        chance = random.Random(self.number)
        with psycopg.connect(self.url, autocommit=True) as connection:
            while True:
                row = chance.randrange(ROWS // WRITERS) * WRITERS + self.number + 1
                value = f"{chance.getrandbits(128):032x}"
                began = time.perf_counter()
                try:
                    connection.execute(
                        "UPDATE guests SET note = %s WHERE id = %s", [value, row]
                    )
                except psycopg.errors.UndefinedColumn:
                    return
                finally:
                    took = time.perf_counter() - began
                    self.longest = max(self.longest, took)
                self.committed[row] = value
                self.count += 1


def losses(
    server: Server,
    known: list[Contender],
    folder: Path,
    rounds: int,
    say: Callable[[str], None],
) -> list[Loss]:
    """Each in turn, in each round; the peers after a pg_dump, as the careful do."""
    found = []
    for contender in known:
        contender.folder.mkdir()
        contender.write(contender.folder, MIGRATIONS)
    with _filled(server, known) as templates:
        for number in range(rounds):
            for contender, template in templates:
                place = folder / f"{contender.folder.name}-{number}"
                with server.database(template) as url:
                    loss = _once(server, contender, url, place)
                found.append(loss)
                say(f"{loss.contender}: {loss.lost} lost, blocked {loss.blocked:.2f} s")
    return found


@contextmanager
def _filled(
    server: Server, known: list[Contender], at: int = 0
) -> Iterator[list[tuple[Contender, str]]]:
    if at == len(known):
        yield []
        return
    with server.database() as url:
        one = known[at]
        run(one.deploy(url, 1), one.folder, one.environment(url))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL, [ROWS])
        with _filled(server, known, at + 1) as others:
            yield [(one, name_of(url)), *others]


def _once(server: Server, contender: Contender, url: str, place: Path) -> Loss:
    writers = [_Writer(url, number) for number in range(WRITERS)]
    threads = [threading.Thread(target=one.write, daemon=True) for one in writers]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + WARM_SECONDS
    while any(one.count < WARM for one in writers):
        if time.monotonic() > ends:
            raise RuntimeError(f"no {WARM} writes each within {WARM_SECONDS} s")
        time.sleep(0.01)
    for one in writers:
        one.longest = 0.0
    if contender.name != "ours":
        _dump(server, url, place)
    said = run(contender.revert(url, 1), contender.folder, contender.environment(url))
    for thread in threads:
        thread.join()
    if contender.name == "ours":
        document = json.loads(said)
        saved = _dumped(server, Path(document["backup"]["path"]) / "database")
        kept = _archived(url, document["receipt"]["archived"][0]["table"])
    else:
        saved, kept = _dumped(server, place), {}
    values = dict.fromkeys(range(1, ROWS + 1), "")
    for one in writers:
        values.update(one.committed)
    lost = sum(
        bool(value) and value not in (saved.get(n), kept.get(n))
        for n, value in values.items()
    )
    untouched = sum(
        not value and n not in saved and n not in kept for n, value in values.items()
    )
    return Loss(
        contender=contender.name,
        lost=lost + untouched,
        written=sum(one.count for one in writers),
        blocked=max(one.longest for one in writers),
    )


def _dump(server: Server, url: str, place: Path) -> None:
    facts = conninfo_to_dict(url)
    program = str(server.programs / "pg_dump")
    command = (program, "-Fd", "-f", str(place), "-h", str(facts["host"]))
    where = ("-p", str(facts["port"]), "-U", str(facts["user"]), str(facts["dbname"]))
    run((*command, *where), place.parent, {"PGPASSWORD": str(facts["password"])})


def _dumped(server: Server, place: Path) -> dict[int, str]:
    """The column's values in a dump."""
    program = str(server.programs / "pg_restore")
    text = run(
        (program, "--data-only", "--table=guests", "-f", "-", str(place)),
        place.parent,
        {},
    )
    _, _, rows = text.partition("COPY public.guests (id, name, note) FROM stdin;\n")
    lines = rows.partition("\n\\.\n")[0].splitlines()
    cells = (line.split("\t") for line in lines)
    return {int(cell[0]): cell[2] for cell in cells}


def _archived(url: str, table: str) -> dict[int, str]:
    query = sql.SQL("SELECT id, note FROM {}").format(sql.Identifier("rollback", table))
    with psycopg.connect(url) as connection:
        return {int(row[0]): row[1] for row in connection.execute(query)}
