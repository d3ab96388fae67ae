"""Steps of a backup that takes its time, and of what is done meanwhile."""

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_bdd import given, then, when

from .application import REASON, ByHand
from .application_outcome import hosts_serve
from .backup import BACKUP_ALONE, in_place_of_pg_dump
from .command import Running, end
from .schema import REFUSED, arguments, until

# Begins at once, and dumps once it is told to; two minutes are a scenario's end.
HELD = """
: > begun
tries=0
until [ -e told ] || [ $tries -ge 2400 ]; do tries=$((tries + 1)); sleep 0.05; done
exec "$PG_DUMP" "$@"
"""
GOES_ON = "the backup goes on; nothing else waits for it"
BY_ANOTHER = re.compile(
    r"^schema:006 is being rolled back already, by incident (inc-[\w-]+)\.$"
)


@dataclass(slots=True)
class Terminal:
    """Another one, with a command that goes on while its backup waits."""

    by_hand: ByHand
    folder: Path
    held: ExitStack
    running: Running | None = None
    named: str = ""

    def start(self, *arguments: str) -> Running:
        """Begin, and be there when the backup has begun."""
        self.running = self.by_hand.command.start(*arguments, "--json")
        self.held.callback(end, self.running)
        begun = self.folder / "begun"
        until(lambda: begun.exists() or self.ended, "a backup begins")
        return self.running

    @property
    def ended(self) -> bool:
        """Whether the command has."""
        assert self.running
        return self.running.process.poll() is not None

    def incidents(self) -> Any:
        """All that are on record, as the command shows them."""
        return self.by_hand.command.run("incidents", "list", "--json").document


@pytest.fixture
def terminal(by_hand: ByHand, tmp_path: Path) -> Iterator[Terminal]:
    """One whose command is ended with the scenario."""
    with ExitStack() as held:
        yield Terminal(by_hand, tmp_path, held)


# -- given --------------------------------------------------------------------


@given("a backup takes until it is told to end")
def backup_held(terminal: Terminal) -> None:
    """PostgreSQL's own program, which begins late."""
    folder = terminal.folder
    script = HELD.replace("begun", f"'{folder}/begun'")
    script = script.replace("told", f"'{folder}/told'")
    in_place_of_pg_dump(terminal.by_hand, folder, BACKUP_ALONE + script)


# -- when ---------------------------------------------------------------------


@when("v2 is rolled back by hand in another terminal")
def released_elsewhere(terminal: Terminal) -> None:
    """Until only the backup is left."""
    bad = terminal.by_hand.id("v2")
    running = terminal.start("run", "--from", bad, "--reason", REASON, "--yes")
    until(
        lambda: any(GOES_ON in line for line in running.said()) or terminal.ended,
        "only the backup is left",
    )


@when("the schema is rolled back to v2's in another terminal")
def schema_elsewhere(terminal: Terminal) -> None:
    """It waits for its backup."""
    terminal.start(*arguments())


@when("the backup is told to end")
def told_to_end(terminal: Terminal) -> None:
    """And with it the command of the other terminal."""
    (terminal.folder / "told").touch()
    assert terminal.running
    terminal.by_hand.ran.append(terminal.running.result(seconds=120))


@when("Ctrl-C is pressed in the other terminal")
def ctrl_c(terminal: Terminal) -> None:
    """Once."""
    assert terminal.running
    terminal.running.process.send_signal(signal.SIGINT)
    terminal.by_hand.ran.append(terminal.running.result(seconds=120))


# -- then ---------------------------------------------------------------------


@then("every production host serves v1 while the backup still goes on")
def served_meanwhile(terminal: Terminal) -> None:
    """The command has not ended, and there is no whole backup yet."""
    hosts_serve(terminal.by_hand, "v1")
    assert not terminal.ended
    folder = Path(terminal.by_hand.stack.environment["ROLLBACK_BACKUPS"])
    assert not list(folder.glob("*/manifest.json"))


@then("what was restored stays so, on record with a backup that was interrupted")
def cut_short(terminal: Terminal) -> None:
    """Nothing of the backup is left behind."""
    hosts_serve(terminal.by_hand, "v1")
    (incident,) = terminal.incidents()
    assert incident["outcome"] == "restored"
    backup = incident["backup"]
    assert (backup["verified"], backup["path"]) == (False, None)
    assert backup["problem"] == "it was interrupted"
    folder = Path(terminal.by_hand.stack.environment["ROLLBACK_BACKUPS"])
    assert not list(folder.iterdir())


@then("the command refuses it and names the incident of the other terminal")
def refused_by_name(terminal: Terminal) -> None:
    """Exit 4, while the other has not ended."""
    assert not terminal.ended
    ran = terminal.by_hand.last
    assert ran.code == REFUSED, f"exit {ran.code}: {ran.stdout}\n{ran.stderr}"
    found = BY_ANOTHER.match(ran.stderr.splitlines()[-2])
    assert found, ran.stderr
    terminal.named = found[1]


@then("that incident is the only one, and has the only receipt")
def once(terminal: Terminal) -> None:
    """Whoever came second has left nothing behind."""
    (incident,) = terminal.incidents()
    assert incident["incident"] == terminal.named
    assert incident["receipt"]["versions"] == ["006", "005", "004"]
    assert terminal.by_hand.last.document["receipt"] == incident["receipt"]
