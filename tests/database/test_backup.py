"""A backup holds every row of one moment, and its manifest proves it."""

import json
import stat
from pathlib import Path

import anyio
import psycopg
import pytest
from anyio.lowlevel import checkpoint
from psycopg.conninfo import conninfo_to_dict

from rollback.errors import BackupFailed, UnknownBackup
from rollback.schema import Backup
from rollback.targets.database import dumping
from rollback.targets.database.backup import Backups
from rollback.targets.database.programs import Programs
from rollback.targets.database.verification import CopyCounter

from .keeping import ROWS, SHOP, ignored, keeper, run, until, with_catch

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(database: str) -> str:
    """A database with tables of every kind."""
    run(database, SHOP)
    return database


@pytest.fixture
def backups(shop: str, tmp_path: Path, programs_folder: Path) -> Backups:
    """Its backups."""
    return keeper(shop, tmp_path / "backups", programs_folder)


def rows(backup: Backup) -> dict[str, int]:
    """Rows by table."""
    return {table.table: table.rows for table in backup.tables}


def contents(folder: Path) -> list[bytes]:
    """All files in a folder."""
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


async def test_every_kind_of_table_is_in_it_with_its_rows(
    backups: Backups, shop: str
) -> None:
    """The manifest has all tables' rows: partitions, heirs, unlogged, odd names."""
    backup = await backups.take("before schema:003", ignored)
    assert rows(backup) == ROWS
    assert backup.verified
    assert (backup.version, backup.schemas) == ("002", ("public",))
    assert backup.server.startswith("18.")
    assert backup.database.endswith(f"/{conninfo_to_dict(shop)['dbname']}")
    assert backup.name.endswith("Z-before-schema-003")


async def test_what_is_known_is_what_was_taken(backups: Backups) -> None:
    """The manifest is read back as the very backup, and others are unknown."""
    backup = await backups.take("one", ignored)
    assert await backups.known() == (backup,)
    assert await backups.find(backup.name) == backup
    await backups.check(backup)
    with pytest.raises(UnknownBackup, match="no verified backup other"):
        await backups.find("other")


async def test_a_writer_makes_no_difference(backups: Backups, shop: str) -> None:
    """While rows are written all the time, the dump has those of its snapshot."""
    taken: list[Backup] = []
    with psycopg.connect(shop, autocommit=True) as writer:
        async with anyio.create_task_group() as tasks:

            async def take() -> None:
                taken.append(await backups.take("busy", ignored))

            tasks.start_soon(take)
            while not taken:
                writer.execute("INSERT INTO guests (name) VALUES ('late')")
                writer.execute("DELETE FROM visits WHERE id = 1")
                await checkpoint()
    assert rows(taken[0])["public.guests"] >= 300


async def test_parallel_gives_the_same(
    shop: str, tmp_path: Path, programs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes dump the same rows in the same snapshot."""
    monkeypatch.setattr(dumping, "PARALLEL_BYTES", 0)
    note = tmp_path / "arguments"
    folder = with_catch(tmp_path / "bin", programs_folder, f'echo "$*" >> {note}')
    backup = await keeper(shop, tmp_path / "backups", folder, jobs=2).take("x", ignored)
    assert rows(backup) == ROWS
    assert "--jobs=2" in note.read_text()


async def test_our_own_schema_is_apart(
    backups: Backups, shop: str, tmp_path: Path, programs_folder: Path
) -> None:
    """The schema rollback is in a dump of its own, and its rows are verified too."""
    run(shop, "CREATE SCHEMA rollback", "CREATE TABLE rollback.kept AS SELECT 1 AS x")
    backup = await backups.take("x", ignored)
    assert rows(backup) == ROWS
    assert [(table.table, table.rows) for table in backup.apart] == [
        ("rollback.kept", 1)
    ]
    programs = await Programs.find(programs_folder, 18)
    said = bytearray()
    dump = tmp_path / "backups" / backup.name / "database"
    await programs.run("pg_restore", "--file=-", str(dump), take=said.extend)
    assert b"rollback" not in said


async def test_the_history_of_supabase_is_in_it(
    database: str, tmp_path: Path, programs_folder: Path
) -> None:
    """The schema of the history is backed up too, though nobody named it."""
    run(
        database,
        "CREATE SCHEMA supabase_migrations",
        "CREATE TABLE supabase_migrations.schema_migrations (version text, name text)",
        "INSERT INTO supabase_migrations.schema_migrations VALUES ('20260101', 'x')",
    )
    backup = await keeper(database, tmp_path, programs_folder).take("x", ignored)
    assert rows(backup) == {"supabase_migrations.schema_migrations": 1}
    assert backup.version == "20260101"


async def test_what_is_not_in_it_is_said(
    database: str, tmp_path: Path, programs_folder: Path
) -> None:
    """Large objects are not in a dump of schemas: manifest and notices say so."""
    run(database, "SELECT lo_from_bytea(0, 'x')")
    told: list[str] = []
    backup = await keeper(database, tmp_path, programs_folder).take("x", told.append)
    assert any("arge objects" in note for note in backup.notes)
    assert set(backup.notes) <= set(told)


async def test_progress_is_told(
    shop: str, tmp_path: Path, programs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that takes a while tells again and again how far it is."""
    monkeypatch.setattr(dumping, "TELL_SECONDS", 0.01)
    go = tmp_path / "go"
    catch = f"until [ -e {go} ]; do sleep 0.01; done"
    folder = with_catch(tmp_path / "bin", programs_folder, catch)
    told: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper(shop, tmp_path / "b", folder).take, "x", told.append)
        await until(lambda: any("9 of 9 tables counted" in text for text in told))
        go.touch()
    assert told[0].startswith("backing up 9 tables (")
    assert told[-1].startswith("backup ")


