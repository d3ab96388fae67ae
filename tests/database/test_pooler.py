"""A transaction pooler is found out before anything relies on a session."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rollback.errors import BackupFailed, SchemaRefused
from rollback.targets.database.pooler import require_session
from tests.integration.processes import until

from .keeping import ignored, keeper

pytestmark = pytest.mark.anyio

PGBOUNCER = os.environ.get("ROLLBACK_TEST_PGBOUNCER") or shutil.which("pgbouncer")


@contextmanager
def pooler(url: str, folder: Path, mode: str) -> Iterator[str]:
    """PgBouncer before the database; gives its address."""
    if PGBOUNCER is None:
        pytest.skip("no PgBouncer on PATH or in ROLLBACK_TEST_PGBOUNCER")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = folder / "pgbouncer.ini"
    # It refuses to be root, and becomes somebody else once it has read this.
    somebody = "user = nobody\n" if os.getuid() == 0 else ""
    name = conninfo_to_dict(url)["dbname"]
    settings.write_text(
        f"[databases]\n{name} = {url}\n[pgbouncer]\n{somebody}"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = {mode}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the path is the tester's own
            [PGBOUNCER, settings], stdout=log, stderr=log
        )
    address = make_conninfo(url, port=port)
    try:
        until(lambda: answers(address), "PgBouncer does not answer")
        yield address
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    """Whether a query gets through."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


async def test_a_direct_address_passes(database: str) -> None:
    """A connection to the server itself is a session."""
    await require_session(database)


async def test_a_transaction_pooler_is_refused(
    database: str, tmp_path: Path, programs_folder: Path
) -> None:
    """Behind a transaction pooler no backup is begun, and the setting is named."""
    with pooler(database, tmp_path, "transaction") as address:
        with pytest.raises(BackupFailed, match="transaction pooler") as refused:
            await keeper(address, tmp_path / "b", programs_folder).take("x", ignored)
        with pytest.raises(SchemaRefused, match="transaction pooler"):
            await require_session(address, failure=SchemaRefused)
    assert "DATABASE_DIRECT_URL" in refused.value.mend
    assert str(conninfo_to_dict(database)["password"]) not in refused.value.message
    assert not (tmp_path / "b").exists()


async def test_a_session_pooler_passes(
    database: str, tmp_path: Path, programs_folder: Path
) -> None:
    """Behind a session pooler a backup is taken and verified."""
    with pooler(database, tmp_path, "session") as address:
        await require_session(address)
        backup = await keeper(address, tmp_path / "b", programs_folder).take(
            "x", ignored
        )
    assert backup.verified
