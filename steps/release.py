"""Steps of the drill: a release goes out, breaks, is noticed and undone.

Given and When act and measure; only Then asserts.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_bdd import given, parsers, then, when

from stack.backends import Stack
from stack.faults import Fault

from .command import Command, Ran, Running, end
from .outside import Outside
from .story import Book, Story, iso
from .visitors import Visitors, visiting

RATE = 20.0  # requests a second that the drill must run under, at least
STEADY_SECONDS = 2.0
GATE_ENDS_WITHIN = 120.0  # the gate's window, the rollback and its verification
MIGRATION = {"v1": "002", "v2": "003"}


@dataclass(slots=True)
class Watch:
    """The gate at work, and what came of it."""

    running: Running | None = None
    ran: Ran | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def ruling(self) -> dict[str, Any]:
        """The gate's JSON."""
        assert self.ran, "the gate has not ended"
        document: dict[str, Any] = self.ran.document
        return document


@pytest.fixture
def tell(book: Book, story: Story) -> Any:
    """Tell what happened, as part of the scenario's story."""
    return lambda text: book.tell(story, text)


@pytest.fixture
def command(fresh: Stack, tmp_path: Path) -> Command:
    """The `rollback` command, pointed at the practice stack."""
    return Command(fresh.environment, tmp_path)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """The gate, ended with the scenario whatever happens."""
    watch = Watch()
    yield watch
    if watch.running:
        end(watch.running)


@pytest.fixture
def outside(fresh: Stack, story: Story) -> Iterator[Outside]:
    """The site seen from outside."""
    with Outside(fresh.addresses["edge"]) as outside:
        yield outside
    story.looks = [
        {"at": s.at, "healthy": s.healthy, "ms": s.ms, "deployment": s.deployment}
        for s in outside.samples
    ]


@pytest.fixture
def visitors(
    fresh: Stack, story: Story, tmp_path: Path, pytestconfig: pytest.Config
) -> Iterator[Visitors]:
    """Visitors for the length of the scenario."""
    seed = pytestconfig.getoption("--seed")
    with visiting(fresh.addresses["edge"], folder=tmp_path, seed=seed) as visitors:
        yield visitors
        # Before they are sent home: what that cuts off is nobody's failure.
        story.requests = visitors.requests()


# -- given --------------------------------------------------------------------


@given("visitors come to the site")
def visitors_come(visitors: Visitors) -> None:
    """They warm up while the releases are put in place."""
    assert visitors.process.poll() is None, "the load ended at once"


@given("v1 is the stable release")
def v1_is_stable(command: Command, fresh: Stack) -> None:
    """Recorded and probed by the command, as a pipeline would have done."""
    _record(command, fresh, "v1")
    probed = command.run("health", fresh.deployments["v1"], "--json")
    assert probed.code == 0, probed.stderr


@given("v2 has just gone live")
def v2_is_live(command: Command, fresh: Stack) -> None:
    """Recorded; the platform serves it."""
    _record(command, fresh, "v2")


@given("the site is in its steady state")
def steady_state(visitors: Visitors, outside: Outside, tell: Any) -> None:
    """The steady state that a fault will be held against."""
    rate = visitors.wait_for_steady_state(rate=RATE, seconds=STEADY_SECONDS)
    seen = outside.wait_until(
        lambda samples: len(samples) >= 4 and all(s.healthy for s in samples[-4:]),
        seconds=10,
    )
    assert seen, "the site is not healthy from outside before anything is broken"
    tell(f"steady state: {rate:.0f} requests/s, none failed, healthy from outside")


@given("the gate is watching v2")
def gate_watches(command: Command, fresh: Stack, watch: Watch, tell: Any) -> None:
    """Started as a pipeline starts it; it runs until it has decided and acted."""
    v2 = fresh.deployments["v2"]
    watch.running = command.start("gate", v2, "--window", "60s", "--json")
    assert watch.running.wait_for_a_word(seconds=15), "the gate says nothing"
    tell("the gate watches v2")