async def test_only_its_owner_may_read_it(backups: Backups) -> None:
    """A backup's folder can be entered by its owner alone: it holds people's data."""
    backup = await backups.take("x", ignored)
    mode = (await anyio.Path(backup.path).stat()).st_mode
    assert stat.S_IMODE(mode) == 0o700


async def test_no_secret_is_kept_or_told(
    backups: Backups, shop: str, tmp_path: Path
) -> None:
    """Neither the manifest nor a notice nor any other file has the password."""
    told: list[str] = []
    await backups.take("x", told.append)
    password = str(conninfo_to_dict(shop)["password"])
    kept = contents(tmp_path)
    assert kept
    assert not any(password.encode() in content for content in kept)
    assert password not in " ".join(told)


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
async def test_a_damaged_backup_is_found_out(backups: Backups, damage: str) -> None:
    """A flipped byte, a cut file and a missing one are each named."""
    backup = await backups.take("x", ignored)
    largest = max(backup.files, key=lambda file: file.bytes).path
    file = Path(backup.path) / largest
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flip" else content[:-1])
    with pytest.raises(BackupFailed, match="damaged") as refused:
        await backups.check(backup)
    assert largest in refused.value.message


async def test_rows_that_are_not_in_the_dump_are_found_out(
    backups: Backups, tmp_path: Path
) -> None:
    """Where a dump reads well but lacks a row, its count tells, by table."""
    backup = await backups.take("x", ignored)
    path = tmp_path / "backups" / backup.name / "manifest.json"
    facts = json.loads(path.read_text())
    wrong = next(one for one in facts["tables"] if one["table"] == "public.guests")
    wrong["rows"] += 1
    path.write_text(json.dumps(facts))
    with pytest.raises(BackupFailed, match=r"public.guests has 300 rows .* had 301"):
        await backups.check(await backups.find(backup.name))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 10_000])
def test_rows_are_counted_wherever_the_stream_is_cut(size: int) -> None:
    """The count of each table is the same for chunks of any size."""
    text = (
        b"SET x = 1;\n\nCOPY public.a (id, t) FROM stdin;\n1\t\\\\.\n2\t\\N\n\\.\n\n\n"
        b"COPY public.empty  FROM stdin;\n\\.\n"
        b'COPY public."b (""c"" d)" (id) FROM stdin;\n\n\n\n\\.\nSELECT 1;\n'
    )
    counter = CopyCounter()
    for at in range(0, len(text), size):
        counter.add(text[at : at + size])
    counter.end()
    assert counter.rows == {
        "public.a": 2,
        "public.empty": 0,
        'public."b (""c"" d)"': 3,
    }
    assert counter.problem is None


def test_rows_without_an_end_are_a_problem() -> None:
    """A stream that breaks off among rows does not pass for whole."""
    counter = CopyCounter()
    counter.add(b"COPY public.a (id) FROM stdin;\n1\n2\n")
    counter.end()
    assert counter.problem == "the rows of public.a have no end"
