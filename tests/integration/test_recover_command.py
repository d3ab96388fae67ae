"""The command `recover` where the scenarios do not reach: a terminal, its options."""

import os
import pty
import subprocess
import sys

import anyio
import pytest

from steps.application import put_on_record
from steps.recovery import Recovering

from .test_command import complaint

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.mark.parametrize(("word", "restored"), [(b"y\n", False), (b"restore\n", True)])
def test_lost_writes_are_consented_to_in_words(
    recovering: Recovering, word: bytes, *, restored: bool
) -> None:
    """A yes is not enough: the backup's time is named, and a word asked for."""
    recovering.signed_up = [recovering.sign_up()]
    backup = anyio.run(recovering.backups.take, "nightly", print)
    anyio.run(put_on_record, recovering.by_hand.stack)
    late = recovering.sign_up()
    command = recovering.by_hand.command
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "rollback", "recover", "--with-database"],
        env={"PATH": os.environ["PATH"], **command.settings},
        cwd=command.folder,
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.write(parent, word)
        output, errors = process.communicate(timeout=180)
    os.close(parent)
    os.close(child)

    taken = f"{backup.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    assert f'Type "restore" to go back to {taken}' in errors.decode()
    assert b"public.suppliers: 2 rows now, 1 rows in the backup." in output
    assert (late in recovering.suppliers()) is not restored
    assert process.returncode == (0 if restored else 2), errors


@pytest.mark.parametrize("option", [("--backup", "nightly"), ("--swap",)])
def test_how_to_restore_says_nothing_without_a_restore(
    recovering: Recovering, option: tuple[str, ...]
) -> None:
    """A person who forgot --with-database is told, and nothing is done."""
    ran = recovering.by_hand.command.run("recover", *option, "--yes")

    assert "Add --with-database" in complaint(ran, 2)


def test_a_backup_that_is_not_there_is_named(recovering: Recovering) -> None:
    """Exit 2, before anything is touched."""
    before = recovering.state()

    ran = recovering.by_hand.command.run(
        "recover", "--with-database", "--backup", "nobody", "--yes"
    )

    assert "There is no verified backup nobody" in complaint(ran, 2)
    assert recovering.state() == before
