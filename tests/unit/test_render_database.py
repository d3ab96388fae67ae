"""What people are shown of the schema: plans, the question, sizes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollback.render import Screen
from rollback.render_database import show_backups, size
from rollback.render_plan import destruction, show_plan
from rollback.schema import (
    Backup,
    BackupFile,
    Destroyed,
    Holder,
    SchemaPlan,
    Script,
    TableLock,
)


def plan(*destroys: Destroyed, locks: tuple[TableLock, ...] = ()) -> SchemaPlan:
    """From 003 to 002."""
    script = Script(
        version="003", path=Path("rollback_003.sql"), text="x", sha256="ab" * 32
    )
    return SchemaPlan(
        from_version="003",
        to_version="002",
        scripts=(script,),
        destroys=destroys,
        locks=locks,
        stall_seconds=0.25,
        notes=("Nobody looked.",),
    )


def gone(number: int, rows: int | None = 1, kind: str = "column") -> Destroyed:
    """One of many."""
    return Destroyed(object=f"public.a.c{number}", kind=kind, version="003", rows=rows)


def test_the_question_names_what_is_destroyed() -> None:
    """With how many rows and values that is."""
    said = destruction(plan(gone(1, 7), gone(2, None, "index")))

    assert said == (
        "It destroys column public.a.c1, index public.a.c2; 7 rows or values are "
        "archived before."
    )


def test_of_many_things_the_rest_is_counted() -> None:
    """A question that nobody reads to its end is none."""
    said = destruction(plan(*(gone(n) for n in range(6)), gone(7, None, "index")))

    assert "column public.a.c5, 1 more of the kind index; 6 rows" in said
    assert "c7" not in said


def test_that_nothing_is_destroyed_is_said() -> None:
    """Silence would be read as not known."""
    assert destruction(plan()) == "It destroys nothing."


def test_in_a_pipe_each_line_begins_with_what_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Tab-separated, with who holds a lock."""
    holder = Holder(
        pid=7, application="report", user="app", state="active", seconds=61.4
    )
    lock = TableLock(table="public.a", mode="ACCESS EXCLUSIVE", holders=(holder,))

    show_plan(Screen(as_json=False), plan(gone(1), locks=(lock,)), "production")

    lines = capsys.readouterr().out.splitlines()
    assert "takes back\t003\trollback_003.sql" in lines
    assert "destroys\tcolumn\tpublic.a.c1\t1\t003" in lines
    assert "locks\tpublic.a\tACCESS EXCLUSIVE\treport (pid 7, active, 61 s)" in lines
    assert "writers wait for about 0.25 s" in lines
    assert "note: Nobody looked." in lines
    assert any("no fingerprint is recorded at 002" in line for line in lines)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (3000 * 1024**4, "3000.0 TiB"),
    ],
)
def test_sizes_are_for_people(number: int, shown: str) -> None:
    """The largest unit that leaves a number of one or more."""
    assert size(number) == shown


def test_backups_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, time, size, the schema's version, and whether it is verified."""
    backup = Backup(
        name="one",
        path="backups/one",
        label="x",
        database="db",
        version="003",
        taken_at=datetime(2026, 1, 2, tzinfo=UTC),
        seconds=1.25,
        server="18.0",
        client="18.0",
        schemas=("public",),
        tables=(),
        files=(BackupFile(path="a", bytes=2048, sha256="0"),),
        verified=True,
    )

    show_backups(Screen(as_json=False), [backup])

    assert capsys.readouterr().out == (
        "one\t2026-01-02T00:00:00.000Z\t1.2 s\t2.0 KiB\t003\tverified\n"
    )
