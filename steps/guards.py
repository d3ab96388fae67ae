"""Guards against silent passes.

pytest-bdd lets some mistakes pass in silence: an `async def` step is never run, of two
steps that match one is taken, of two scenarios with one name the first is lost, of two
fixtures with one name the other is given, a step that skips looks passed. Each is an
error here. Under CI so is every skip that was not announced: CI_EXPECTED_SKIPS is a
regular expression for the reasons that are.
"""

import inspect
import os
import re
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

import pytest
from pytest_bdd.parser import Step
from pytest_bdd.steps import step_function_context_registry

STEP_NAME = "pytestbdd_stepdef_"  # as pytest-bdd names what a decorator leaves
SKIPS = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Nothing was skipped yet."""
    config.stash[SKIPS] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse features in which a scenario would be lost."""
    for feature in sorted((session.config.rootpath / "features").rglob("*.feature")):
        lost = duplicate_scenarios(feature.read_text(encoding="utf-8"))
        if lost:
            raise pytest.UsageError(f"{feature.name} has two scenarios named: {lost}.")
    for name, modules in duplicate_fixtures(session.config.pluginmanager):
        raise pytest.UsageError(f"The fixture {name} stands twice: in {modules}.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a skip that nobody announced."""
    report = yield
    _note_skip(item.config, report)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run with such a skip has failed."""
    if session.config.stash[SKIPS] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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


def duplicate_fixtures(plugins: pytest.PytestPluginManager) -> list[tuple[str, str]]:
    """Fixtures of several modules with steps: the last one would serve all of them."""
    known: dict[str, dict[int, str]] = {}
    for module in filter(inspect.ismodule, plugins.get_plugins()):
        members = vars(module)
        if not any(name.startswith(STEP_NAME) for name in members):
            continue
        for name, value in members.items():
            if type(value).__name__ == "FixtureFunctionDefinition":
                known.setdefault(name, {})[id(value)] = module.__name__
    return [
        (name, " and ".join(sorted(found.values())))
        for name, found in sorted(known.items())
        if len(found) > 1 and not name.startswith(("_", STEP_NAME))
    ]
