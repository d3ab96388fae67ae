"""Old backups go, and never the one from before what went wrong."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from rollback.adapters.memory import FixedClock
from rollback.schema import Backup, BackupFile
from rollback.targets.database.backup import Backups
from rollback.targets.database.restoring import Restorer
from rollback.targets.database.retention import staying

from .keeping import ignored, keeper, run

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
ANY = Backup(
    name="",
    path="",
    label="",
    database="",
    version=None,
    taken_at=NOW,
    seconds=1.0,
    server="18.0",
    client="18.0",
    schemas=("public",),
    tables=(),
    files=(),
    verified=True,
)
RECEIPTS: LiteralString = """
CREATE SCHEMA rollback;
CREATE TABLE rollback.receipts (document jsonb, committed_at timestamptz);
"""


def backup(name: str, **ago: float) -> Backup:
    """One that was taken so long ago."""
    file = BackupFile(path="database/toc.dat", bytes=1, sha256=name)
    return replace(ANY, name=name, taken_at=NOW - timedelta(**ago), files=(file,))


def kept_of(
    backups: Sequence[Backup], kept: int, pinned: Sequence[str] = ()
) -> list[str]:
    """The names of those that stay."""
    return [b.name for b in staying(backups, kept=kept, now=NOW, pinned=pinned)]


def test_the_newest_stay_however_old_they_are() -> None:
    """A database that is seldom backed up keeps what it has."""
    old = [backup("a", days=100), backup("b", days=200), backup("c", days=300)]
    assert kept_of(old, 2) == ["a", "b"]


def test_what_is_from_before_the_incident_outlives_ten_rollbacks() -> None:
    """Of the last day all stay, though it is neither the first nor a new one of it."""
    flags = [backup(f"flag-{n}", minutes=n) for n in range(10)]
    before = backup("before", minutes=11)
    morning = backup("morning", hours=4)
    assert kept_of([*flags, before, morning], 3)[-2:] == ["before", "morning"]


def test_of_each_of_the_last_days_the_first_one_stays() -> None:
    """In UTC, and for a week; what was taken later on a day goes."""
    days = [
        backup(f"{n}-{at}", days=n, hours=at) for n in range(1, 10) for at in (1, 3)
    ]
    assert kept_of(days, 1) == ["1-1", *(f"{n}-3" for n in range(1, 7))]


def test_what_a_rollback_of_the_schema_began_with_stays() -> None:
    """By the hash that its receipt names."""
    old = [backup("a", days=20), backup("b", days=21), backup("c", days=22)]
    assert kept_of(old, 1, [old[2].sha256]) == ["a", "c"]


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands at noon."""
    return FixedClock(NOW)


@pytest.fixture
def backups(
    database: str, tmp_path: Path, programs_folder: Path, clock: FixedClock
) -> Backups:
    """Two of them are kept."""
    run(database, "CREATE TABLE couples (name text)")
    return keeper(database, tmp_path, programs_folder, kept=2, clock=clock)


def note_receipt(url: str, backup: Backup, at: datetime) -> None:
    """Let a rollback of the schema have begun with this backup."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO rollback.receipts VALUES (%s, %s)",
            [Jsonb({"backup_sha256": backup.sha256}), at],
        )


async def names(backups: Backups) -> list[str]:
    """What those that are there are called."""
    return [backup.label for backup in await backups.known()]


async def test_a_row_of_rollbacks_pushes_nothing_out(
    backups: Backups, clock: FixedClock
) -> None:
    """The one from before them goes when a day is over, and not before."""
    for label in "abcd":
        await backups.take(label, ignored)
        clock.advance(60)
    assert await names(backups) == ["d", "c", "b", "a"]
    clock.advance(8 * 24 * 3600)

    await backups.take("e", ignored)

    assert await names(backups) == ["e", "d"]


async def test_a_receipt_keeps_its_backup_for_a_month(
    database: str, backups: Backups, clock: FixedClock
) -> None:
    """It holds what the rollback of the schema took away."""
    first = await backups.take("a", ignored)
    run(database, RECEIPTS)
    note_receipt(database, first, NOW)
    for label in "bcd":
        clock.advance(8 * 24 * 3600)
        await backups.take(label, ignored)
    assert await names(backups) == ["d", "c", "a"]

    clock.advance(8 * 24 * 3600)
    await backups.take("e", ignored)

    assert await names(backups) == ["e", "d"]


async def test_what_the_next_one_would_push_out_is_not_restored(
    database: str, backups: Backups, programs_folder: Path, clock: FixedClock
) -> None:
    """The same rule says so before a recovery takes a backup of its own."""
    restorer = Restorer(
        url=database, store=backups, kept=2, programs=programs_folder, clock=clock
    )
    first = await backups.take("a", ignored)
    clock.advance(60)
    await backups.take("b", ignored)
    assert await restorer.obstacle(first, swap=True, another=True) is None
    clock.advance(8 * 24 * 3600)

    refused = await restorer.obstacle(first, swap=True, another=True)

    assert refused is not None
    assert "would be removed" in refused
    assert await restorer.obstacle(first, swap=True, another=False) is None


async def test_receipts_that_cannot_be_read_remove_nothing(
    database: str, backups: Backups, clock: FixedClock
) -> None:
    """Which backups they name is not known then; the new one is there all the same."""
    for label in "ab":
        await backups.take(label, ignored)
        clock.advance(8 * 24 * 3600)
    run(database, "CREATE SCHEMA rollback", "CREATE TABLE rollback.receipts (x int)")
    told: list[str] = []

    await backups.take("c", told.append)

    assert await names(backups) == ["c", "b", "a"]
    assert any("old backups stay" in text for text in told)
