"""The command against a real stack: what it prints, and how it ends."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from stack.backends import Stack
from steps.command import Command, Ran, end

ROOT = Path(__file__).parents[2]
RED = "second,requests,failed,slow,probes,unavailable\n" + "".join(
    f"{second},20,20,0,5,0\n" for second in range(100, 112)
)
GREEN = "".join(
    json.dumps({"second": second, "requests": 20, "probes": 5}) + "\n"
    for second in range(300)
)


def without(command: Command, *names: str, **changed: str) -> Command:
    """The command with other settings."""
    kept = {k: v for k, v in command.settings.items() if k not in names}
    return Command(kept | changed, command.folder)


def complaint(ran: Ran, code: int) -> str:
    """Two sentences, no traceback, the expected exit code."""
    assert ran.code == code, ran.stderr
    assert "Traceback" not in ran.stderr
    said = [line for line in ran.stderr.splitlines() if line]
    assert len(said) == 2, said
    return ran.stderr


# -- what it does -------------------------------------------------------------


def test_a_deployment_is_recorded_probed_and_listed(
    command: Command, fresh: Stack
) -> None:
    """What goes in by `record` and `health` comes out by `history` and `stable`."""
    for release, migration in (("v1", "002"), ("v2", "003")):
        made = command.run(
            "record",
            fresh.deployments[release],
            "--git-sha",
            fresh.git_shas[release],
            "--migration",
            migration,
        )
        assert made.code == 0, made.stderr
    assert command.run("health", fresh.deployments["v1"]).code == 0

    history = command.run("history", "--json").document

    assert [(d["deployment"], d["health_check_status"]) for d in history] == [
        (fresh.deployments["v2"], "unknown"),
        (fresh.deployments["v1"], "passing"),
    ]
    stable = command.run("stable", "--json").document
    assert stable["deployment"] == fresh.deployments["v1"]
    assert stable["git_sha"] == fresh.git_shas["v1"]
    assert stable["db_migration_version"] == "002"


def test_a_rollback_by_hand_moves_production(recorded: Command, fresh: Stack) -> None:
    """Seen at the edge, on record, told, and done only once."""
    ran = recorded.run("run", "--reason", "checkout is down", "--yes", "--json")

    assert ran.code == 0, ran.stderr
    undone = ran.document
    assert undone["outcome"] == "restored"
    assert (undone["from"], undone["to"]) == (
        fresh.deployments["v2"],
        fresh.deployments["v1"],
    )
    answer = httpx.get(fresh.addresses["edge"])
    assert answer.headers["x-deployment-id"] == fresh.deployments["v1"]
    listed = recorded.run("incidents", "list", "--json").document
    assert [i["incident"] for i in listed] == [undone["incident"]]

    v2 = fresh.deployments["v2"]
    again = recorded.run("run", "--from", v2, "--reason", "x", "--yes", "--json")
    assert again.code == 0
    assert again.document["outcome"] == "nothing_to_do"


def test_a_plan_changes_nothing(recorded: Command, fresh: Stack) -> None:
    """It shows the step, and production stays."""
    planned = recorded.run("run", "--reason", "x", "--plan", "--json").document

    assert planned["to"] == fresh.deployments["v1"]
    assert len(planned["steps"]) == 1
    answer = httpx.get(fresh.addresses["edge"])
    assert answer.headers["x-deployment-id"] == fresh.deployments["v2"]


def test_a_shared_outage_is_refused(recorded: Command, fresh: Stack) -> None:
    """Both releases lose the database: exit 4, nothing moved, on record."""
    fault = fresh.faults.inject("refused", "*", "postgres")
    fault.prove()
    try:
        ran = recorded.run("run", "--reason", "down", "--yes", "--json")
    finally:
        fault.heal()

    assert ran.code == 4, ran.stderr
    assert ran.document["outcome"] == "refused"
    assert "database" in ran.document["detail"]
    shown = recorded.run("incidents", "show", ran.document["incident"], "--json")
    assert shown.document["outcome"] == "refused"
    answer = httpx.get(fresh.addresses["edge"])
    assert answer.headers["x-deployment-id"] == fresh.deployments["v2"]


def test_a_move_that_hangs_is_escalated_and_told(
    recorded: Command, fresh: Stack
) -> None:
    """Exit 5, on record, and #incidents is called for help."""
    platform = fresh.addresses["platform"]
    httpx.post(f"{platform}/_control/faults", json={"hang": True}).raise_for_status()
    hasty = without(recorded, ROLLBACK_MOVE_TIMEOUT_SECONDS="3")

    ran = hasty.run("run", "--reason", "x", "--yes", "--json")

    assert ran.code == 5, ran.stderr
    assert ran.document["outcome"] == "escalated"
    assert [s["status"] for s in ran.document["steps"]] == ["failed"]
    listed = recorded.run("incidents")
    assert (listed.code, "escalated" in listed.stdout) == (0, True)
    state = httpx.get(f"{fresh.addresses['slack']}/_control/state").json()
    assert "NOT restored" in str(state["messages"][-1])


