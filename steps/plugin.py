"""The pytest side: options, the practice stack, guards against silent passes.

pytest-bdd lets some mistakes pass in silence: an `async def` step is never run, of two
steps that match one is taken, of two scenarios with one name the first is lost, a step
that skips looks passed. Each is an error here. Under CI so is every skip that was not
announced: CI_EXPECTED_SKIPS is a regular expression for the reasons that are.
"""

import inspect
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_bdd.parser import Feature, Scenario, Step
from pytest_bdd.steps import step_function_context_registry

from stack.backends import KINDS, Stack, StackError, start
from stack.backends.errors import UnknownStack

from . import report
from .story import Book, Story

BOOK = pytest.StashKey[Book]()
STORY = pytest.StashKey[Story]()
SKIPS = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The contract's options, and what `rollback drill` asks for."""
    group = parser.getgroup("rollback")
    group.addoption("--stack", default="embedded", help="embedded or external")
    group.addoption("--stack-url", help="address of a site, for --stack external")
    group.addoption("--seed", type=int, default=0, help="drives load and faults")
    group.addoption("--report", type=Path, help="folder for drill.html and drill.json")
    group.addoption("--drill", action="store_true", help="tell the story as it happens")
    group.addoption("--until-eof", action="store_true", help="end when stdin is closed")


def pytest_configure(config: pytest.Config) -> None:
    """Open the book; check the words given."""
    stack = config.getoption("--stack")
    if stack not in (*KINDS, "external"):
        raise pytest.UsageError(str(UnknownStack(stack, (*KINDS, "external"))))
    if stack == "external" and not config.getoption("--stack-url"):
        raise pytest.UsageError(
            "--stack external needs the address of a site: add --stack-url URL."
        )
    config.stash[SKIPS] = []
    if config.getoption("--until-eof"):
        # A shell's background jobs are started deaf to it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    config.stash[BOOK] = Book(
        listening=config.getoption("--drill"),
        seed=config.getoption("--seed"),
        stack=stack,
    )


def _end_with_stdin() -> None:
    """Whoever holds the other end is gone: end as at Ctrl-C, with all clean-up."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse features in which a scenario would be lost."""
    for feature in sorted((session.config.rootpath / "features").rglob("*.feature")):
        lost = duplicate_scenarios(feature.read_text(encoding="utf-8"))
        if lost:
            raise pytest.UsageError(f"{feature.name} has two scenarios named: {lost}.")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Against an address there is nothing to break: only smoke tests run."""
    if config.getoption("--stack") != "external":
        return
    reason = "needs a practice stack, and --stack external has only an address"
    for item in items:
        if item.get_closest_marker("smoke") is None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def book(request: pytest.FixtureRequest) -> Book:
    """The stories of this run."""
    return request.config.stash[BOOK]


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, book: Book) -> Iterator[Stack]:
    """One practice stack for the whole run."""
    options = request.config.option
    try:
        with start(options.stack, seed=options.seed, progress=book.say) as running:
            book.notes.extend(running.notes)
            book.say(f"practice stack ready in {running.ready_seconds:.1f} s")
            yield running
    except StackError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session", autouse=True)
def _stack_first(request: pytest.FixtureRequest) -> None:
    """In a drill the stack is up before the first scenario is told."""
    if request.config.getoption("--drill"):
        request.getfixturevalue("stack")


@pytest.fixture
def fresh(stack: Stack) -> Stack:
    """The practice stack as it was after its start, with v2 live."""
    stack.reset(live="v2")
    return stack


@pytest.fixture
def site_url(request: pytest.FixtureRequest) -> str:
    """The address that visitors use: of the practice stack, or the one given."""
    given: str | None = request.config.getoption("--stack-url")
    if given:
        return given.rstrip("/")
    fresh: Stack = request.getfixturevalue("fresh")
    return fresh.addresses["edge"]


@pytest.fixture
def story(request: pytest.FixtureRequest) -> Story:
    """The story of the scenario that is running."""
    current: Story = request.node.stash[STORY]
    return current


# -- the story ----------------------------------------------------------------


def pytest_bdd_before_scenario(
    request: pytest.FixtureRequest, feature: Feature, scenario: Scenario
) -> None:
    """A scenario begins."""
    book = request.config.stash[BOOK]
    tags = {*feature.tags, *scenario.tags}
    request.node.stash[STORY] = book.begin(scenario.name, feature.name or "", [*tags])


def pytest_bdd_before_step_call(request: pytest.FixtureRequest, step: Step) -> None:
    """Show what is under way."""
    request.config.stash[BOOK].doing(f"{step.keyword} {step.name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Close the story with how the test really ended, its teardown included."""
    report = yield
    _note_skip(item.config, report)
    story = item.stash.get(STORY, None)
    if story is not None:
        book = item.config.stash[BOOK]
        if report.when == "call":
            outcome = "not_run" if report.skipped else report.outcome
            book.end(story, outcome, _problem(report))
        elif report.failed:
            book.end(story, "failed", f"{report.when}: {_problem(report)}")
    return report


def _problem(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr).splitlines()[0]


def pytest_report_teststatus(
    report: pytest.TestReport, config: pytest.Config
) -> tuple[str, str, str] | None:
    """In a drill the story is the progress: no dots beside it."""
    if config.getoption("--drill") and report.passed:
        return ("passed" if report.when == "call" else "", "", "")
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report. A drill in which anything did not pass is not passed."""
    config = session.config
    book = config.stash[BOOK]
    folder: Path | None = config.getoption("--report")
    if config.stash[SKIPS] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    stopped = session.exitstatus == pytest.ExitCode.USAGE_ERROR
    if stopped or not config.getoption("--drill") or not book.stories:
        return
    unproved = [story for story in book.stories if story.outcome != "passed"]
    if unproved and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if folder:
        document = book.write(folder)
        report.write(document, book.stories, folder / "drill.html")
        book.say(f"\nreport: {os.path.relpath(folder / 'drill.html')}")


# -- guards -------------------------------------------------------------------


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name the skips that make a run under CI fail."""
    skips = config.stash[SKIPS]
    for reason in sorted(set(skips)):
        terminalreporter.write_line(f"not announced under CI: {reason}", red=True)


def _note_skip(config: pytest.Config, report: pytest.TestReport) -> None:
    if not report.skipped or not os.environ.get("CI"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    reason = reason.removeprefix("Skipped: ")
    if not re.search(os.environ.get("CI_EXPECTED_SKIPS", "^$"), reason):
        config.stash[SKIPS].append(f"{report.nodeid}: {reason}")


def pytest_bdd_before_step(step: Step, step_func: Callable[..., Any]) -> None:
    """Refuse a step that would not be run, or that two functions claim."""
    if inspect.iscoroutinefunction(step_func) or inspect.isasyncgenfunction(step_func):
        raise AssertionError(f"the step {step.name!r} is async: it would not be run")
    claims = {
        id(context.step_func)
        for context in step_function_context_registry.values()
        if context.type in (None, step.type) and context.parser.is_matching(step.name)
    }
    if len(claims) > 1:
        raise AssertionError(f"the step {step.name!r} has {len(claims)} functions")


def duplicate_scenarios(text: str) -> list[str]:
    """Names that stand twice in a feature file: pytest-bdd would lose the first."""
    lines = (line.strip() for line in text.splitlines())
    heads = ("Scenario:", "Scenario Outline:", "Example:")
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(heads)]
    return [name for name, times in Counter(names).items() if times > 1]
