"""Every problem of every script of a range is named before any of them is run."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from rollback.errors import SchemaRefused
from rollback.targets.database.scripts import forward, load, needs_no_transaction
from rollback.targets.database.scripts import statements as split

DECLARED = "-- rollback: no-transaction\n"


def write(folder: Path, scripts: Mapping[str, str | bytes]) -> None:
    """Write `rollback_<version>.sql` for each version."""
    for version, text in scripts.items():
        content = text if isinstance(text, bytes) else text.encode()
        (folder / f"rollback_{version}.sql").write_bytes(content)


def refusal(folder: Path, *versions: str) -> str:
    """What loading them is refused with."""
    with pytest.raises(SchemaRefused) as refused:
        load(folder, versions)
    return refused.value.message


def test_a_script_is_read_with_its_hash(tmp_path: Path) -> None:
    """The hash is that of the file's bytes, the text is without a byte order mark."""
    write(tmp_path, {"2": b"\xef\xbb\xbfDROP TABLE a;\n", "1": "DROP TABLE b;"})
    two, one = load(tmp_path, ("2", "1"))
    assert two.sha256 == sha256(b"\xef\xbb\xbfDROP TABLE a;\n").hexdigest()
    assert (two.text, two.transactional) == ("DROP TABLE a;\n", True)
    assert (one.version, one.path.name) == ("1", "rollback_1.sql")


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    """Of a whole range, every script's problem is told with its file and line."""
    write(
        tmp_path,
        {
            "5": "-- nothing\n/* here */ ;\n",
            "4": b"SELECT 1;\n-- caf\xe9\n",
            "3": "DROP TABLE a;\n\nCOMMIT;\n",
            "2": "DROP TABLE a;\n\\i other.sql\n",
            "1": "SELECT 'open;\n",
        },
    )
    said = refusal(tmp_path, "6", "5", "4", "3", "2", "1")
    for problem in (
        "rollback_6.sql is missing",
        "rollback_5.sql is empty",
        "rollback_4.sql:2 is not UTF-8",
        "rollback_3.sql:3 holds COMMIT",
        "rollback_2.sql:2 holds a command of psql",
        "rollback_1.sql:1 opens a quote",
    ):
        assert problem in said


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("BEGIN", "BEGIN"),
        ("begin work", "BEGIN"),
        ("START TRANSACTION ISOLATION LEVEL SERIALIZABLE", "START TRANSACTION"),
        ("/* x */ commit AND CHAIN", "COMMIT"),
        ("END", "END"),
        ("ROLLBACK TO a", "ROLLBACK"),
        ("ABORT", "ABORT"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("RELEASE a", "RELEASE"),
        ("PREPARE TRANSACTION 'a'", "PREPARE TRANSACTION"),
        ("COMMIT PREPARED 'a'", "COMMIT"),
        ("SET TRANSACTION READ ONLY", "SET TRANSACTION"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET SESSION CHAR"),
        ("ALTER SYSTEM SET work_mem = 1", "ALTER SYSTEM"),
        ("DROP DATABASE shop", "DROP DATABASE"),
        ("CREATE TABLESPACE t LOCATION '/t'", "CREATE TABLESPACE"),
        ("DROP SUBSCRIPTION s", "DROP SUBSCRIPTION"),
    ],
)
@pytest.mark.parametrize("beginning", ["", DECLARED])
def test_what_no_script_may_hold(
    tmp_path: Path, statement: str, named: str, beginning: str
) -> None:
    """Transaction control, and what reaches beyond the database, is refused always."""
    write(tmp_path, {"1": f"{beginning}DROP TABLE a; {statement};"})
    assert f"holds {named}" in refusal(tmp_path, "1")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "create unique index concurrently if not exists i on t (a)",
        "DROP INDEX CONCURRENTLY i",
        "REINDEX INDEX CONCURRENTLY i",
        "REINDEX (VERBOSE, CONCURRENTLY) TABLE t",
        "REINDEX SCHEMA s",
        "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
        "VACUUM FULL t",
    ],
)
def test_what_cannot_be_in_a_transaction_has_to_be_declared(
    tmp_path: Path, statement: str
) -> None:
    """It is refused, unless the script's first line says that it runs in none."""
    write(tmp_path, {"1": f"{statement};"})
    assert "cannot run inside a transaction" in refusal(tmp_path, "1")
    write(tmp_path, {"1": f"\n--rollback: no-transaction \r\n{statement};"})
    assert not load(tmp_path, ("1",))[0].transactional
    assert needs_no_transaction(split(statement)[0])


