"""A rehearsal restores what production has, as fast as the backup was taken."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rollback.adapters.clock import SystemClock
from rollback.schema import SchemaRecord
from rollback.targets.database import dumping
from rollback.targets.database.postgres import PostgresDatabase, Rules

from .keeping import SHOP, ignored, keeper, run

pytestmark = pytest.mark.anyio


def programs_with_log(folder: Path, programs: Path, log: Path) -> Path:
    """PostgreSQL's own, of which pg_restore writes down how it is called."""
    folder.mkdir()
    (folder / "pg_dump").symlink_to(programs / "pg_dump")
    script = folder / "pg_restore"
    script.write_text(
        f'#!/bin/sh\necho "$*" >> {log}\nexec "{programs}/pg_restore" "$@"\n'
    )
    script.chmod(0o755)
    return folder


async def test_what_is_in_public_is_no_obstacle_and_all_jobs_help(
    database: str,
    server: str,
    tmp_path: Path,
    programs_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An extension is made before the rest comes, which comes in parallel."""
    monkeypatch.setattr(dumping, "PARALLEL_BYTES", 0)
    run(database, SHOP, "CREATE EXTENSION vector SCHEMA public")
    (tmp_path / "rollback_002.sql").write_text("DROP TABLE visits;")
    log = tmp_path / "log"
    programs = programs_with_log(tmp_path / "bin", programs_folder, log)

    async def nothing() -> Mapping[str, SchemaRecord]:
        return {}

    shop = PostgresDatabase(
        url=database,
        scratch_url=server,
        backups=keeper(database, tmp_path / "backups", programs, jobs=2),
        records=nothing,
        rules=Rules(migrations=tmp_path, programs=programs),
        clock=SystemClock(),
    )
    plan = await shop.plan("001", accept=frozenset({"unrecorded"}))
    assert plan is not None
    backup = await shop.back_up("x", notice=ignored)

    await shop.rehearse(plan, backup, notice=ignored)

    assert "--jobs=2" in log.read_text()
