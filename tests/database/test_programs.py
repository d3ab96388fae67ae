"""PostgreSQL's own programs are found by version, told no secret, and end with us."""

from pathlib import Path

import anyio
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rollback.errors import BackupFailed, DatabaseUnreachable
from rollback.targets.database.programs import Programs
from tests.integration.processes import gone

from .keeping import run, until, with_catch

pytestmark = pytest.mark.anyio


async def test_the_folder_that_is_named_is_taken(programs_folder: Path) -> None:
    """Programs of the server's major version are found in the folder of the setting."""
    found = await Programs.find(programs_folder, 18)
    assert (found.folder, found.version.split(".")[0]) == (programs_folder, "18")


async def test_path_is_looked_through(
    programs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the setting the programs on PATH are taken."""
    monkeypatch.setenv("PATH", str(programs_folder))
    assert (await Programs.find(None, 18)).folder == programs_folder


async def test_another_major_version_is_refused_by_name(programs_folder: Path) -> None:
    """Where only another major version is there, both and the place are named."""
    with pytest.raises(BackupFailed) as refused:
        await Programs.find(programs_folder, 17)
    message = refused.value.message
    assert "server is PostgreSQL 17" in message
    assert "pg_dump is 18." in message
    assert str(programs_folder) in message
    assert "ROLLBACK_POSTGRES_PROGRAMS" in refused.value.mend


async def test_a_host_without_programs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no pg_dump at all, the error says where was looked."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupFailed, match=r"no pg_dump .* in the usual places"):
        await Programs.find(None, 3)


async def test_the_password_is_in_no_argument(
    database: str, programs_folder: Path, tmp_path: Path
) -> None:
    """The password goes by the environment: other users see every argument."""
    log = tmp_path / "arguments"
    folder = with_catch(tmp_path / "bin", programs_folder, f'echo "$*" > {log}')
    programs = await Programs.find(folder, 18)
    await programs.run("pg_dump", f"--file={tmp_path / 'dump'}", url=database)
    arguments = log.read_text()
    facts = conninfo_to_dict(database)
    assert f"dbname={facts['dbname']}" in arguments
    assert str(facts["password"]) not in arguments


async def test_a_network_that_is_gone_ends_a_program(
    database: str, programs_folder: Path, tmp_path: Path
) -> None:
    """It asks, as our own connections do, whether the server is still there."""
    log = tmp_path / "arguments"
    folder = with_catch(tmp_path / "bin", programs_folder, f'echo "$*" > {log}')
    programs = await Programs.find(folder, 18)
    own = make_conninfo(database, tcp_user_timeout=7000)
    for url, limit in ((database, 120_000), (own, 7000)):
        await programs.run("pg_dump", f"--file={tmp_path / 'dump'}", url=url)
        arguments = log.read_text()
        assert "keepalives=1 keepalives_idle=30" in arguments
        assert f"tcp_user_timeout={limit}" in arguments


async def test_a_database_that_does_not_let_us_in_is_unreachable(
    database: str, programs_folder: Path
) -> None:
    """A wrong password is told as an unreachable database, and is not shown."""
    programs = await Programs.find(programs_folder, 18)
    wrong = make_conninfo(database, password="quite_wrong")
    with pytest.raises(DatabaseUnreachable) as refused:
        await programs.run("pg_dump", url=wrong)
    assert "password authentication failed" in refused.value.message
    assert "quite_wrong" not in refused.value.message


async def test_cancelling_ends_the_program_and_its_query(
    database: str, programs_folder: Path, tmp_path: Path
) -> None:
    """When a run is cancelled, the process has ended, and so has its session."""
    run(database, "CREATE TABLE guests (id int)")
    note = tmp_path / "pid"
    folder = with_catch(tmp_path / "bin", programs_folder, f"echo $$ > {note}")
    programs = await Programs.find(folder, 18)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE guests IN ACCESS EXCLUSIVE MODE")
        async with anyio.create_task_group() as tasks:

            async def dump() -> None:
                await programs.run("pg_dump", url=database)

            tasks.start_soon(dump)
            await until(lambda: blocker.execute(waiting).fetchone() == (1,))
            tasks.cancel_scope.cancel()
        assert gone(int(note.read_text()))
        await until(lambda: blocker.execute(waiting).fetchone() == (0,))


async def test_what_it_complains_of_is_the_error(
    programs_folder: Path, tmp_path: Path
) -> None:
    """A program that fails gives its own line, and raises what the caller asked for."""
    programs = await Programs.find(programs_folder, 18)
    with pytest.raises(BackupFailed, match="does not appear to be a valid archive"):
        await programs.run("pg_restore", "--list", str(tmp_path))