def _record(command: Command, stack: Stack, release: str) -> None:
    recorded = command.run(
        "record",
        stack.deployments[release],
        "--git-sha",
        stack.git_shas[release],
        "--migration",
        MIGRATION[release],
    )
    assert recorded.code == 0, recorded.stderr


# -- when ---------------------------------------------------------------------


@when(parsers.parse("the gate watches v2 for {seconds:d} seconds"))
def gate_runs(
    command: Command, fresh: Stack, watch: Watch, seconds: int, tell: Any
) -> None:
    """The gate, from its start to its end."""
    # A window that is a 25th of the usual one needs more probes a second to hold
    # the hundred that a healthy verdict asks for.
    often = replace(command, settings={**command.settings, "ROLLBACK_PROBE_RATE": "12"})
    v2 = fresh.deployments["v2"]
    watch.ran = often.run("gate", v2, "--window", f"{seconds}s", "--json")
    tell(f"the gate ended with exit code {watch.ran.code}")


@when(parsers.parse("the database answers v2 {ms:d} ms late"))
def slow_database(fresh: Stack, watch: Watch, ms: int) -> None:
    """Every answer of PostgreSQL to v2 is late; nothing fails."""
    watch.faults.append(fresh.faults.inject("latency", "v2", "postgres", latency=ms))


@when("v2 loses its database")
def lost_database(fresh: Stack, watch: Watch) -> None:
    """Connections of v2 to PostgreSQL break and are refused."""
    watch.faults.append(fresh.faults.inject("refused", "v2", "postgres"))


@when("Stripe no longer answers v2")
def silent_stripe(fresh: Stack, watch: Watch) -> None:
    """What v2 sends to Stripe is swallowed; nothing comes back."""
    watch.faults.append(fresh.faults.inject("black_hole", "v2", "stripe"))


# -- then ---------------------------------------------------------------------


@then("the fault is seen to bite")
def fault_bites(watch: Watch, story: Story, tell: Any) -> None:
    """Measured on the fault's own route; a fault that does not bite fails here."""
    for fault in watch.faults:
        fault.prove()
        assert fault.proved_at, f"{fault.kind} on {fault.route} was not proved"
        tell(f"broken: {fault.kind} on {fault.route}; proof: {fault.proof}")
    story.fault = _fault(watch.faults[0])


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "route": fault.route,
        "proof": fault.proof,
        "injected_at": iso(fault.injected_at),
        "proved_at": iso(fault.proved_at),
        "healed_at": iso(fault.healed_at),
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


@then("the gate says healthy")
def gate_says_healthy(watch: Watch, story: Story, tell: Any) -> None:
    """Exit 0, and the row that said it."""
    assert watch.ran
    story.verdict = watch.ruling
    assert watch.ran.code == 0, f"exit {watch.ran.code}: {story.verdict['reason']}"
    assert (story.verdict["verdict"], story.verdict["row"]) == ("healthy", "healthy")
    tell(f"verdict: healthy; {story.verdict['reason']}")


@then(
    parsers.parse('the gate rolls v2 back by the row "{row}" for the response time'),
    target_fixture="rolled_back",
)
def rolled_back_for_response_time(
    watch: Watch, story: Story, row: str, tell: Any
) -> None:
    """The expected row, for the expected signal."""
    _rolled_back(watch, story, row, tell)
    assert story.verdict
    assert story.verdict["signal"] == "response_time", story.verdict


@then(
    parsers.parse('the gate rolls v2 back by the row "{row}" because of {code:w}'),
    target_fixture="rolled_back",
)
def rolled_back_for_code(
    watch: Watch, story: Story, row: str, code: str, tell: Any
) -> None:
    """The expected row, for the expected critical error."""
    _rolled_back(watch, story, row, tell)
    assert story.verdict
    assert code in story.verdict["critical_errors"], story.verdict


