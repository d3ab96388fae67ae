"""Steps of the drill: a release goes out, breaks, is noticed and undone.

Given and When act and measure; only Then, in `outcome`, asserts.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pytest_bdd import given, parsers, when

from stack.backends import Stack
from stack.faults import Fault

from .command import Command, Ran, Running, end
from .outside import Outside
from .story import Book, Inconclusive, Story
from .visitors import Visitors, visiting

RATE = 20.0  # requests a second that the drill must run under, at least
STEADY_SECONDS = 2.0
MIGRATION = {"v1": "002", "v2": "003", "v3": "006"}


@dataclass(slots=True)
class Watch:
    """The gate at work, and what came of it."""

    running: Running | None = None
    ran: Ran | None = None
    faults: list[Fault] = field(default_factory=list)
    steady_at: float | None = None  # unix time at which the steady state began

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


@given(parsers.parse("{release:w} is the stable release"))
def is_stable(command: Command, fresh: Stack, release: str) -> None:
    """Recorded and probed by the command, as a pipeline would have done."""
    _record(command, fresh, release)
    probed = command.run("health", fresh.deployments[release], "--json")
    assert probed.code == 0, probed.stderr


@given("v2 has just gone live")
def v2_is_live(command: Command, fresh: Stack) -> None:
    """Recorded; the platform serves it."""
    _record(command, fresh, "v2")


@given("the site is in its steady state")
def steady_state(visitors: Visitors, outside: Outside, watch: Watch, tell: Any) -> None:
    """The steady state that a fault will be held against; without it nothing is."""
    try:
        rate = visitors.wait_for_steady_state(rate=RATE, seconds=STEADY_SECONDS)
    except AssertionError as error:
        raise Inconclusive(str(error)) from None
    watch.steady_at = time.time() - STEADY_SECONDS
    seen = outside.wait_until(
        lambda samples: len(samples) >= 4 and all(s.healthy for s in samples[-4:]),
        seconds=10,
    )
    if not seen:
        raise Inconclusive("not healthy from outside before anything was broken")
    tell(f"steady state: {rate:.0f} requests/s, none failed, healthy from outside")


@given(parsers.parse("the gate is watching {release:w}"))
def gate_watches(
    command: Command, fresh: Stack, watch: Watch, release: str, tell: Any
) -> None:
    """Started as a pipeline starts it; it runs until it has decided and acted."""
    candidate = fresh.deployments[release]
    watch.running = command.start("gate", candidate, "--window", "60s", "--json")
    assert watch.running.wait_for_a_word(seconds=15), "the gate says nothing"
    tell(f"the gate watches {release}")


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


@when(parsers.parse("Stripe no longer answers {release:w}"))
def silent_stripe(fresh: Stack, watch: Watch, release: str) -> None:
    """What it sends to Stripe is swallowed; nothing comes back."""
    watch.faults.append(fresh.faults.inject("black_hole", release, "stripe"))
