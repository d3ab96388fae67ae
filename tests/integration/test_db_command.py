"""The command `db` on a database of its own: what it shows, does and refuses."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from stack.backends import Stack
from steps.command import Command

from .own_database import Own, own_database
from .test_command import complaint

pytestmark = pytest.mark.postgres
NOTE = "public.orders.note"


@pytest.fixture(scope="module")
def kept(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """One at 003 that no test may change; 001 and 003 are on record."""
    with own_database(stack, tmp_path_factory.mktemp("kept")) as own:
        _migrate(own)
        yield own


@pytest.fixture
def own(stack: Stack, tmp_path: Path) -> Iterator[Own]:
    """One at 003 to do with as one likes."""
    with own_database(stack, tmp_path) as own:
        _migrate(own)
        yield own


def _migrate(own: Own) -> None:
    own.apply("001")
    own.record()
    own.apply("002")
    own.apply("003")
    own.record()


# -- the plan ---------------------------------------------------------------------


def test_a_plan_is_the_contracts_json(kept: Own) -> None:
    """In order, with what is destroyed, counted; and nothing is changed."""
    ran = kept.command().run("db", "--to", "001", "--plan", "--json")

    assert ran.code == 0, ran.stderr
    plan = ran.document
    assert (plan["from"], plan["to"], plan["versions"]) == (
        "003",
        "001",
        ["003", "002"],
    )
    assert plan["refusal"] is None
    destroyed = {(d["kind"], d["object"]): d["rows"] for d in plan["destroys"]}
    assert destroyed["column", NOTE] == 2
    assert destroyed["table", "public.coupons"] == 1
    assert "public.orders" in {lock["table"] for lock in plan["locks"]}
    assert {"stall_seconds", "notes", "sha256", "accept"} <= plan.keys()
    assert kept.versions() == ["001", "002", "003"]
    assert not (kept.folder / "backups").exists()


def test_the_version_that_is_there_is_nothing_to_do(kept: Own) -> None:
    """Exit 0, and no backup for it."""
    done = kept.command().run("db", "--to", "003", "--yes", "--json")

    assert done.code == 0, done.stderr
    assert done.document["outcome"] == "nothing_to_do"
    assert (done.document["versions"], done.document["incident"]) == ([], None)
    assert not (kept.folder / "backups").exists()


def test_a_script_that_is_missing_is_refused_by_name(own: Own) -> None:
    """In the plan's JSON, and in two sentences where it is to be done."""
    (own.scripts / "rollback_002.sql").unlink()

    planned = own.command().run("db", "--to", "001", "--plan", "--json")
    done = own.command().run("db", "--to", "001", "--yes")

    assert planned.code == 4, planned.stderr
    assert planned.document["from"] == "003"
    assert "rollback_002.sql is missing" in planned.document["refusal"]
    assert "rollback_002.sql is missing" in complaint(done, 4)


def test_a_version_that_was_never_applied_is_named(kept: Own) -> None:
    """As the plan's refusal."""
    ran = kept.command().run("db", "--to", "000", "--plan", "--json")

    assert ran.code == 4, ran.stderr
    assert "000" in ran.document["refusal"]


def test_what_was_never_recorded_needs_consent(own: Own) -> None:
    """It says which word gives it; with it there is a plan."""
    asked = own.command().run("db", "--to", "002", "--plan", "--json")
    given = own.command().run(
        "db", "--to", "002", "--plan", "--accept", "unrecorded", "--json"
    )

    assert asked.code == 4, asked.stderr
    assert asked.document["needs"] == "unrecorded"
    assert "--accept unrecorded" in asked.document["mend"]
    assert given.code == 0, given.stderr
    assert given.document["accept"] == ["unrecorded"]
    assert given.document["versions"] == ["003"]


def test_without_a_database_it_says_which_setting_is_missing(tmp_path: Path) -> None:
    """Exit 2."""
    said = complaint(Command({}, tmp_path).run("db", "--to", "001", "--plan"), 2)

    assert "DATABASE_DIRECT_URL is not set" in said


# -- doing it ---------------------------------------------------------------------


def test_nobody_who_could_confirm_means_no(kept: Own) -> None:
    """Without a terminal and without --yes nothing is planned either."""
    said = complaint(kept.command().run("db", "--to", "001"), 2)

    assert "--yes" in said
    assert kept.versions() == ["001", "002", "003"]