def _rolled_back(watch: Watch, story: Story, row: str, tell: Any) -> None:
    assert watch.running, "the gate was not started"
    watch.ran = watch.running.result(seconds=GATE_ENDS_WITHIN)
    story.verdict = watch.ruling
    story.incident = watch.ruling["rollback"]
    verdict = story.verdict
    assert (verdict["verdict"], verdict["row"]) == ("roll_back", row), verdict
    tell(f"verdict: roll back, row {row!r}: {verdict['reason']}")
    assert story.incident
    assert watch.ran.code == 1, f"exit {watch.ran.code}: {story.incident['detail']}"
    assert story.incident["outcome"] == "restored", story.incident


@then("v1 serves the site again, healthy from outside")
def v1_serves(
    fresh: Stack, outside: Outside, watch: Watch, story: Story, tell: Any
) -> None:
    """Held against what was seen from outside, not against what the engine says."""
    v1 = fresh.deployments["v1"]
    injected = _injected_at(watch)
    steady = outside.wait_until(
        lambda samples: all(s.healthy and s.deployment == v1 for s in samples[-4:]),
        seconds=10,
    )
    assert steady, f"not healthy by {v1}: {outside.samples[-4:]}"
    story.restored_at = outside.restored_at(v1, after=injected)
    assert story.restored_at, f"not restored: {outside.samples[-4:]}"
    decided = datetime.fromisoformat(watch.ruling["decided_at"]).timestamp()
    tell(
        f"restored: v1 answers healthily from outside, "
        f"{decided - injected:.1f} s from fault to verdict, "
        f"{story.restored_at - decided:.1f} s from verdict to restored"
    )
    assert story.restored_at > injected


def _injected_at(watch: Watch) -> float:
    at = watch.faults[0].injected_at
    assert at, "nothing was injected"
    return at.timestamp()


@then("every phase kept its time budget")
def budgets_kept(story: Story, tell: Any) -> None:
    """All five phases were measured, and those with a budget kept it."""
    assert story.incident
    phases: dict[str, Any] = story.incident["phases"]
    expected = {"identify", "initiate", "carry_out", "verify", "communicate"}
    assert set(phases) == expected, f"not measured: {expected - set(phases)}"
    said = [f"{name.replace('_', ' ')} {_budget(p)}" for name, p in phases.items()]
    tell(f"phases: {', '.join(said)}")
    missed = [name for name, phase in phases.items() if not phase["met"]]
    assert not missed, f"over budget: {missed}"


def _budget(phase: dict[str, Any]) -> str:
    budget = phase["budget_seconds"]
    return f"{phase['seconds']:.1f} s" + (f" of {budget:.0f}" if budget else "")


@then("the incident is on record and #incidents was told")
def incident_recorded(command: Command, fresh: Stack, story: Story, tell: Any) -> None:
    """The command finds it again, and Slack holds both messages."""
    assert story.incident
    name = story.incident["incident"]
    shown = command.run("incidents", "show", name, "--json").document
    assert shown["outcome"] == "restored"
    assert [s["status"] for s in shown["steps"]] == ["done"]
    said = _slack(fresh)
    assert any("Rolling back" in text for text in said), said
    assert any("is restored" in text and name in text for text in said), said
    tell(f"incident {name} on record, #incidents told twice")


def _slack(stack: Stack) -> list[str]:
    state = httpx.get(f"{stack.addresses['slack']}/_control/state", timeout=5).json()
    return [str(message) for message in state["messages"]]


@then("after healing v2 answers as before")
def healed(watch: Watch, story: Story, tell: Any) -> None:
    """The fault is taken out and seen to be gone."""
    for fault in watch.faults:
        fault.heal()
        tell(f"healed: {fault.prove_healed().text}")
    story.fault = _fault(watch.faults[0])


@then("v2 is still live")
def v2_still_live(outside: Outside, fresh: Stack) -> None:
    """Nothing was rolled back."""
    begun = time.time()
    outside.wait_until(lambda s: bool(s) and s[-1].at > begun, seconds=5)
    assert outside.samples[-1].deployment == fresh.deployments["v2"]


@then("v2 is recorded as passing")
def v2_passing(command: Command, fresh: Stack) -> None:
    """It may be gone back to from now on."""
    history = command.run("history", "--json").document
    status = {d["deployment"]: d["health_check_status"] for d in history}
    assert status[fresh.deployments["v2"]] == "passing", status