def test_a_rollback_goes_on_when_nobody_listens_any_more(recorded: Command) -> None:
    """The pipe that it writes to is closed; production is restored all the same."""
    running = recorded.start("run", "--reason", "x", "--yes")
    try:
        assert running.process.stdout
        running.process.stdout.close()
        running.process.wait(60)
    finally:
        end(running)

    (listed,) = recorded.run("incidents", "list", "--json").document
    assert listed["outcome"] == "restored"


@pytest.mark.parametrize(
    ("text", "code", "verdict"), [(RED, 1, "roll_back"), (GREEN, 0, "healthy")]
)
def test_a_recording_is_judged_without_any_setting(
    tmp_path: Path, text: str, code: int, verdict: str
) -> None:
    """A replay needs no platform, no ledger and no token."""
    (tmp_path / "counts").write_text(text)

    ran = Command({}, tmp_path).run("check", "dpl_x", "--from", "counts", "--json")

    assert ran.code == code, ran.stderr
    assert ran.document["verdict"] == verdict
    assert ran.document["decided_second"] == (104 if code else 299)
    said = "decided at second 104, 4 s after it began" if code else "at second 299\n"
    assert said in ran.stderr


def test_a_gate_that_may_only_report_leaves_production(
    recorded: Command, fresh: Stack
) -> None:
    """Exit 1 and an alarm; the release stays live."""
    v2 = fresh.deployments["v2"]
    fault = fresh.faults.inject("refused", "v2", "postgres")
    fault.prove()
    ran = recorded.run("gate", v2, "--window", "60s", "--on-bad", "report", "--json")
    fault.heal()

    assert ran.code == 1, ran.stderr
    assert ran.document["incident"] is None
    answer = httpx.get(fresh.addresses["edge"])
    assert answer.headers["x-deployment-id"] == v2


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_gate_that_is_interrupted_leaves_no_trace(
    recorded: Command, fresh: Stack, ending: signal.Signals
) -> None:
    """Ctrl-C while it watches: exit 130, production untouched, nothing claimed."""
    v2 = fresh.deployments["v2"]
    running = recorded.start("gate", v2, "--window", "60s", "--json")
    try:
        assert running.wait_for_a_word(seconds=15)
        running.process.send_signal(ending)
        assert running.result(seconds=15).code == 130
    finally:
        end(running)

    assert recorded.run("incidents", "list", "--json").document == []


# -- bad input ----------------------------------------------------------------


@pytest.mark.parametrize("verb", ["record", "health", "check", "gate"])
def test_an_unknown_deployment_is_named(command: Command, verb: str) -> None:
    """Exit 2, and the ledger holds nothing of it."""
    extra = ("--git-sha", "a" * 40, "--migration", "1") if verb == "record" else ()

    said = complaint(command.run(verb, "dpl_nowhere", *extra), 2)

    assert "dpl_nowhere is not known" in said
    assert command.run("history", "--json").document == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("smoke", "localhost:3000"),
        ("history", "--limit", "-1"),
        ("gate", "dpl_x", "--window", "inf"),
        ("gate", "dpl_x", "--window", "soon"),
        ("run", "--to", "dpl_typo", "--reason", "x", "--yes"),
    ],
)
def test_nonsense_is_bad_input(command: Command, arguments: tuple[str, ...]) -> None:
    """Exit 2, no traceback, nothing on record."""
    ran = command.run(*arguments)

    assert ran.code == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    assert command.run("incidents", "list", "--json").document == []


def test_an_unreachable_ledger_is_named_without_its_password(
    command: Command,
) -> None:
    """Exit 2, where nothing but the ledger can tell."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"postgresql://app:pass-word-1@127.0.0.1:{port}/app"
    nowhere = without(command, ROLLBACK_LEDGER_URL=url)

    said = complaint(nowhere.run("history"), 2)

    assert f"127.0.0.1:{port}" in said
    assert "pass-word-1" not in said


def test_a_missing_token_is_named(command: Command) -> None:
    """Exit 2, with the variable's name and what it is for."""
    said = complaint(without(command, "VERCEL_TOKEN").run("stable"), 2)

    assert "VERCEL_TOKEN is not set" in said


def test_a_wrong_token_is_said(recorded: Command) -> None:
    """The platform's own words, not the token."""
    wrong = without(recorded, VERCEL_TOKEN="vercel-wrong-1")

    said = complaint(wrong.run("run", "--reason", "x", "--yes"), 2)

    assert "Vercel refused" in said
    assert "vercel-wrong-1" not in said


@pytest.mark.parametrize("arguments", [("stable",), ("gate",)])
def test_without_a_stable_deployment_it_is_refused(
    command: Command, fresh: Stack, arguments: tuple[str, ...]
) -> None:
    """Exit 4, and what to do."""
    v2 = fresh.deployments["v2"]
    sha = fresh.git_shas["v2"]
    command.run("record", v2, "--git-sha", sha, "--migration", "003")
    more = (v2,) if arguments == ("gate",) else ()

    said = complaint(command.run(*arguments, *more), 4)

    assert "recorded as passing" in said


