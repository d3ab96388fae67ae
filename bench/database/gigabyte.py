"""What backup, archive, ledger and fingerprint cost on a large database.

Beside it the same scripts by psql, in one transaction and with nothing else.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import anyio
import psycopg

from rollback.targets.database.catalogue import read_catalogue
from rollback.targets.database.destruction import measure
from rollback.transactions import Connection, Database

from .contenders import Contender, run
from .migrations import Migration
from .server import Server, name_of

__all__ = ["Overhead", "overhead"]

MIGRATIONS = (
    Migration(
        number=1,
        up=";\n".join(
            f"CREATE TABLE visits_{n} (id bigint PRIMARY KEY, who text, at timestamptz,"
            " page text)"
            for n in range(5)
        ),
        down="SELECT 1",
    ),
    Migration(
        number=2,
        up="ALTER TABLE visits_0 ADD COLUMN note text",
        down="ALTER TABLE visits_0 DROP COLUMN note",
    ),
    Migration(
        number=3,
        up="CREATE TABLE gifts (id bigint PRIMARY KEY, what text NOT NULL)",
        down="DROP TABLE gifts",
    ),
    Migration(
        number=4,
        up="CREATE INDEX visits_1_by_who ON visits_1 (who)",
        down="DROP INDEX visits_1_by_who",
    ),
)
ROWS = 1_300_000
FILL = """
INSERT INTO visits_{n} (id, who, at, page)
SELECT i, md5(i::text), now(), md5((i * 7)::text) FROM generate_series(1, {rows}) i
"""
REST = """
UPDATE visits_0 SET note = md5(who) WHERE id <= 300000;
INSERT INTO gifts SELECT i, md5(i::text) FROM generate_series(1, 300000) i;
ANALYZE"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Seconds of one rollback: the whole of it, its parts, and the plain scripts."""

    bytes: int
    whole: float
    planned: float
    backup: float
    apply: float
    stalled: float
    catalogues: float
    ledgers: float
    plain: float

    @property
    def archive(self) -> float:
        """What is left of the time that writers wait, beside what is known."""
        return max(self.stalled - self.plain - self.catalogues - self.ledgers, 0.0)


def overhead(
    server: Server,
    ours: Contender,
    rounds: int,
    say: Callable[[str], None],
    *,
    share: float = 1.0,
) -> list[Overhead]:
    """A rollback of three versions, and the plain scripts, in each round."""
    ours.folder.mkdir()
    ours.write(ours.folder, MIGRATIONS)
    with server.database() as url:
        run(ours.deploy(url, len(MIGRATIONS) - 1), ours.folder, ours.environment(url))
        _fill(url, int(ROWS * share))
        say("the large database is filled")
        found = []
        for _ in range(rounds):
            found.append(_once(server, ours, name_of(url)))
            say(f"{found[-1]}")
    return found


def _fill(url: str, rows: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for n in range(5):
            connection.execute(FILL.format(n=n, rows=rows).encode())
        connection.execute(REST.encode())
        connection.execute("CHECKPOINT")


def _once(server: Server, ours: Contender, template: str) -> Overhead:
    with server.database(template) as url:
        plain = _plain(url)
    with server.database(template) as url:
        size = _size(url)
        catalogues, ledgers = anyio.run(_looks, url)
        began, clock = time.time(), time.perf_counter()
        said = run(ours.revert(url, 3), ours.folder, ours.environment(url))
        whole = time.perf_counter() - clock
    document = json.loads(said)
    at = {one["event"]: _seconds(one["at"]) for one in document["journal"]}
    receipt: Mapping[str, float] = document["receipt"]
    return Overhead(
        bytes=size,
        whole=whole,
        planned=at["backup_begins"] - began,
        backup=at["backup_done"] - at["backup_begins"],
        apply=receipt["total"],
        stalled=receipt["stalled"],
        catalogues=catalogues,
        ledgers=ledgers,
        plain=plain,
    )


def _plain(url: str) -> float:
    """The same scripts, in the same order, in one transaction."""
    with psycopg.connect(url) as connection:
        began = time.perf_counter()
        for one in reversed(MIGRATIONS[1:]):
            connection.execute(one.down.encode())
        connection.commit()
        return time.perf_counter() - began


async def _looks(url: str) -> tuple[float, float]:
    """What a rollback looks at twice: the catalogue, and what was written."""

    async def work(connection: Connection) -> tuple[float, float]:
        began = time.perf_counter()
        for _ in range(2):
            await read_catalogue(connection, ("public",))
        between = time.perf_counter()
        for _ in range(2):
            await measure(connection)
        return between - began, time.perf_counter() - between

    return await Database(url, statement_timeout_seconds=60).transaction(work)


def _size(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT pg_database_size(current_database())"
        ).fetchone()
    return int(row[0]) if row else 0


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
