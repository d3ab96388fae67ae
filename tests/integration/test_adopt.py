"""`rollback init` and `rollback doctor` as a team meets them on the first day."""

import json
import re
import shutil
import socket
from pathlib import Path

import httpx
import psycopg
import pytest

from rollback.settings import Settings
from stack.backends import Stack
from steps.command import Command, Ran

WORKFLOW = ".github/workflows/rollback-gate.yml"
NAMES = (
    "settings",
    "ledger",
    "ledger's own database",
    "spool",
    "platform and hosts",
    "own address",
    "sources",
    "sentry",
    "slack",
    "last stable",
    "the last ten",
    "retention",
    "clock",
    "fingerprint key",
    "database session",
    "pg_dump",
    "database rights",
    "migrations",
    "schema on record",
    "backups",
)
SCRIPTS, SCHEMA = "record the rollback scripts", "record the schema"


def changed(command: Command, **settings: str) -> Command:
    """The command with other settings; an empty one is not set."""
    return Command({**command.settings, **settings}, command.folder)


def findings(ran: Ran) -> dict[str, str]:
    """What the doctor found, by name."""
    return {each["name"]: each["finding"] for each in ran.document}


def acts(ran: Ran) -> dict[str, str]:
    """What became of each act, by name."""
    return {each["name"]: each["outcome"] for each in ran.document}


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


# -- init ---------------------------------------------------------------------


def test_a_plan_writes_nothing_and_records_nothing(command: Command) -> None:
    """Every act is named."""
    ran = command.run("init", "--plan", "--json")

    assert ran.code == 0, ran.stderr
    assert acts(ran) == {
        "rollback.toml": "planned",
        WORKFLOW: "planned",
        "record what is live": "planned",
        "the first stable": "planned",
        "keep the last 10": "already",
        SCRIPTS: "planned",
        SCHEMA: "planned",
    }
    assert list(command.folder.iterdir()) == []
    assert command.run("history", "--json").document == []


def test_a_file_that_is_there_is_left_unless_forced(command: Command) -> None:
    """Somebody's own settings are worth more than ours."""
    own = command.folder / "rollback.toml"
    own.write_text('environment = "production"\nprobe_rate = 3.0\n')

    assert acts(command.run("init", "--json"))["rollback.toml"] == "left"
    assert "probe_rate = 3.0" in own.read_text()
    assert acts(command.run("init", "--force", "--json"))["rollback.toml"] == "done"
    assert "probe_rate = 3.0" not in own.read_text()


def test_without_credentials_the_files_come_first(tmp_path: Path) -> None:
    """A new team sees what to set; exit 1, as nothing was adopted."""
    ran = Command({}, tmp_path).run("init")

    assert ran.code == 1
    assert (tmp_path / "rollback.toml").is_file()
    assert "VERCEL_TOKEN is not set" in ran.stdout