@pytest.mark.parametrize(("word", "code"), [(b"n\n", 2), (b"y\n", 0)])
def test_on_a_terminal_it_names_what_is_destroyed_and_asks(
    own: Own, word: bytes, code: int
) -> None:
    """Only yes is yes."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "rollback", "db", "--to", "001"],
        env={"PATH": os.environ["PATH"], **own.settings},
        cwd=own.folder,
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.write(parent, word)
        output, errors = process.communicate(timeout=180)
    os.close(parent)
    os.close(child)

    assert process.returncode == code, errors
    assert b"It destroys" in errors
    assert NOTE.encode() in errors
    assert b"Roll the schema of production back to 001 now?" in errors
    assert b"destroys\tcolumn\tpublic.orders.note\t2\t002" in output
    assert own.versions() == (["001"] if code == 0 else ["001", "002", "003"])


def test_the_whole_way_back_and_forth(own: Own, stack: Stack) -> None:
    """Backup, rollback, receipt, incident, message; then up again, and refilled."""
    command = own.command()
    ran = command.run(
        "db",
        "--to",
        "001",
        "--reason",
        "orders are lost",
        "--rehearse",
        "--yes",
        "--json",
        seconds=180,
    )

    assert ran.code == 0, ran.stderr
    done = ran.document
    assert own.versions() == ["001"]
    assert own.rows("TABLE orders ORDER BY id") == [(1, 100), (2, 200), (3, 300)]
    assert (done["outcome"], done["part"]) == ("restored", "database")
    assert (done["from"], done["to"]) == ("schema:003", "schema:001")
    receipt, backup = done["receipt"], done["backup"]
    assert receipt["backup_sha256"] == backup["sha256"]
    assert receipt["fingerprint_compared"]
    archived = {each["object"]: each["rows"] for each in receipt["archived"]}
    assert archived == {NOTE: 2, "public.coupons": 1}
    secret = str(conninfo_to_dict(own.url)["password"])
    assert secret not in ran.stdout + ran.stderr
    shown = command.run("incidents", "show", done["incident"], "--json").document
    assert shown["receipt"] == receipt
    assert done["incident"] in _told(stack)

    own.apply("002")
    own.do("UPDATE orders SET note = 'newer' WHERE id = 1")
    (there,) = command.run("db", "refill", "002", "--plan", "--json").document
    assert (there["object"], there["rows"], there["refilled"]) == (NOTE, 2, False)
    refilled = command.run("db", "refill", "002", "--yes", "--json")
    assert refilled.code == 0, refilled.stderr
    assert refilled.document["objects"][0]["newer_kept"] == 1
    notes = own.rows("SELECT note FROM orders ORDER BY id")
    assert notes == [("newer",), ("gift for 2",), (None,)]
    _check_backups(own, backup["sha256"])


def _told(stack: Stack) -> str:
    """All that the channel was told."""
    url = f"{stack.addresses['slack']}/_control/state"
    return httpx.get(url, trust_env=False).text


def _check_backups(own: Own, sha256: str) -> None:
    """It is listed below a newer one, and verifies again until it is touched."""
    command = own.command()
    newer = command.run("db", "backup", "--json").document
    first, listed = command.run("db", "backups", "--json").document
    assert (first["name"], first["verified"]) == (newer["name"], True)
    assert (listed["verified"], listed["version"]) == (True, "003")
    assert listed["sha256"] == sha256
    whole = command.run("db", "backups", "--check", listed["name"])
    assert (whole.code, "is whole" in whole.stdout) == (0, True), whole.stderr

    files = (own.folder / listed["path"] / "database").iterdir()
    spoilt = max(files, key=lambda path: path.stat().st_size)
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    cut = command.run("db", "backups", "--check", listed["name"])
    assert spoilt.name in complaint(cut, 4)


def test_a_lock_that_is_held_is_a_refusal_with_its_holder(own: Own) -> None:
    """Exit 4, two sentences, the backup is kept, and the incident says refused."""
    command = own.command(ROLLBACK_LOCK_ATTEMPTS="2", ROLLBACK_LOCK_TIMEOUT_MS="50")
    with psycopg.connect(own.url, application_name="nightly report") as holder:
        holder.execute("SELECT count(*) FROM orders")
        ran = command.run("db", "--to", "001", "--yes", "--json", seconds=180)

    assert ran.code == 4, ran.stderr
    assert "nightly report" in ran.stderr
    assert "Traceback" not in ran.stderr
    done = ran.document
    assert (done["outcome"], done["backup"]["verified"]) == ("refused", True)
    assert own.versions() == ["001", "002", "003"]


# -- refill, stairway ----------------------------------------------------


def test_what_was_never_archived_cannot_go_back(kept: Own) -> None:
    """Exit 2, and nothing is asked of the database but that."""
    said = complaint(kept.command().run("db", "refill", "002", "--yes"), 2)

    assert "002" in said


def test_the_stairway_finds_the_script_that_takes_nothing_back(own: Own) -> None:
    """Exit 1 where a migration cannot be taken back; the others can."""
    (own.scripts / "rollback_002.sql").write_text("SELECT 1;")

    ran = own.command().run("db", "stairway", seconds=180)

    assert ran.code == 1, ran.stderr
    lines = [line.split("\t")[:2] for line in ran.stdout.splitlines()]
    assert ["001", "done"] in lines
    assert ["002", "failed"] in lines
    assert own.versions() == ["001", "002", "003"]
