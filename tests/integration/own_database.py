"""A database of the test's own, three migrations up, with its scripts on record."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import psycopg
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from rollback.adapters.clock import SystemClock
from rollback.database_wiring import schema_book
from rollback.settings import Settings
from stack.backends import Stack
from steps.command import Command

FORWARD = {
    "001": "CREATE TABLE orders (id integer PRIMARY KEY, total integer NOT NULL);"
    "INSERT INTO orders VALUES (1, 100), (2, 200), (3, 300);",
    "002": "ALTER TABLE orders ADD COLUMN note text;"
    "UPDATE orders SET note = 'gift for ' || id WHERE id < 3;",
    "003": "CREATE TABLE coupons (code text PRIMARY KEY);"
    "INSERT INTO coupons VALUES ('SPRING');",
}
BACK = {
    "001": "DROP TABLE orders;",
    "002": "ALTER TABLE orders DROP COLUMN note;",
    "003": "DROP TABLE coupons;",
}


@dataclass(frozen=True)
class Own:
    """The database, its folder, and the command that is pointed at it alone."""

    url: str
    folder: Path
    settings: dict[str, str]

    @property
    def scripts(self) -> Path:
        """The migrations and their rollback scripts."""
        return self.folder / "migrations"

    def command(self, **more: str) -> Command:
        """With other settings, if given."""
        return Command({**self.settings, **more}, self.folder)

    def apply(self, version: str) -> None:
        """Take the schema one version up."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute((self.scripts / f"{version}.sql").read_bytes())
            row = "INSERT INTO schema_migrations (version) VALUES (%s)"
            connection.execute(row, [version])

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What is there."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def do(self, statement: str) -> None:
        """Change it."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def versions(self) -> list[str]:
        """What the history says."""
        found = self.rows("SELECT version FROM schema_migrations ORDER BY 1")
        return [str(version) for (version,) in found]

    def record(self) -> None:
        """Put the scripts and the schema of now on record."""
        settings = Settings(
            ledger_url=SecretStr(self.url),
            database_direct_url=SecretStr(self.url),
            migrations=self.scripts,
            spool=self.folder / "spool",
        )
        anyio.run(partial(_record, settings))


async def _record(settings: Settings) -> None:
    async with schema_book(settings) as book:
        seen = await book.look()
        at = SystemClock().now()
        await book.record(seen, at=at, renew=False, fingerprint=True)


@contextmanager
def own_database(stack: Stack, folder: Path) -> Iterator[Own]:
    """On the stack's server, gone at the end."""
    server, name = stack.addresses["postgres"], f"own_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    own = _own(stack, make_conninfo(server, dbname=name), folder)
    try:
        own.do("CREATE TABLE schema_migrations (version text PRIMARY KEY)")
        yield own
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _own(stack: Stack, url: str, folder: Path) -> Own:
    (folder / "migrations").mkdir()
    for version, text in FORWARD.items():
        (folder / "migrations" / f"{version}.sql").write_text(text)
        (folder / "migrations" / f"rollback_{version}.sql").write_text(BACK[version])
    kept = ("ROLLBACK_POSTGRES_PROGRAMS", "SLACK_WEBHOOK_URL")
    return Own(
        url=url,
        folder=folder,
        settings={
            **{name: stack.environment[name] for name in kept},
            "DATABASE_URL": url,
            "ROLLBACK_MIGRATIONS": "migrations",
            "ROLLBACK_BACKUPS": "backups",
        },
    )
