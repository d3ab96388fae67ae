"""A rollback of three versions that is killed, and what must be there afterwards.

Run as a program (`python -m`), it starts the clients that carry the rollback out.
"""

import os
import sys
from functools import partial

import anyio
import psycopg

from rollback.errors import DatabaseUnreachable, SchemaBusy, SchemaRefused
from rollback.schema import SchemaPlan
from rollback.targets.database.catalogue import read_catalogue
from rollback.transactions import Connection, Database

from .applying import carry_out, plan, script, silent, sql

ROWS = 200
DESTROYED = (
    ("3", "column", "public.guests.wish"),
    ("2", "table", "public.gifts"),
    ("1", "deleted", "public.guests"),
)
WANTED: SchemaPlan = plan(
    (
        script("3", "ALTER TABLE guests DROP COLUMN wish;"),
        script("2", "DROP TABLE gifts; CREATE TABLE presents (id int PRIMARY KEY);"),
        script("1", "DELETE FROM guests WHERE id % 2 = 0;"),
    ),
    DESTROYED,
    lock=("public.guests", "public.gifts"),
)
MADE = (
    "DROP SCHEMA IF EXISTS rollback CASCADE",
    "DROP TABLE IF EXISTS guests, gifts, presents, schema_migrations",
    "CREATE TABLE schema_migrations (version text PRIMARY KEY)",
    "INSERT INTO schema_migrations VALUES ('1'), ('2'), ('3')",
    "CREATE TABLE guests (id int PRIMARY KEY, wish text)",
    "CREATE TABLE gifts (id int PRIMARY KEY, price int)",
    "INSERT INTO guests SELECT i, 'wish ' || i FROM generate_series(1, 200) i",
    "INSERT INTO gifts SELECT i, i FROM generate_series(1, 200) i",
)


def make(url: str) -> None:
    """Three versions of a schema, as if nothing had happened yet."""
    sql(url, *MADE)


async def fingerprint(url: str) -> str:
    """Schema and history, in one value."""

    async def read(connection: Connection) -> str:
        catalogue = await read_catalogue(connection, ("public",))
        cursor = await connection.execute(
            "SELECT string_agg(version, ',' ORDER BY version) AS v"
            " FROM schema_migrations"
        )
        row = await cursor.fetchone()
        return f"{catalogue.fingerprint.sha256} {row['v'] if row else None}"

    return await Database(url, statement_timeout_seconds=20).transaction(read)


def written(
    url: str, *, before: bool
) -> tuple[dict[int, str], dict[int, int], set[int]]:
    """The wishes, the prices and the guests, in their tables or in the archive."""
    if before:
        wishes = sql(url, "SELECT id, wish FROM guests")
        prices = sql(url, "SELECT id, price FROM gifts")
        guests = sql(url, "SELECT id FROM guests")
    else:
        kept = dict(
            sql(
                url,
                "SELECT kind, 'rollback.archive_' || number FROM rollback.archives",
            )
        )
        wishes = sql(url, f"SELECT id::int, wish FROM {kept['column']}")  # noqa: S608 - ours
        prices = sql(url, f"SELECT id::int, price::int FROM {kept['table']}")  # noqa: S608 - ours
        guests = sql(
            url,
            "SELECT id FROM guests UNION ALL"  # noqa: S608 - ours
            f" SELECT old[1]::int FROM {kept['rows']}",
        )
    return dict(wishes), dict(prices), {row[0] for row in guests}


class Writer:
    """Writes wishes and gifts until it is told to stop, or cannot any more.

    `wishes` and `gifts` are what the server said it has: they must be there, whatever
    happens. `seconds` is how long the rollback took that it was written under.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.wishes: dict[int, str] = {}
        self.gifts: dict[int, int] = {}
        self.number = 0
        self.seconds = 0.0
        self.stopped = False

    def run(self) -> None:
        """Write one after the other; a table that is gone is no failure."""
        while not self.stopped:
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    while not self.stopped:
                        self.number += 1
                        self.write(connection, self.number)
            except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable):
                return
            except psycopg.Error:
                continue

    def write(
        self, connection: psycopg.Connection[tuple[object, ...]], number: int
    ) -> None:
        """One value into each of the two tables."""
        place, gift = number % ROWS + 1, ROWS + number
        connection.execute(
            "UPDATE guests SET wish = %s WHERE id = %s", [f"new {number}", place]
        )
        self.wishes[place] = f"new {number}"
        connection.execute("INSERT INTO gifts VALUES (%s, %s)", [gift, number])
        self.gifts[gift] = number


def child(url: str) -> int:
    """Roll back as a person would; 1 where that was not to be done."""
    try:
        anyio.run(partial(carry_out, url, WANTED, attempts=50, notice=silent))
    except (DatabaseUnreachable, SchemaRefused, SchemaBusy):
        return 1
    return 0


def nursery() -> None:
    """For each address read, a process of its own, which may be killed."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(child(line.strip()))
        print(pid, flush=True)  # noqa: T201 - for the parent
        sys.stdin.readline()  # until then nobody else can have its number
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    nursery()
