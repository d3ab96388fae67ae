"""Steps of version tracking: the command beside the ledger and the platform."""

import json
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pytest_bdd import given, parsers, then, when

from stack.backends import Stack

from .command import Command, Ran

SPOOL = Path(".rollback/spool")
FILES = ("rollback.toml", ".github/workflows/rollback-gate.yml")
SECRETS = (
    "ROLLBACK_LEDGER_URL",
    "ROLLBACK_FINGERPRINT_KEY",
    "VERCEL_TOKEN",
    "VERCEL_AUTOMATION_BYPASS_SECRET",
    "SENTRY_AUTH_TOKEN",
    "SLACK_WEBHOOK_URL",
)


@dataclass(slots=True)
class Track:
    """What was asked, of which command, and what it said."""

    command: Command
    ran: Ran | None = None
    said: list[str] = field(default_factory=list)

    def run(self, *arguments: str, code: int | None = 0) -> Ran:
        """Run the command; its exit code is known beforehand, except for None."""
        self.ran = self.command.run(*arguments)
        self.said += [self.ran.stdout, self.ran.stderr]
        if code is not None and self.ran.code != code:
            raise AssertionError(f"exit {self.ran.code}: {self.ran.stderr}")
        return self.ran

    @property
    def document(self) -> Any:
        """The JSON of the last one."""
        assert self.ran, "nothing was asked"
        return self.ran.document


@pytest.fixture
def track(command: Command) -> Track:
    """The command, and a memory of what it said."""
    return Track(command)


def control(stack: Stack, what: str, **body: Any) -> None:
    """Change the platform from outside."""
    url = f"{stack.addresses['platform']}/_control/{what}"
    httpx.post(url, json=body, trust_env=False).raise_for_status()


# -- given --------------------------------------------------------------------


@given("nothing was ever recorded")
def nothing_recorded(fresh: Stack) -> None:
    """A project on the day on which it meets this one."""
    with psycopg.connect(fresh.addresses["postgres"]) as connection:
        found = connection.execute("SELECT to_regclass('rollback.deployment_history')")
        if found.fetchone() != (None,):
            connection.execute("TRUNCATE rollback.deployment_history CASCADE")


@given("v2 fails its health check")
def v2_is_ill(fresh: Stack) -> Any:
    """It cannot reach its database; healed with the scenario."""
    fault = fresh.faults.inject("refused", "v2", "postgres")
    fault.prove()
    yield
    fault.heal()


@given(parsers.parse("{release:w} went out with the environment"))
def went_out(track: Track, fresh: Stack, release: str, datatable: Any) -> None:
    """Recorded from a file, which is gone afterwards."""
    file = track.command.folder / f"{release}.env"
    lines = [f"{name}={value}" for name, value in datatable[1:]]
    file.write_text("\n".join(lines))
    track.run(
        "record",
        fresh.deployments[release],
        *("--git-sha", fresh.git_shas[release]),
        *("--migration", "003", "--env-file", str(file)),
    )
    file.unlink()


@given("the platform keeps production for 1 day, and nothing longer")
def kept_for_a_day(fresh: Stack) -> None:
    """The shortest that can be set, and no deployment kept in any case."""
    control(fresh, "retention", expirationDaysProduction=1, deploymentsToKeep=0)


