"""A ledger that is down costs nothing that was to be written into it."""

import fcntl
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from rollback.adapters.memory import CountedTokens
from rollback.adapters.spool import HealthNote, Spool
from rollback.adapters.spooling import SpoolingLedger
from rollback.errors import LedgerUnreachable
from rollback.model import DeploymentVersion, HealthStatus, Incident
from rollback.ports import Ledger

from .examples import AT, an_incident, entry, later, version, whole_incident

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
PASSING, FAILING = HealthStatus.PASSING, HealthStatus.FAILING


class Down:
    """A ledger that nobody reaches."""

    def __getattr__(self, name: str) -> object:
        """Whatever is asked of it."""

        async def refuse(*_: object, **__: object) -> None:
            raise LedgerUnreachable("The ledger is down.")

        return refuse


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty one."""
    return Spool(tmp_path / "deep" / "spool")


@pytest.fixture
def said() -> list[str]:
    """What people are told."""
    return []


@pytest.fixture
def down(spool: Spool, said: list[str]) -> SpoolingLedger:
    """The ledger while it cannot be reached."""
    nobody: Ledger = Down()  # type: ignore[assignment]  # any port
    return SpoolingLedger(nobody, spool, tokens=CountedTokens(), notice=said.append)


@pytest.fixture
def up(ledger: Ledger, spool: Spool, said: list[str]) -> SpoolingLedger:
    """A later command, which reaches it."""
    return SpoolingLedger(ledger, spool, tokens=CountedTokens(), notice=said.append)


async def roll_back(ledger: Ledger, ended: Incident) -> None:
    """What a rollback writes from its beginning to its end."""
    with pytest.raises(LedgerUnreachable):
        await ledger.open_incident(an_incident(), lease_seconds=60)
    for line in ended.journal:
        await ledger.append(ended.id, line)
    await ledger.set_health("dpl_bad", "production", FAILING, later(3))
    await ledger.save_incident(ended)


async def test_what_was_kept_is_delivered_by_the_next_command(
    down: SpoolingLedger, up: SpoolingLedger, spool: Spool, said: list[str]
) -> None:
    """Deployment, health, incident and journal, as if the ledger had been there."""
    await down.record(version("dpl_bad"))
    await roll_back(down, whole_incident())
    assert len(said) == 1
    assert "delivered by the next command" in said[0]

    found = await up.find("dpl_bad", "production")

    assert found
    assert found.health_check_status is FAILING
    assert await up.incident("inc_1") == whole_incident()
    assert spool.waiting() == ()


async def test_what_is_delivered_twice_is_there_once(
    down: SpoolingLedger, ledger: Ledger, spool: Spool, tmp_path: Path
) -> None:
    """Whoever died after delivering and before saying so has done no harm."""
    await down.record(version("dpl_bad"))
    await roll_back(down, whole_incident())
    (kept,) = spool.waiting()
    copy = Spool(tmp_path / "copy")
    copy.folder.mkdir()
    (copy.folder / kept.name).write_text(kept.read_text())

    for folder in (spool, copy):
        later_command = SpoolingLedger(ledger, folder, tokens=CountedTokens())
        await later_command.find("dpl_bad", "production")

    found = await ledger.incident("inc_1")
    assert found
    assert found.journal == whole_incident().journal
    assert len(await ledger.health_history("dpl_bad", "production")) == 1


async def test_a_note_of_the_beginning_takes_nothing_from_the_end(
    down: SpoolingLedger, up: SpoolingLedger, ledger: Ledger
) -> None:
    """The ledger came back before the last save: that is what remains, all of it."""
    with pytest.raises(LedgerUnreachable):
        await down.open_incident(an_incident(), lease_seconds=60)
    await down.append("inc_1", entry("a"))
    whole = whole_incident()
    await ledger.save_incident(replace(whole, journal=(entry("b", 1),)))

    assert await up.incident("inc_1") == whole


async def test_who_finds_somebody_delivering_leaves_it_to_them(
    down: SpoolingLedger, up: SpoolingLedger, ledger: Ledger, spool: Spool
) -> None:
    """Both would look, find nothing there and write it; the next call asks again."""
    await down.append("inc_1", entry("a"))
    with spool.delivering() as alone:
        assert alone
        await up.save_incident(an_incident())
        found = await ledger.incident("inc_1")
        assert found
        assert found.journal == ()

    found = await up.incident("inc_1")
    assert found
    assert found.journal == (entry("a"),)


async def test_one_who_was_killed_leaves_an_open_incident(
    down: SpoolingLedger, up: SpoolingLedger
) -> None:
    """With the journal as far as it came, for whoever takes it up."""
    with pytest.raises(LedgerUnreachable):
        await down.open_incident(an_incident(), lease_seconds=60)
    await down.append("inc_1", entry("step_begins"))

    found = await up.incident("inc_1")

    assert found
    assert found.outcome is None
    assert [line.event for line in found.journal] == ["step_begins"]


async def test_the_journal_of_an_incident_that_is_known_goes_on(
    down: SpoolingLedger, up: SpoolingLedger, ledger: Ledger
) -> None:
    """The ledger was lost on the way: what came after is added."""
    await ledger.open_incident(an_incident(), lease_seconds=60)
    await ledger.append("inc_1", entry("a"))
    await down.append("inc_1", entry("b", 1))

    found = await up.incident("inc_1")

    assert found
    assert [line.event for line in found.journal] == ["a", "b"]


async def test_reading_is_not_made_up(down: SpoolingLedger) -> None:
    """Without the ledger nobody is told that nothing was ever deployed."""
    with pytest.raises(LedgerUnreachable):
        await down.history("production", limit=10)


async def test_while_the_ledger_is_down_everything_goes_on_waiting(
    down: SpoolingLedger, spool: Spool
) -> None:
    """A command that fails to deliver takes nothing away."""
    await down.record(version())
    again: Ledger = Down()  # type: ignore[assignment]  # any port
    other = SpoolingLedger(again, spool, tokens=CountedTokens())
    with pytest.raises(LedgerUnreachable):
        await other.history("production", limit=10)
    await other.record(version("dpl_other"))

    (kept,) = spool.waiting()
    names = [
        n.deployment_id for n in spool.read(kept) if isinstance(n, DeploymentVersion)
    ]
    assert names == ["dpl_good", "dpl_other"]


async def test_what_the_ledger_refuses_is_told_and_hides_nothing(
    down: SpoolingLedger, up: SpoolingLedger, ledger: Ledger, said: list[str]
) -> None:
    """Somebody else holds the candidate, a deployment is unknown: the rest arrives."""
    await ledger.open_incident(an_incident("inc_9"), lease_seconds=60)
    with pytest.raises(LedgerUnreachable):
        await down.open_incident(an_incident(), lease_seconds=60)
    await down.set_health("dpl_unknown", "production", FAILING, AT)
    await down.record(version())

    assert await up.find("dpl_good", "production")
    left_out = [line for line in said if "left out" in line]
    assert len(left_out) == 2
    assert await ledger.incident("inc_1") is None


def test_what_is_taken_later_is_delivered_later(spool: Spool) -> None:
    """Though of the files before it some are delivered and gone."""
    for number in range(3):
        spool.add(version(f"dpl_{number}"))
        files = spool.take("token")
    for delivered in files[:2]:
        spool.remove(delivered)
    spool.add(version("dpl_3"))
    spool.take("token")

    names = [
        n.deployment_id
        for path in spool.waiting()
        for n in spool.read(path)
        if isinstance(n, DeploymentVersion)
    ]
    assert names == ["dpl_2", "dpl_3"]


def test_a_line_that_was_cut_short_costs_itself_alone(spool: Spool) -> None:
    """The disk was full, the power went: what comes after is on a line of its own."""
    note = HealthNote(
        deployment_id="dpl_good", environment="production", status=PASSING, at=AT
    )
    spool.add(note)
    (path,) = spool.waiting()
    with path.open("a") as file:
        file.write(json.dumps({"kind": "health", "note": {}})[:-9])
    spool.add(note)

    assert list(spool.read(path)) == [note, note]


def test_what_comes_while_somebody_delivers_is_kept_apart(spool: Spool) -> None:
    """Nothing is appended to a file that is being read and then removed."""
    note = HealthNote(
        deployment_id="dpl_good", environment="production", status=PASSING, at=AT
    )
    spool.add(note)
    (taken,) = spool.take("token")
    spool.add(note)

    assert len(spool.waiting()) == 2
    spool.remove(taken)
    assert [list(spool.read(path)) for path in spool.waiting()] == [[note]]


async def test_a_spool_that_cannot_be_written_is_told_with_the_ledger(
    tmp_path: Path,
) -> None:
    """Both, and where to put it instead."""
    (tmp_path / "file").write_text("")
    nobody: Ledger = Down()  # type: ignore[assignment]  # any port
    spool = Spool(tmp_path / "file" / "spool")
    with pytest.raises(LedgerUnreachable, match="Nor can it be kept") as caught:
        await SpoolingLedger(nobody, spool, tokens=CountedTokens()).record(version())
    assert "ROLLBACK_SPOOL" in caught.value.mend


def test_the_spool_is_for_its_owner_alone(spool: Spool) -> None:
    """An incident quotes vendors; nobody else on the machine needs to read it."""
    spool.add(version())

    (path,) = spool.waiting()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="needs /proc, to see who has a file open"
)
def test_one_who_waits_for_a_file_that_is_taken_writes_into_the_next(
    spool: Spool,
) -> None:
    """It was opened before it was taken aside, and is removed when it is delivered."""
    note = HealthNote(
        deployment_id="dpl_good", environment="production", status=PASSING, at=AT
    )
    spool.add(note)
    (current,) = spool.waiting()
    taken = current.with_name("000000-taken.jsonl")
    with current.open() as ours, ThreadPoolExecutor(1) as pool:
        fcntl.flock(ours, fcntl.LOCK_EX)
        waiting = pool.submit(spool.add, note)
        deadline = time.monotonic() + 20
        while _open(current) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _open(current) == 2
        current.rename(taken)
        fcntl.flock(ours, fcntl.LOCK_UN)
        waiting.result(20)

    assert list(spool.read(taken)) == [note]
    assert list(spool.read(current)) == [note]


def _open(path: Path) -> int:
    """How many descriptors of this process lead there."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            links.append(each.readlink())
    return links.count(path)
