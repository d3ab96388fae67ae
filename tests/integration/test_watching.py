"""The gate and the watch at work on a real stack: what is seen, and being killed."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from stack.backends import Stack
from steps.command import Command, end

SECONDS = 60.0


def serving(stack: Stack) -> str:
    """The deployment that answers visitors."""
    return httpx.get(stack.addresses["edge"]).headers["x-deployment-id"]


@contextmanager
def no_database(stack: Stack, release: str = "v2") -> Iterator[None]:
    """A release without its database, seen to be so."""
    fault = stack.faults.inject("refused", release, "postgres")
    fault.prove()
    try:
        yield
    finally:
        fault.heal()


def test_a_gate_that_is_killed_leaves_nothing_half_done(
    recorded: Command, fresh: Stack
) -> None:
    """SIGKILL while it watches: nothing moved, nothing claimed, the next one acts."""
    v2 = fresh.deployments["v2"]
    running = recorded.start("gate", v2, "--window", "60s", "--json")
    try:
        assert running.wait_for_a_word(seconds=20)
        running.process.kill()
        assert running.result(seconds=15).code == -9
    finally:
        end(running)
    assert serving(fresh) == v2
    assert recorded.run("incidents", "list", "--json").document == []

    with no_database(fresh):
        ran = recorded.run("gate", v2, "--window", "60s", "--json", seconds=SECONDS)

    assert ran.code == 1, ran.stderr
    assert ran.document["rollback"]["outcome"] == "restored"


def test_the_watch_undoes_what_is_live(recorded: Command, fresh: Stack) -> None:
    """Without a name it is what serves production that is watched, and undone."""
    with no_database(fresh):
        ran = recorded.run("watch", "--for", "60s", "--json", seconds=SECONDS)

    assert ran.code == 1, ran.stderr
    (ruling,) = ran.document["deployments"]
    assert ruling["deployment"] == fresh.deployments["v2"]
    assert ruling["rollback"]["outcome"] == "restored"
    assert serving(fresh) == fresh.deployments["v1"]


def test_several_deployments_have_a_verdict_each(
    recorded: Command, fresh: Stack
) -> None:
    """One that is bad is told; the other goes on to the end. The worse one counts."""
    v1, v2 = fresh.deployments["v1"], fresh.deployments["v2"]
    with no_database(fresh):
        ran = recorded.run(
            *("watch", v2, v1, "--for", "15s", "--on-bad", "report", "--json"),
            seconds=SECONDS,
        )

    assert ran.code == 1, ran.stderr
    verdicts = [
        (ruling["deployment"], ruling["verdict"])
        for ruling in ran.document["deployments"]
    ]
    assert verdicts[0] == (v2, "roll_back")
    assert verdicts[1][0] == v1
    assert verdicts[1][1] != "roll_back"
    assert serving(fresh) == v2


def test_one_look_measures_both_releases_and_proves_no_health_without_traffic(
    recorded: Command, fresh: Stack
) -> None:
    """Inconclusive, exit 3; the stable release is probed beside, at its own address."""
    ran = recorded.run("check", fresh.deployments["v2"], "--json", seconds=SECONDS)

    assert ran.code == 3, ran.stderr
    assert ran.document["verdict"] == "inconclusive"
    baseline = ran.document["baseline"]
    assert baseline["deployment"] == fresh.deployments["v1"]
    assert baseline["signals"]["availability"]["requests"] >= 50
    assert baseline["signals"]["availability"]["bad"] == 0
    assert baseline["shared"] == []


def test_on_a_terminal_the_gate_shows_the_evidence_growing(
    recorded: Command, fresh: Stack
) -> None:
    """Counts, shares, the way to the proof, the time left; then the verdict stays."""
    v2 = fresh.deployments["v2"]
    with no_database(fresh):
        shown = _on_a_terminal(
            recorded, "gate", v2, "--window", "60s", "--on-bad", "report"
        )

    assert "left" in shown
    assert "of 3,000" in shown
    assert f"{fresh.deployments['v1']} beside it" in " ".join(shown.split())
    assert shown.count("error rate") >= 2
    assert "ROLL BACK (critical_error)" in shown
    assert "Traceback" not in shown


def _on_a_terminal(command: Command, *arguments: str) -> str:
    """What a person sees, with the marks that move the cursor taken out."""
    parent, child = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "160"}
    try:
        with subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "rollback", *arguments],
            env=environment | dict(command.settings),
            cwd=command.folder,
            stdin=child,
            stdout=child,
            stderr=child,
        ) as process:
            seen = b""
            deadline = time.monotonic() + SECONDS
            while process.poll() is None or _readable(parent):
                assert time.monotonic() < deadline, seen[-2000:]
                if _readable(parent):
                    seen += os.read(parent, 65536)
    finally:
        os.close(parent)
        os.close(child)
    return seen.decode()


def _readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0.1)[0])