@pytest.mark.parametrize(
    "text",
    [
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "INSERT INTO notes VALUES ('COMMIT; \\i x')",
        "UPDATE t SET a = E'it\\'s; COMMIT' WHERE b = $tag$ ROLLBACK; $$ $tag$",
        'DROP TABLE "commit;"',
        "DROP INDEX concurrently_built",
        "-- BEGIN;\nDROP TABLE a -- COMMIT;",
        "COPY t FROM '/tmp/rows'",
        "DEALLOCATE PREPARE transaction_of",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
    ],
)
def test_what_only_looks_like_it_is_let_through(tmp_path: Path, text: str) -> None:
    """Words in quotes, comments and names are none."""
    write(tmp_path, {"1": text})
    assert load(tmp_path, ("1",))[0].transactional


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "SELECT\n pg_terminate_backend (pid) FROM pg_stat_activity",
            ":2 holds pg_ter",
        ),
        ("DO $$ BEGIN\nPERFORM Pg_Cancel_Backend(1); END $$", ":2 holds pg_cancel"),
        ("SELECT * FROM public.dblink_exec('x', 'y')", ":1 holds dblink_exec"),
        ("COPY t TO PROGRAM 'sh'", ":1 holds COPY with a PROGRAM"),
        ("DO $a$ BEGIN COPY t FROM PROGRAM 'sh'; END $a$", ":1 holds COPY with"),
        ("UPDATE t SET a = lo_import('/etc/passwd')", ":1 holds lo_import"),
    ],
)
def test_what_acts_outside_at_once_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    """To try it would be to do it: so it is refused before any copy is made."""
    write(tmp_path, {"1": text})
    assert f"rollback_1.sql{said}" in refusal(tmp_path, "1")


@pytest.mark.parametrize(
    "text",
    [
        "DROP FUNCTION dblink(text, text); DROP EXTENSION dblink",
        "CREATE VIEW far AS SELECT * FROM dblink('x', 'y') AS t (a int)",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT lo_import('x') $$",
        "UPDATE t SET a = 'pg_terminate_backend(1)' -- pg_reload_conf()",
        "ALTER TABLE t RENAME dblink TO program",
    ],
)
def test_what_names_it_and_does_not_do_it_is_let_through(
    tmp_path: Path, text: str
) -> None:
    """A name in quotes or comments calls nothing, nor does a definition."""
    write(tmp_path, {"1": text})
    assert load(tmp_path, ("1",))[0].transactional


def test_what_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    """Rows from STDIN nobody sends, and a NUL byte no server takes."""
    write(tmp_path, {"1": "COPY t (a) FROM STDIN;\n1\n\\.\n", "2": "SELECT\n'\0';"})
    said = refusal(tmp_path, "1", "2")
    assert "rollback_1.sql:1 copies from STDIN" in said
    assert "rollback_2.sql:2 holds a NUL byte" in said


def test_no_version_leads_out_of_the_folder(tmp_path: Path) -> None:
    """A version from the database is no path."""
    assert "cannot be a file's name" in refusal(tmp_path / "in", "/../../x")


def test_a_script_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder in the script's place is a problem like any other."""
    (tmp_path / "rollback_1.sql").mkdir()
    assert "rollback_1.sql cannot be read" in refusal(tmp_path, "1")


def test_migrations_are_found_by_version(tmp_path: Path) -> None:
    """Only NNN.sql and NNN_name.sql are migrations, and they stand as numbers do."""
    for name in ("10.sql", "9_b.sql", "rollback_9.sql", "x.sql", "9.sql.txt"):
        (tmp_path / name).touch()
    assert {v: p.name for v, p in forward(tmp_path).items()} == {
        "9": "9_b.sql",
        "10": "10.sql",
    }
    assert tuple(forward(tmp_path)) == ("9", "10")
    (tmp_path / "9.sql").touch()
    with pytest.raises(SchemaRefused, match=r"9\.sql and 9_b\.sql"):
        forward(tmp_path)
