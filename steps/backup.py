"""Steps of the backups: what keeps one from being taken, and what is in it."""

from pathlib import Path
from typing import Any

from pytest_bdd import given, parsers, then, when
from redis import Redis

from . import clocks
from .application import ByHand
from .schema import REFUSED
from .tables import dumped

PROGRAMS = "ROLLBACK_POSTGRES_PROGRAMS"
SUPPLIER = "Roses & Sons"
NOWHERE = "postgresql://postgres:test@127.0.0.1:1/postgres"  # nobody listens there

# PostgreSQL's own pg_dump in each; only what becomes of its answer differs. What is not
# a backup, such as a copy of the schema, has no snapshot and is left alone.
BACKUP_ALONE = """#!/bin/sh
case "$*" in *--snapshot=*) ;; *) exec "$PG_DUMP" "$@" ;; esac
"""
TO_A_FULL_DISK = """
for word; do
  shift
  case "$word" in
    --file=*) word=--file=/dev/full ;;
    --format=directory) word=--format=custom ;;
    --jobs=*) continue ;;
  esac
  set -- "$@" "$word"
done
exec "$PG_DUMP" "$@"
"""
DAMAGED = """
"$PG_DUMP" "$@" || exit
for word; do
  case "$word" in
    --file=*)
      for data in "${word#--file=}"/[0-9]*.dat*; do
        if [ -f "$data" ]; then printf damaged > "$data"; fi
      done ;;
  esac
done
"""
OF_VERSION_15 = """#!/bin/sh
if [ "$*" = --version ]; then echo "pg_dump (PostgreSQL) 15.14"; exit; fi
exec "$PG_DUMP" "$@"
"""


# -- given --------------------------------------------------------------------


@given("a supplier has signed up")
def signed_up(by_hand: ByHand) -> None:
    """On the site, as anybody."""
    answer = by_hand.http.post(
        f"{by_hand.stack.addresses['edge']}/api/suppliers",
        json={
            "name": SUPPLIER,
            "email": "roses@example.com",
            "password": "correct-Horse-7",
        },
    )
    assert answer.status_code == 201, answer.text


@given("the disk for backups is full")
def disk_full(by_hand: ByHand, tmp_path: Path) -> None:
    """What pg_dump writes goes to a device that is."""
    in_place_of_pg_dump(by_hand, tmp_path, BACKUP_ALONE + TO_A_FULL_DISK)


@given("a backup is damaged as soon as it is written")
def damaged(by_hand: ByHand, tmp_path: Path) -> None:
    """Each file of rows is overwritten before anybody can look."""
    in_place_of_pg_dump(by_hand, tmp_path, BACKUP_ALONE + DAMAGED)


@given("the only pg_dump at hand is one of version 15")
def other_version(by_hand: ByHand, tmp_path: Path) -> None:
    """It says so when it is asked."""
    in_place_of_pg_dump(by_hand, tmp_path, OF_VERSION_15)


def in_place_of_pg_dump(by_hand: ByHand, folder: Path, script: str) -> None:
    """Put a program in the place of pg_dump."""
    own = Path(by_hand.stack.environment[PROGRAMS])
    programs = folder / "programs"
    programs.mkdir()
    (programs / "pg_restore").symlink_to(own / "pg_restore")
    program = programs / "pg_dump"
    program.write_text(script.replace("$PG_DUMP", str(own / "pg_dump")))
    program.chmod(0o755)
    by_hand.set(**{PROGRAMS: str(programs)})


@given("nobody can reach the database to take a backup")
def unreachable(by_hand: ByHand) -> None:
    """The ledger is another address, and answers."""
    by_hand.set(DATABASE_URL=NOWHERE)


@given("a backup was taken as a feature was switched off")
def taken(by_hand: ByHand) -> None:
    """Before that, that is."""
    switched_off(by_hand)
    assert by_hand.last.code == 0, by_hand.last.stderr


# -- when ---------------------------------------------------------------------


@when("the feature timeline is switched off by hand")
def switched_off(by_hand: ByHand) -> None:
    """By its name."""
    by_hand.run("flag", "timeline", "--yes")


@when("a byte of the backup changes and it is looked at again")
def byte_changes(by_hand: ByHand) -> None:
    """One bit of one byte, in the largest of the files of rows."""
    folder = _folder(by_hand)
    data = _largest(folder)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    by_hand.run("db", "backups", "--check", folder.name)


def _largest(folder: Path) -> Path:
    return max(
        folder.glob("database/[0-9]*.dat*"), key=lambda path: path.stat().st_size
    )


def _folder(by_hand: ByHand) -> Path:
    """The one backup that there is."""
    (folder,) = Path(by_hand.stack.environment["ROLLBACK_BACKUPS"]).iterdir()
    return folder


# -- then ---------------------------------------------------------------------


@then("a backup was begun before the traffic moved, and is whole")
def begun_before(by_hand: ByHand) -> None:
    """By the incident's journal, and the platform that was asked to move it."""
    document = by_hand.last.document
    assert document["backup"]["verified"] is True
    assert Path(document["backup"]["path"]) == _folder(by_hand)
    calls = by_hand.state()["calls"]
    (moved,) = (call["at"] for call in calls if call["endpoint"] == "rollback")
    assert clocks.unix(_began(by_hand)["at"]) < moved


def _began(by_hand: ByHand) -> dict[str, Any]:
    incident = by_hand.last.document["incident"]
    shown = by_hand.command.run("incidents", "show", incident, "--json").document
    (entry,) = (e for e in shown["journal"] if e["event"] == "backup_begins")
    found: dict[str, Any] = entry
    return found


@then("the supplier is in the backup")
def in_backup(by_hand: ByHand) -> None:
    """As PostgreSQL's own program reads it."""
    folder = _folder(by_hand)
    assert SUPPLIER in dumped(by_hand.stack.environment[PROGRAMS], folder)


@then("the command ends as done, with the feature off")
def feature_off(by_hand: ByHand) -> None:
    """Exit 0; and Redis has it."""
    assert by_hand.last.code == 0, by_hand.last.stderr
    assert by_hand.last.document["backup"]["verified"] is True
    with Redis.from_url(by_hand.stack.addresses["redis"]) as redis:
        assert redis.hget("feature_flags", "timeline") == b"disabled"


@then(
    parsers.parse(
        'the attempt is on record, and that there is no backup because of "{reason}"'
    )
)
def no_backup(by_hand: ByHand, reason: str) -> None:
    """In the incident; and nothing that looks like one was left behind."""
    backup = by_hand.last.document["backup"]
    assert (backup["path"], backup["verified"]) == (None, False)
    assert reason in backup["problem"]
    assert _began(by_hand)
    folder = Path(by_hand.stack.environment["ROLLBACK_BACKUPS"])
    assert not folder.exists() or not list(folder.iterdir())


@then("the command refuses it and names the file that changed")
def names_file(by_hand: ByHand) -> None:
    """Exit 4."""
    ran = by_hand.last
    assert ran.code == REFUSED, f"exit {ran.code}: {ran.stdout}\n{ran.stderr}"
    changed = _largest(_folder(by_hand))
    said = f"its file database/{changed.name} is not what was written."
    assert said in ran.stderr
