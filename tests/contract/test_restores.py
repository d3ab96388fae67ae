"""The contract of the port `Restores`: what is restored, and that it is so once."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rollback.adapters.clock import SystemClock
from rollback.adapters.memory import AnyioClock, MemoryDatabase, MemoryRestores
from rollback.errors import BackupFailed, DatabaseUnreachable, RollbackError
from rollback.ports import Restores
from rollback.schema import Backup, TableRows
from rollback.targets.database.backup import Backups
from rollback.targets.database.restoring import Restorer
from stack.backends import Stack
from stack.backends.postgres import find_account, find_programs

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

KEPT = 5


class Trial(Protocol):
    """A database with one table of guests, and its backups."""

    restores: Restores

    async def back_up(self) -> Backup:
        """Take a backup of what is there now."""

    def invite(self, guests: int) -> None:
        """Have so many guests."""

    def damage(self, backup: Backup) -> None:
        """Let a bit of it turn."""

    def go_down(self) -> None:
        """Be reached no more."""


class MemoryTrial:
    """In memory."""

    def __init__(self) -> None:
        self.double = MemoryRestores(clock=AnyioClock())
        self.restores: Restores = self.double
        self.database = MemoryDatabase("1", clock=self.double.clock)

    async def back_up(self) -> Backup:
        """As the protocol."""
        taken = await self.database.back_up("test", notice=print)
        taken = replace(
            taken, name=f"test-{len(self.double.known)}", tables=self.double.now
        )
        self.double.known.insert(0, taken)
        return taken

    def invite(self, guests: int) -> None:
        """As the protocol."""
        self.double.now = (TableRows(table="public.guests", rows=guests),)

    def damage(self, backup: Backup) -> None:
        """As the protocol."""
        self.double.damaged.add(backup.name)

    def go_down(self) -> None:
        """As the protocol."""
        self.double.down = "no answer"


class RealTrial:
    """In a database of its own of the practice stack's server."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.programs = find_programs(find_account())
        self.backups = Backups(
            url=url,
            where=str(folder),
            programs=self.programs,
            schemas=("public",),
            jobs=1,
            kept=KEPT,
            clock=SystemClock(),
        )
        self.restores: Restores = self.at(url)

    def at(self, url: str) -> Restorer:
        """What restores into the database at an address."""
        return Restorer(
            url=url,
            store=self.backups,
            kept=KEPT,
            programs=self.programs,
            clock=SystemClock(),
        )

    async def back_up(self) -> Backup:
        """As the protocol."""
        return await self.backups.take("test", print)

    def invite(self, guests: int) -> None:
        """As the protocol."""
        with psycopg.connect(self.url) as connection:
            connection.execute("DELETE FROM guests")
            connection.execute(
                "INSERT INTO guests SELECT generate_series(1, %s)", [guests]
            )

    def damage(self, backup: Backup) -> None:
        """As the protocol."""
        (path,) = (self.folder / backup.name / "database").glob("toc.dat")
        held = bytearray(path.read_bytes())
        held[-1] ^= 1
        path.write_bytes(bytes(held))

    def go_down(self) -> None:
        """As the protocol."""
        self.restores = self.at(make_conninfo(self.url, port=1))


@pytest.fixture
def trial(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trial]:
    """With three guests."""
    if kind != "real":
        double = MemoryTrial()
        double.invite(3)
        yield double
        return
    stack: Stack = request.getfixturevalue("stack")
    server = stack.addresses["postgres"]
    with closing(psycopg.connect(server, autocommit=True)) as connection:
        connection.execute("DROP DATABASE IF EXISTS restores WITH (FORCE)")
        connection.execute("CREATE DATABASE restores")
        url = make_conninfo(server, dbname="restores")
        with psycopg.connect(url) as inside:
            inside.execute("CREATE TABLE guests (id integer PRIMARY KEY)")
        trial = RealTrial(url, tmp_path)
        trial.invite(3)
        yield trial
        connection.execute("DROP DATABASE restores WITH (FORCE)")


async def test_the_rows_of_the_backup_come_back_once(trial: Trial) -> None:
    """By the token of a recovery, whatever comes after; another one may do it again."""
    restores, backup = trial.restores, await trial.back_up()
    trial.invite(1)
    assert await restores.restored("rec-1") is None

    said = await restores.restore(backup, token="rec-1", swap=False, notice=print)

    assert backup.name in said
    assert await restores.rows(backup) == backup.tables
    assert await restores.restored("rec-1") is not None
    trial.invite(2)
    with pytest.raises(RollbackError):
        await restores.restore(backup, token="rec-1", swap=False, notice=print)
    assert [each.rows for each in await restores.rows(backup)] == [2]
    assert await restores.restored("rec-2") is None


async def test_backups_are_listed_newest_first(trial: Trial) -> None:
    """With the rows that they hold."""
    first = await trial.back_up()
    trial.invite(5)
    second = await trial.back_up()

    known = await trial.restores.backups()

    assert [each.name for each in known] == [second.name, first.name]
    assert [[each.rows for each in one.tables] for one in known] == [[5], [3]]


async def test_a_damaged_backup_is_told(trial: Trial) -> None:
    """Before anything is restored from it; one that is whole is not."""
    whole, broken = await trial.back_up(), await trial.back_up()
    trial.damage(broken)

    await trial.restores.check(whole)
    with pytest.raises(BackupFailed):
        await trial.restores.check(broken)


async def test_nothing_is_in_the_way_of_a_plain_database(trial: Trial) -> None:
    """Neither in place nor by a swap; and looking changes nothing."""
    backup = await trial.back_up()
    for swap in (False, True):
        obstacle = await trial.restores.obstacle(backup, swap=swap, another=True)
        assert obstacle is None
    assert await trial.restores.rows(backup) == backup.tables


async def test_a_database_that_is_down_says_so(trial: Trial) -> None:
    """By all that concerns the database."""
    backup = await trial.back_up()
    trial.go_down()
    restores = trial.restores
    for ask in (
        restores.rows(backup),
        restores.restored("rec-1"),
        restores.obstacle(backup, swap=False, another=False),
        restores.restore(backup, token="rec-1", swap=False, notice=print),
    ):
        with pytest.raises(DatabaseUnreachable):
            await ask