def test_without_a_stable_deployment_a_rollback_is_refused_and_told(
    command: Command, fresh: Stack
) -> None:
    """Exit 4; nothing moved."""
    ran = command.run("run", "--reason", "x", "--yes", "--json")

    assert ran.code == 4
    assert ran.document["outcome"] == "refused"
    answer = httpx.get(fresh.addresses["edge"])
    assert answer.headers["x-deployment-id"] == fresh.deployments["v2"]


def test_production_is_not_changed_without_a_word(recorded: Command) -> None:
    """Without a terminal and without --yes: exit 2."""
    said = complaint(recorded.run("run", "--reason", "x"), 2)

    assert "--yes" in said


def test_on_a_terminal_it_asks_and_no_means_no(recorded: Command, fresh: Stack) -> None:
    """The question names the environment; `n` changes nothing."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "rollback", "run", "--reason", "x"],
        env={"PATH": os.environ["PATH"], **recorded.settings},
        cwd=recorded.folder,
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.write(parent, b"n\n")
        _, errors = process.communicate(timeout=30)
    os.close(parent)
    os.close(child)

    assert process.returncode == 2
    assert b"Roll back production now?" in errors
    answer = httpx.get(fresh.addresses["edge"])
    assert answer.headers["x-deployment-id"] == fresh.deployments["v2"]


def test_who_said_yes_to_one_way_is_not_sent_another(
    recorded: Command, fresh: Stack
) -> None:
    """While the question waits somebody else is quicker; yes would now lead to v2."""
    assert recorded.run("health", fresh.deployments["v2"]).code == 0
    live = f"{fresh.addresses['platform']}/_control/live"
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "rollback", "run", "--reason", "x"],
        env={"PATH": os.environ["PATH"], **recorded.settings},
        cwd=recorded.folder,
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr
        shown = b""
        while b"[y/N]" not in shown:
            more = os.read(process.stderr.fileno(), 4096)
            assert more, shown
            shown += more
        there = {"deployment": fresh.deployments["v1"]}
        httpx.post(live, json=there, trust_env=False).raise_for_status()
        os.write(parent, b"y\n")
        _, errors = process.communicate(timeout=60)
    os.close(parent)
    os.close(child)

    assert process.returncode == 4, errors
    assert b"What would be done has changed since it was shown." in errors
    answer = httpx.get(fresh.addresses["edge"], trust_env=False)
    assert answer.headers["x-deployment-id"] == fresh.deployments["v1"]


def test_what_cannot_be_rolled_back_alone_is_said(recorded: Command) -> None:
    """`--only` names what it knows."""
    said = complaint(
        recorded.run("run", "--only", "kitchen", "--reason", "x", "--yes"), 2
    )

    assert "kitchen" in said
    assert "application" in said


@pytest.fixture
def occupied() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def checkout(*arguments: str) -> Ran:
    """The command, run in the checkout."""
    return Command({}, ROOT).run(*arguments)


def test_an_unknown_stack_is_named(occupied: int) -> None:
    """Exit 2, with the ones that there are; the same for an occupied port."""
    said = checkout("up", "--stack", "cardboard")
    assert said.code == 2
    assert "cardboard" in said.stderr
    assert "embedded" in said.stderr

    taken = checkout("up", "--port", str(occupied))
    assert taken.code == 2
    assert str(occupied) in taken.stderr
    assert "Traceback" not in taken.stderr + said.stderr


def test_the_drill_of_an_unknown_stack_ends_before_it_begins() -> None:
    """Exit 2, one sentence, no report."""
    said = checkout("drill", "--stack", "cardboard")

    assert said.code == 2
    assert "cardboard" in said.stderr + said.stdout
    assert "Traceback" not in said.stderr + said.stdout


def test_outside_a_checkout_the_drill_says_so(tmp_path: Path) -> None:
    """The wheel holds the engine alone."""
    said = complaint(Command({}, tmp_path).run("drill"), 2)

    assert "checkout" in said


# -- the ledger's own record --------------------------------------------------


def test_a_rollback_is_found_in_the_ledgers_tables(
    recorded: Command, fresh: Stack
) -> None:
    """In PostgreSQL, in the schema `rollback`, with its journal in order."""
    name = recorded.run("run", "--reason", "x", "--yes", "--json").document["incident"]

    with psycopg.connect(fresh.environment["ROLLBACK_LEDGER_URL"]) as connection:
        rows = connection.execute(
            "select event from rollback.journal where incident_id = %s order by at",
            (name,),
        ).fetchall()
        (count,) = connection.execute(
            "select count(*) from rollback.deployment_history"
        ).fetchone() or (0,)

    events = [event for (event,) in rows]
    assert events[0] == "backup_begins"
    # The backup goes on beside the steps, and may be done before any of them.
    assert [event for event in events if event.startswith("step_")] == [
        "step_begins",
        "step_accepted",
        "step_done",
    ]
    assert count == 2