@given("the ledger cannot be reached")
def no_ledger(track: Track) -> None:
    """Nobody listens at its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"postgresql://app:hush@127.0.0.1:{port}/app"
    settings = {**track.command.settings, "ROLLBACK_LEDGER_URL": url}
    track.command = replace(track.command, settings=settings)


# -- when ---------------------------------------------------------------------


@when(parsers.parse('the project is adopted at migration "{migration}"'))
def adopted(track: Track, migration: str) -> None:
    """As on the first day."""
    track.run("init", "--migration", migration, "--json", code=None)


@when("retention is agreed to while the project is adopted")
def agreed(track: Track) -> None:
    """By --yes, as there is no terminal."""
    track.run("init", "--yes", "--json")


@when("somebody asks what changed from v1 to v2")
def what_changed(track: Track, fresh: Stack) -> None:
    """By program; people are told the same words."""
    names = fresh.deployments["v1"], fresh.deployments["v2"]
    track.run("history", "--diff", *names, "--json")


@when("the platform deletes v1")
def v1_is_deleted(fresh: Stack) -> None:
    """As retention does: known, and gone."""
    control(fresh, "deleted", deployments=[fresh.deployments["v1"]])


@when("somebody looks at the history")
def looks_at_history(track: Track) -> None:
    """The last ten."""
    track.run("history", "--json")


@when("what is live is rolled back by hand")
def rolled_back(track: Track) -> None:
    """At 3 a.m., with the database gone."""
    track.run("run", "--reason", "checkout is down", "--yes", "--json")


@when("the ledger is back and somebody asks for the incidents")
def ledger_is_back(track: Track, command: Command) -> None:
    """The next command that reaches it."""
    track.command = command
    track.run("incidents", "list", "--json")


# -- then ---------------------------------------------------------------------


@then(
    parsers.parse(
        'v2 is recorded as {status:w}, with migration "{migration}"',
    )
)
def recorded_as(track: Track, fresh: Stack, status: str, migration: str) -> None:
    """As the ledger has it."""
    (known,) = track.run("history", "--json").document
    assert known["deployment"] == fresh.deployments["v2"]
    assert known["git_sha"] == fresh.git_shas["v2"]
    assert known["health_check_status"] == status
    assert [each["status"] for each in known["health_history"]] == [status]
    assert known["db_migration_version"] == migration
    assert known["available"] == "live"


@then("the settings and the gate's workflow are written, without a secret")
def files_written(track: Track) -> None:
    """Both are committed, so neither may hold one."""
    texts = [(track.command.folder / name).read_text() for name in FILES]
    assert "environment" in texts[0]
    assert "rollback gate" in texts[1]
    for name in SECRETS:
        assert track.command.settings[name] not in "".join(texts), name


@then("the doctor finds nothing wrong")
def doctor_is_content(track: Track) -> None:
    """Exit 0; advice is no fault; and no secret is shown."""
    found = {each["name"]: each for each in track.run("doctor", "--json").document}
    wrong = [each for each in found.values() if each["finding"] == "wrong"]
    assert wrong == []
    # The practice stack has one database, which the doctor advises against, and which
    # nobody has backed up yet.
    warned = [name for name, each in found.items() if each["finding"] == "warning"]
    assert warned == ["ledger's own database", "backups"], found
    shown = "".join(track.said)
    for name in SECRETS:
        assert track.command.settings[name] not in shown, name


@then("nothing was changed by it")
def nothing_changed(track: Track) -> None:
    """Every act says so."""
    assert {act["outcome"] for act in track.document} == {"already"}


@then("it is said that v2 does not pass")
def said_ill(track: Track) -> None:
    """Exit 1, and which component it is."""
    assert track.ran
    assert track.ran.code == 1
    (failed,) = [act for act in track.document if act["outcome"] == "failed"]
    assert "database" in failed["said"]


@then(parsers.parse('"{added}" was added, "{removed}" removed and "{changed}" changed'))
def told_by_name(track: Track, added: str, removed: str, changed: str) -> None:
    """And nothing else."""
    assert track.document["environment_variables"] == {
        "comparable": True,
        "added": [added],
        "removed": [removed],
        "changed": [changed],
        "unknown": [],
    }


@then(parsers.parse('"{word}" stands nowhere in the ledger'))
def nowhere(track: Track, fresh: Stack, word: str) -> None:
    """Every row of it, and all that was said."""
    with psycopg.connect(fresh.addresses["postgres"]) as connection:
        rows = connection.execute(
            "SELECT row_to_json(d)::text FROM rollback.deployment_history d"
        ).fetchall()
    assert len(rows) == 2
    assert word not in json.dumps(rows) + "".join(track.said)


@then(parsers.parse('whether "{name}" changed is unknown'))
def is_unknown(track: Track, name: str) -> None:
    """Not called unchanged."""
    assert name in track.document["environment_variables"]["unknown"]


@then(parsers.parse('"{name}" did not change'))
def did_not_change(track: Track, name: str) -> None:
    """Though the platform shows other ciphertext each time; and it is on record."""
    found = track.document["environment_variables"]
    words = ("added", "removed", "changed", "unknown")
    assert all(name not in found[word] for word in words), found
    known = track.run("history", "--json").document
    assert all(name in each["environment_variables"] for each in known)


@then("the history says that v1 is gone")
def v1_is_gone(track: Track, fresh: Stack) -> None:
    """Marked, and told."""
    places = {
        each["deployment"]: each["available"]
        for each in track.run("history", "--json").document
    }
    v1, v2 = fresh.deployments["v1"], fresh.deployments["v2"]
    assert places == {v1: "gone", v2: "live"}
    assert f"{v1} is gone" in track.said[-1]


@then("there is nothing to go back to")
def nothing_to_go_back_to(track: Track, fresh: Stack) -> None:
    """Refused by name, before anybody needs it."""
    ran = track.run("stable", code=4)
    assert fresh.deployments["v1"] in ran.stderr


@then("it warns that v1 is about to go")
def v1_is_leaving(track: Track, fresh: Stack) -> None:
    """With the day from which on it may be deleted."""
    v1 = fresh.deployments["v1"]
    (known,) = [each for each in track.document if each["deployment"] == v1]
    assert known["available"] == "leaving"
    assert known["leaves_at"]
    assert f"{v1} is about to go" in track.said[-1]


@then("the doctor warns of retention")
def doctor_warns(track: Track) -> None:
    """Of the setting, and of the release."""
    found = {each["name"]: each for each in track.run("doctor", "--json").document}
    assert found["retention"]["finding"] == "warning"
    assert found["the last ten"]["finding"] == "warning"


@then("the platform keeps production for 90 days")
def kept_longer(track: Track, fresh: Stack) -> None:
    """As the platform itself says."""
    assert {"done"} <= {act["outcome"] for act in track.document}
    token = {"Authorization": f"Bearer {fresh.environment['VERCEL_TOKEN']}"}
    answer = httpx.get(
        f"{fresh.addresses['platform']}/v9/projects/prj_wedsync",
        params={"teamId": fresh.environment["VERCEL_TEAM_ID"]},
        headers=token,
        trust_env=False,
    )
    kept = answer.json()["deploymentExpiration"]
    assert kept["expirationDaysProduction"] == 90


@then("v1 is live, and the rollback says that the platform named it")
def v1_is_live(track: Track, fresh: Stack) -> None:
    """Measured at the edge; and restored was measured too."""
    assert track.document["outcome"] == "restored"
    answer = httpx.get(fresh.addresses["edge"], trust_env=False)
    assert answer.headers["x-deployment-id"] == fresh.deployments["v1"]
    assert "the platform's newest one that served before" in track.said[-1].lower()
    assert "hush" not in "".join(track.said)


@then("what happened waits on the disk")
def waits(track: Track) -> None:
    """The incident with its journal, and what is known of v2's health."""
    kept = "".join(
        path.read_text() for path in (track.command.folder / SPOOL).iterdir()
    )
    kinds = [json.loads(line)["kind"] for line in kept.splitlines() if line]
    assert set(kinds) == {"incident", "journal", "health"}
    assert "hush" not in kept


@then("the rollback is on record, whole, and nothing waits")
def on_record(track: Track, fresh: Stack) -> None:
    """What the command said then, and what the ledger says now."""
    (known,) = track.document
    assert (known["outcome"], known["from"]) == ("restored", fresh.deployments["v2"])
    assert [step["status"] for step in known["steps"]] == ["done"]
    assert known["journal"]
    assert list((track.command.folder / SPOOL).iterdir()) == []
    states = {
        each["deployment"]: each["health_check_status"]
        for each in track.run("history", "--json").document
    }
    assert states[fresh.deployments["v2"]] == "failing"