def test_the_settings_that_were_written_can_be_read(
    command: Command, fresh: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each line that is commented out is a setting too, with its default."""
    command.run("init")
    written = command.folder / "rollback.toml"
    for name in ("VERCEL_PROJECT_ID", "DATABASE_URL", "ROLLBACK_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)

    loaded = Settings.load(written)
    assert loaded.vercel_project_id == fresh.environment["VERCEL_PROJECT_ID"]

    lines = [
        re.sub(r"^#(?=[a-z_]+ = )", "", x) for x in written.read_text().splitlines()
    ]
    everything = command.folder / "everything.toml"
    everything.write_text("\n".join(lines))
    assert (
        Settings.load(everything).window_seconds
        == Settings.load(written).window_seconds
    )


def test_the_workflow_hands_nothing_from_outside_to_a_shell(command: Command) -> None:
    """Inputs go by the environment, are checked, and no script is put together."""
    command.run("init")
    lines = (command.folder / WORKFLOW).read_text().splitlines()

    scripts = [line for line in lines if _in_script(lines, line)]
    assert any("rollback record" in line for line in scripts)
    assert any("rollback gate" in line for line in scripts)
    assert not [line for line in scripts if "${{" in line]
    assert all(
        "@" in x and re.search(r"@[0-9a-f]{40} ", x) for x in lines if "uses:" in x
    )


def test_the_workflow_has_the_servers_pg_dump_before_it_needs_it(
    command: Command,
) -> None:
    """Of the major version at its top; that it is missing keeps no gate away."""
    command.run("init")
    text = (command.folder / WORKFLOW).read_text()

    top, jobs = text.split("\njobs:\n")
    assert re.search(r'^  POSTGRES_MAJOR: "\d\d"$', top, re.MULTILINE)
    steps = jobs.split("\n      - ")
    (install,) = [step for step in steps if "postgresql-client-$POSTGRES_MAJOR" in step]
    assert "continue-on-error: true" in install
    assert "if: env.DATABASE_DIRECT_URL != ''" in install
    first = next(step for step in steps if "rollback record" in step)
    assert steps.index(install) < steps.index(first)


def _in_script(lines: list[str], line: str) -> bool:
    """Whether it is what a shell runs: after `run:`, or indented below it."""
    stripped = line.strip().removeprefix("- ")
    if stripped.startswith("run:"):
        return True
    for before in reversed(lines[: lines.index(line)]):
        if len(before) - len(before.lstrip()) < len(line) - len(line.lstrip()):
            return before.strip().removeprefix("- ") == "run: |"
    return False


def test_retention_is_not_changed_unasked(command: Command, fresh: Stack) -> None:
    """Without a terminal and without --yes it is told, and stays."""
    url = f"{fresh.addresses['platform']}/_control/retention"
    short = {"expirationDaysProduction": 30, "deploymentsToKeep": 5}
    httpx.post(url, json=short, trust_env=False).raise_for_status()

    ran = command.run("init", "--json")

    assert acts(ran)["keep the last 10"] == "left"
    assert findings(command.run("doctor", "--json"))["retention"] == "warning"


def test_the_schema_is_adopted_once(
    command: Command, fresh: Stack, tmp_path: Path
) -> None:
    """Hashes and fingerprint; a script that changed is named until it is forced."""
    scripts = tmp_path / "migrations"
    shutil.copytree(fresh.environment["ROLLBACK_MIGRATIONS"], scripts)
    team = changed(command, ROLLBACK_MIGRATIONS=str(scripts))

    first, again = (acts(team.run("init", "--yes", "--json")) for _ in range(2))
    assert (first[SCRIPTS], first[SCHEMA]) == ("done", "done")
    assert (again[SCRIPTS], again[SCHEMA]) == ("already", "already")

    with (scripts / "rollback_002.sql").open("a") as script:
        script.write("-- later\n")
    changing = team.run("init", "--yes")
    looked = findings(team.run("doctor", "--json"))
    forced = acts(team.run("init", "--yes", "--force", "--json"))

    assert "left     record the rollback scripts: changed since" in changing.stdout
    assert "002" in changing.stdout
    assert (looked["migrations"], looked["schema on record"]) == ("ok", "warning")
    assert forced[SCRIPTS] == "done"
    assert findings(team.run("doctor", "--json"))["schema on record"] == "ok"


def test_a_deployment_is_recorded_with_its_schema(
    command: Command, fresh: Stack
) -> None:
    """And whether the release before runs on it; a database that is down is no bar."""
    record = ("record", fresh.deployments["v2"], "--git-sha", fresh.git_shas["v2"])
    version = str(_schema(fresh))
    made = command.run(
        *record, "--migration", version, "--backward-incompatible", "--json"
    )
    down = changed(command, DATABASE_DIRECT_URL=f"postgresql://a:hush@{nobody()}/x")
    again = down.run(*record, "--migration", version)

    assert made.code == 0, made.stderr
    assert made.document["backward_compatible"] is False
    assert findings(command.run("doctor", "--json"))["schema on record"] == "ok"
    assert again.code == 0, again.stderr
    assert "the schema is not recorded" in again.stdout
    assert "hush" not in again.stdout + again.stderr
    (kept,) = command.run("history", "--json").document
    assert kept["backward_compatible"] is False


def _schema(stack: Stack) -> object:
    """The version that the stack's database is at."""
    with psycopg.connect(stack.addresses["postgres"]) as connection:
        found = connection.execute("SELECT max(version) FROM schema_migrations")
        row = found.fetchone()
    return row[0] if row else None


# -- doctor -------------------------------------------------------------------


def test_missing_settings_are_bad_input(tmp_path: Path) -> None:
    """Exit 2, every line with its mend, in one order."""
    ran = Command({}, tmp_path).run("doctor", "--json")

    assert ran.code == 2
    assert tuple(findings(ran)) == NAMES
    assert all(each["mend"] for each in ran.document if each["finding"] != "ok")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "name", "finding"),
    [
        ({"ROLLBACK_LEDGER_URL": "postgresql://a:hush@{nobody}/x"}, "ledger", "wrong"),
        ({"VERCEL_TOKEN": "tok_hush"}, "platform and hosts", "wrong"),
        ({"VERCEL_PROJECT_ID": "prj_other"}, "platform and hosts", "wrong"),
        ({"VERCEL_TEAM_ID": "team_other"}, "retention", "wrong"),
        ({"VERCEL_AUTOMATION_BYPASS_SECRET": "hush"}, "own address", "wrong"),
        ({"REDIS_URL": "redis://:hush@{nobody}/0"}, "sources", "wrong"),
        ({"REDIS_URL": ""}, "sources", "warning"),
        ({"PROMETHEUS_URL": "http://me:hush@{nobody}"}, "sources", "wrong"),
        ({"SENTRY_PROJECT": "other"}, "sentry", "wrong"),
        ({"SENTRY_AUTH_TOKEN": ""}, "sentry", "warning"),
        ({"SLACK_WEBHOOK_URL": ""}, "slack", "warning"),
        ({"ROLLBACK_FINGERPRINT_KEY": "hush"}, "fingerprint key", "warning"),
        (
            {"DATABASE_DIRECT_URL": "postgresql://a:hush@{nobody}/x"},
            "database session",
            "wrong",
        ),
        ({"ROLLBACK_POSTGRES_PROGRAMS": "/nowhere"}, "pg_dump", "wrong"),
        ({"ROLLBACK_MIGRATIONS": "nowhere"}, "migrations", "warning"),
    ],
)
def test_each_thing_that_is_amiss_is_named(
    command: Command, settings: dict[str, str], name: str, finding: str
) -> None:
    """By its check and no secret; the exit code goes by what is wrong."""
    given = {key: text.format(nobody=nobody()) for key, text in settings.items()}

    ran = changed(command, **given).run("doctor", "--json")

    assert findings(ran)[name] == finding, ran.document
    assert ran.code == (1 if finding == "wrong" else 0)
    assert "hush" not in ran.stdout + ran.stderr


@pytest.mark.slow
def test_what_does_not_answer_is_given_up(command: Command) -> None:
    """A platform that takes connections and says nothing; the rest is looked at."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        ran = changed(command, VERCEL_API_URL=f"http://127.0.0.1:{port}").run(
            "doctor", "--json", seconds=120
        )
    found = findings(ran)

    asked = {"platform and hosts", "own address", "retention", "clock"}
    assert {name for name in asked if found[name] == "wrong"} == asked
    assert (found["ledger"], found["slack"]) == ("ok", "ok")


def test_nothing_is_posted_and_nothing_recorded(command: Command, fresh: Stack) -> None:
    """A look is a look."""
    command.run("doctor")

    state = httpx.get(f"{fresh.addresses['slack']}/_control/state").json()
    assert state["messages"] == []
    assert command.run("history", "--json").document == []
    assert json.loads(command.run("incidents", "list", "--json").stdout) == []
