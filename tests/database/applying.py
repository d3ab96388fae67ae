"""A plan made by hand, and a rollback by it: what the tests of applying share."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from rollback.schema import (
    Backup,
    Destroyed,
    Receipt,
    Refilled,
    RefilledObject,
    SchemaPlan,
    Script,
    TableLock,
)
from rollback.targets.database.apply import apply
from rollback.targets.database.refill import refill
from rollback.transactions import Database

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BACKUP = Backup(
    name="20260102T030405Z-test",
    path="/backups/20260102T030405Z-test",
    label="test",
    database="test",
    version="3",
    taken_at=NOW,
    seconds=0.1,
    server="18",
    client="18",
    schemas=("public",),
    tables=(),
    files=(),
    verified=True,
)


class Clock:
    """It stands."""

    def now(self) -> datetime:
        """Always the same."""
        return NOW


def silent(_: str) -> None:
    """Nobody waits."""


def script(version: str, text: str) -> Script:
    """A rollback script; it says by its first line that it needs no transaction."""
    return Script(
        version=version,
        path=Path(f"rollback_{version}.sql"),
        text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        transactional=not text.startswith("-- rollback: no-transaction"),
    )


def plan(
    scripts: Sequence[Script],
    destroys: Iterable[tuple[str, str, str]] = (),
    *,
    to: str = "0",
    lock: Sequence[str] = (),
    **more: Any,
) -> SchemaPlan:
    """A plan: what is destroyed as version, kind and object; tables to be locked."""
    return SchemaPlan(
        from_version=scripts[0].version,
        to_version=to,
        scripts=tuple(scripts),
        destroys=tuple(
            Destroyed(version=version, kind=kind, object=name)
            for version, kind, name in destroys
        ),
        locks=tuple(TableLock(table=name, mode="AccessExclusiveLock") for name in lock),
        **more,
    )


async def carry_out(
    url: str,
    wanted: SchemaPlan,
    *,
    incident: str = "incident-1",
    attempts: int = 3,
    lock_timeout_ms: int = 2000,
    seconds: float = 60,
    notice: Callable[[str], None] = silent,
    stall_limit_seconds: float = 60,
) -> Receipt:
    """Apply the plan, without pauses between the attempts."""
    return await apply(
        Database(url, statement_timeout_seconds=seconds),
        wanted,
        BACKUP,
        incident=incident,
        lock_timeout_ms=lock_timeout_ms,
        attempts=attempts,
        schemas=("public",),
        notice=notice,
        clock=Clock(),
        jitter=lambda: 0.0,
        stall_limit_seconds=stall_limit_seconds,
    )


async def put_back(url: str, version: str) -> Refilled:
    """Refill a version."""
    return await refill(
        Database(url, statement_timeout_seconds=60), version, notice=silent
    )


def sql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Execute them by themselves; the rows of the last one."""
    rows: list[tuple[Any, ...]] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
    return rows


def history(url: str, *versions: str) -> None:
    """Make the history of these versions, or add them to it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY)"
        )
        for each in versions:
            connection.execute("INSERT INTO schema_migrations VALUES (%s)", [each])


def versions(url: str) -> tuple[str, ...]:
    """What the history has."""
    rows = sql(url, "SELECT version FROM schema_migrations ORDER BY version")
    return tuple(row[0] for row in rows)


def values(url: str, table: str, columns: str = "t.*") -> str:
    """One hash of all values of a table, whatever the order of rows."""
    hashed = "md5(coalesce(string_agg(whole::text, ';' ORDER BY whole::text), ''))"
    query = f"SELECT {hashed} FROM (SELECT {columns} FROM {table} t) whole"  # noqa: S608 - our tables
    ((found,),) = sql(url, query)
    return str(found)


def unverified() -> Backup:
    """A backup of which nobody knows whether it can be restored."""
    return replace(BACKUP, verified=False)


@contextmanager
def hold(url: str, statement: str) -> Iterator[int]:
    """A colleague's session in a transaction; its process."""
    with psycopg.connect(url, application_name="a colleague") as connection:
        connection.execute(statement.encode())
        yield connection.info.backend_pid


async def take_back(
    url: str, text: str, *destroys: tuple[str, str], version: str = "2"
) -> None:
    """One version, and its history again as if the migration were applied again."""
    below = str(int(version) - 1)
    planned = [(version, kind, name) for kind, name in destroys]
    wanted = plan((script(version, text),), planned, to=below)
    await carry_out(url, wanted, incident=f"incident-{version}-{len(versions(url))}")
    history(url, version)


def again(url: str, *statements: str, version: str = "2") -> None:
    """The migration is applied again: in one transaction with its line of history."""
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        connection.execute(
            "DELETE FROM schema_migrations WHERE version = %s", [version]
        )
        connection.execute("INSERT INTO schema_migrations VALUES (%s)", [version])


async def only(url: str, version: str = "2") -> RefilledObject:
    """What a refill of one object gives."""
    refilled = await put_back(url, version)
    assert json.dumps(asdict(refilled))
    (one,) = refilled.objects
    return one
