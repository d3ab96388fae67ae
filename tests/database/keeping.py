"""What the tests of backups share: a filled database, and programs with a catch."""

from collections.abc import Callable
from pathlib import Path
from typing import LiteralString

import anyio
import psycopg

from rollback.adapters.clock import SystemClock
from rollback.ports import Clock
from rollback.targets.database.backup import Backups

SHOP: LiteralString = """
CREATE TABLE schema_migrations (version text PRIMARY KEY);
INSERT INTO schema_migrations VALUES ('001'), ('002');
CREATE TABLE guests (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
INSERT INTO guests (name) SELECT 'guest ' || n FROM generate_series(1, 300) n;
CREATE TABLE "Odd (name)" (id int PRIMARY KEY, "a ""b" text DEFAULT E'\\\\.\\n\\t');
INSERT INTO "Odd (name)" (id) SELECT generate_series(1, 7);
CREATE TABLE empty (id int);
CREATE UNLOGGED TABLE visits (id int);
INSERT INTO visits VALUES (1), (2);
CREATE TABLE orders (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE orders_2025 PARTITION OF orders
  FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE orders_2026 PARTITION OF orders
  FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO orders SELECT n, date '2025-12-25' + n FROM generate_series(1, 30) n;
CREATE TABLE suppliers (id int PRIMARY KEY, name text);
CREATE TABLE florists (flowers text) INHERITS (suppliers);
INSERT INTO suppliers VALUES (1, 'one');
INSERT INTO florists VALUES (2, 'two', 'roses'), (3, 'three', 'tulips');
CREATE VIEW names AS SELECT name FROM guests;
CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS guests FROM guests;
"""
ROWS = {
    'public."Odd (name)"': 7,
    "public.empty": 0,
    "public.florists": 2,
    "public.guests": 300,
    "public.orders_2025": 6,
    "public.orders_2026": 24,
    "public.schema_migrations": 2,
    "public.suppliers": 1,
    "public.visits": 2,
}


def run(url: str, *statements: LiteralString) -> None:
    """Run statements, each in a transaction of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def value(url: str, query: LiteralString, **facts: object) -> object:
    """The one value that a query gives."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query, facts).fetchone()
    return row[0] if row else None


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most twenty seconds."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - what it looks at tells nobody
            await anyio.sleep(0.01)


def keeper(
    url: str,
    where: Path | str,
    programs: Path,
    *,
    schemas: tuple[str, ...] = ("public",),
    jobs: int = 1,
    kept: int = 10,
    clock: Clock | None = None,
) -> Backups:
    """Backups of the database at `url`."""
    return Backups(
        url=url,
        where=str(where),
        programs=programs,
        schemas=schemas,
        jobs=jobs,
        kept=kept,
        clock=clock or SystemClock(),
    )


def with_catch(folder: Path, programs: Path, catch: str) -> Path:
    """A folder with PostgreSQL's own programs, where pg_dump runs `catch` first."""
    folder.mkdir()
    (folder / "pg_restore").symlink_to(programs / "pg_restore")
    script = folder / "pg_dump"
    script.write_text(
        f'#!/bin/sh\nPATH="{programs}:$PATH"\n'
        f'case "$*" in --version) ;; *) {catch} ;; esac\n'
        f'exec "{programs}/pg_dump" "$@"\n'
    )
    script.chmod(0o755)
    return folder


def entries(folder: Path) -> list[str]:
    """What is in a folder that may not exist."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def ignored(text: str) -> None:
    """A notice that nobody reads."""
