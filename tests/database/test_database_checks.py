"""What `rollback doctor` says of a database, its role, its scripts and its backups."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from rollback.checks import Amiss
from rollback.database_checks import LOOKS
from rollback.errors import RollbackError
from rollback.settings import Settings

TABLES = (
    "CREATE TABLE orders (id integer PRIMARY KEY, total integer);"
    "CREATE TABLE schema_migrations (version text PRIMARY KEY);"
    "INSERT INTO schema_migrations VALUES ('001');"
)
ROLE = "doctors_patient"


def do(url: str, *statements: str) -> None:
    """Change it, one statement at a time."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture
def patient(server: str, database: str) -> Iterator[str]:
    """The database as a role of its own sees it, which owns all that is there."""
    do(database, TABLES, f"CREATE ROLE {ROLE} LOGIN PASSWORD 'hush' CREATEDB")
    for table in ("orders", "schema_migrations"):
        do(database, f"ALTER TABLE {table} OWNER TO {ROLE}")
    do(database, f"GRANT CREATE ON DATABASE {_name(database)} TO {ROLE}")
    yield make_conninfo(database, user=ROLE, password="hush")
    do(database, f"REASSIGN OWNED BY {ROLE} TO postgres", f"DROP OWNED BY {ROLE}")
    do(server, f"DROP ROLE {ROLE}")


def _name(url: str) -> str:
    with psycopg.connect(url) as connection:
        return connection.info.dbname


def look(name: str, url: str | None, folder: Path, **more: object) -> str:
    """What one of the doctor's looks says; `amiss: ` before what is amiss."""
    address = SecretStr(url) if url else None
    settings = Settings(
        ledger_url=address,
        database_direct_url=address,
        migrations=folder / "migrations",
        backups=str(folder / "backups"),
        spool=folder / "spool",
    ).model_copy(update=more)
    try:
        return anyio.run(LOOKS[name], settings)
    except Amiss as amiss:
        return f"amiss: {amiss.said}" if amiss.mend else "no mend"
    except RollbackError as error:
        return f"wrong: {error.message}" if error.mend else "no mend"


def test_a_role_that_owns_all_of_it_will_do(patient: str, tmp_path: Path) -> None:
    """It need be no superuser."""
    said = look("database rights", patient, tmp_path)

    assert said.startswith(f"{ROLE} reads and owns all 2")


@pytest.mark.parametrize(
    ("sick", "said"),
    [
        ("ALTER TABLE orders OWNER TO postgres", "cannot read all of public.orders"),
        (
            f"ALTER TABLE orders OWNER TO postgres; GRANT SELECT ON orders TO {ROLE}",
            "does not own public.orders",
        ),
        (
            "ALTER TABLE orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            "cannot read all of public.orders",
        ),
        (f"ALTER ROLE {ROLE} NOCREATEDB", "may not create a scratch database"),
    ],
)
def test_what_a_role_lacks_is_named(
    patient: str, database: str, tmp_path: Path, sick: str, said: str
) -> None:
    """Before a rollback finds it out."""
    do(database, *sick.split(";"))

    assert said in look("database rights", patient, tmp_path)


def test_a_role_that_may_not_archive_is_told_so(
    patient: str, database: str, tmp_path: Path
) -> None:
    """Without a place for what is destroyed nothing is destroyed."""
    do(database, f"REVOKE CREATE ON DATABASE {_name(database)} FROM {ROLE}")

    assert "may not create the schema rollback" in look(
        "database rights", patient, tmp_path
    )


def test_another_server_for_scratch_will_do(
    patient: str, database: str, tmp_path: Path
) -> None:
    """Then the role need not create databases here."""
    do(database, f"ALTER ROLE {ROLE} NOCREATEDB")

    said = look(
        "database rights", patient, tmp_path, scratch_url=SecretStr("postgresql://x")
    )

    assert said.startswith(f"{ROLE} reads and owns all 2")


def test_pg_dump_of_another_version_is_wrong(
    database: str, programs_folder: Path, tmp_path: Path
) -> None:
    """The server's own is found where it is said to be."""
    right = look("pg_dump", database, tmp_path, postgres_programs=programs_folder)
    wrong = look("pg_dump", database, tmp_path, postgres_programs=tmp_path)

    assert str(programs_folder) in right
    assert wrong.startswith("wrong: The server is PostgreSQL")


def test_a_script_that_cannot_be_run_is_named(database: str, tmp_path: Path) -> None:
    """All that a rollback would refuse, on a quiet day."""
    do(database, TABLES)
    (tmp_path / "migrations").mkdir()
    script = tmp_path / "migrations" / "rollback_001.sql"

    missing = look("migrations", database, tmp_path)
    script.write_text("BEGIN; DROP TABLE orders; COMMIT;")
    wrong = look("migrations", database, tmp_path)
    script.write_text("DROP TABLE orders;")
    right = look("migrations", database, tmp_path)

    assert missing.startswith("amiss: ")
    assert "rollback_001.sql is missing" in missing
    assert "COMMIT" in wrong
    assert right.startswith("at 001, and each of 1")


def test_what_is_not_on_record_is_named(database: str, tmp_path: Path) -> None:
    """With the command that records it."""
    do(database, TABLES)

    assert look("schema on record", database, tmp_path) == "amiss: not on record: 001"


def test_that_there_is_no_backup_yet_is_said(database: str, tmp_path: Path) -> None:
    """It is no mistake: each rollback takes one."""
    said = look("backups", database, tmp_path)

    assert said == f"amiss: there is no verified backup yet in {tmp_path}/backups"


def test_an_address_that_keeps_its_session_is_well(
    database: str, tmp_path: Path
) -> None:
    """Named without its password."""
    said = look("database session", database, tmp_path)

    assert said.endswith("is a session of its own")
    assert "test_" not in said.replace(_name(database), "")


@pytest.mark.parametrize("name", list(LOOKS))
def test_without_a_database_each_says_which_setting(name: str, tmp_path: Path) -> None:
    """A warning, and never an error: a project may have none."""
    said = look(name, None, tmp_path)

    assert said == "amiss: no database is set: it is neither backed up nor rolled back"
