"""What is put on record of the schema, and what is said of what changed since."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from rollback.adapters.memory import FixedClock, MemoryDatabase, MemoryLedger
from rollback.schema import Fingerprint
from rollback.schema_records import Recorded, SchemaBook

AT = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class World:
    """Three migrations, applied, with their scripts in a folder."""

    folder: Path
    database: MemoryDatabase = field(
        default_factory=lambda: MemoryDatabase(
            "001", "002", "003", clock=FixedClock(AT)
        )
    )
    ledger: MemoryLedger = field(default_factory=MemoryLedger)

    def book(self) -> SchemaBook:
        """What is tested."""
        return SchemaBook(
            ledger=self.ledger,
            database=self.database,
            history=self.history,
            folder=self.folder,
            environment="production",
        )

    async def history(self) -> tuple[str, ...]:
        """What is applied."""
        return tuple(self.database.applied)

    def script(self, version: str, text: str) -> None:
        """Write one."""
        (self.folder / f"rollback_{version}.sql").write_text(text)

    def look(self, upto: str | None = None) -> Recorded:
        """What there is to be recorded."""

        async def run() -> Recorded:
            return await self.book().look(upto=upto)

        return anyio.run(run)

    def record(self, *, renew: bool = False, upto: str | None = None) -> None:
        """Record it."""

        async def run() -> None:
            seen = await self.book().look(upto=upto)
            await self.book().record(seen, at=AT, renew=renew, fingerprint=True)

        anyio.run(run)

    def known(self, version: str) -> tuple[str | None, Fingerprint | None]:
        """What is on record of it."""

        async def run() -> tuple[str | None, Fingerprint | None]:
            found = (await self.ledger.schemas("production"))[version]
            return found.script_sha256, found.fingerprint

        return anyio.run(run)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """All scripts are there."""
    world = World(tmp_path)
    for version in world.database.applied:
        world.script(version, f"DROP TABLE t{version};")
    return world


def test_all_is_new_once(world: World) -> None:
    """Every script's hash, and the fingerprint of the schema as it is now."""
    assert world.look().new == ("001", "002", "003")

    world.record()

    again = world.look()
    assert (again.new, again.changed, again.missing) == ((), (), ())
    assert again.same_schema
    assert world.known("003")[1] == Fingerprint(lines=("001", "002", "003"))
    assert world.known("002")[1] is None


def test_a_script_that_changed_stays_as_it_was_recorded(world: World) -> None:
    """To the byte; it is named, until it is renewed."""
    world.record()
    before = world.known("002")[0]
    world.script("002", "DROP TABLE t002; ")

    assert world.look().changed == ("002",)
    world.record()
    assert world.known("002")[0] == before
    world.record(renew=True)
    assert world.known("002")[0] not in (None, before)
    assert world.look().changed == ()


def test_a_script_that_is_missing_is_recorded_when_it_comes(world: World) -> None:
    """None is no hash: the first one that is there counts."""
    (world.folder / "rollback_002.sql").unlink()
    world.record()
    assert (world.look().missing, world.look().new) == (("002",), ())

    world.script("002", "DROP TABLE t002;")

    assert world.look().new == ("002",)
    world.record()
    assert world.known("002")[0]


def test_of_an_older_release_nothing_newer_is_recorded(world: World) -> None:
    """Its folder has no newer scripts, and the schema is not at its version."""
    world.record(upto="002")

    seen = world.look()
    assert seen.new == ("003",)
    assert (seen.known, world.known("002")[1]) == (None, None)


def test_a_schema_that_was_changed_by_hand_is_another_one(world: World) -> None:
    """The fingerprint on record is held against that of now."""
    world.record()
    world.database.applied.insert(0, "000")
    world.database.applied.pop(1)

    seen = world.look()

    assert seen.current == "003"
    assert seen.known
    assert not seen.same_schema
