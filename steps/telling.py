"""The story of each scenario, from what pytest knows of it; and the report.

Every scenario of a drill is in the book before the first one runs: what is never
reached stays there as not run.
"""

import os
import re
from collections.abc import Generator
from pathlib import Path

import pytest
from pytest_bdd.parser import Feature, Scenario, Step
from pytest_bdd.scenario import scenario_wrapper_template_registry as templates

from . import report
from .plugin import BOOK, STORY
from .story import Inconclusive, Story


def pytest_collection_finish(session: pytest.Session) -> None:
    """In a drill every scenario that was chosen is expected; none is an error."""
    config = session.config
    if not config.getoption("--drill") or session.testsfailed:
        return
    book = config.stash[BOOK]
    for item in session.items:
        scenario = (
            templates.get(item.function) if isinstance(item, pytest.Function) else None
        )
        if scenario:
            feature = scenario.feature
            tags = {*feature.tags, *scenario.tags}
            item.stash[STORY] = book.expect(scenario.name, feature.name or "", tags)
    if not book.stories:
        asked = config.option.keyword or config.option.markexpr
        raise pytest.UsageError(
            f"No scenario matches {asked!r}. "
            "Look into the folder features for the names and tags that there are."
        )


def pytest_bdd_before_scenario(
    request: pytest.FixtureRequest, feature: Feature, scenario: Scenario
) -> None:
    """A scenario begins."""
    book, stash = request.config.stash[BOOK], request.node.stash
    if STORY not in stash:
        tags = {*feature.tags, *scenario.tags}
        stash[STORY] = book.expect(scenario.name, feature.name or "", tags)
    book.begin(stash[STORY])


def pytest_bdd_before_step_call(request: pytest.FixtureRequest, step: Step) -> None:
    """Show what is under way."""
    request.config.stash[BOOK].doing(f"{step.keyword} {step.name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Close the story with how the test really ended, its teardown included."""
    report = yield
    story = item.stash.get(STORY, None)
    if story is not None and (report.when == "call" or not report.passed):
        where = "" if report.when == "call" else f"{report.when}: "
        problem = f"{where}{_problem(report)}" if not report.passed else ""
        outcome = _outcome(report, call, before=story)
        item.config.stash[BOOK].end(story, outcome, problem)
    return report


def _outcome(
    report: pytest.TestReport, call: pytest.CallInfo[None], *, before: Story
) -> str:
    if report.skipped:
        return "failed" if before.outcome == "failed" else "not_run"
    unknown = call.excinfo is not None and call.excinfo.errisinstance(Inconclusive)
    return "inconclusive" if unknown else report.outcome


def _problem(report: pytest.TestReport) -> str:
    """What went wrong in one line, without the name of the exception class."""
    crash = getattr(report.longrepr, "reprcrash", None)
    said = str(crash.message if crash else report.longrepr)
    if report.skipped and isinstance(report.longrepr, tuple):
        said = report.longrepr[2]
    said = re.sub(r"^([\w.]*\.)?(AssertionError|Inconclusive): ", "", said)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # "it said:" is no problem by itself.
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]) if lines else ""


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
    stopped = session.exitstatus == pytest.ExitCode.USAGE_ERROR
    if stopped or not config.getoption("--drill") or not book.stories:
        return
    book.stopped = _stopped(session.exitstatus, all_passed=book.passed)
    for story in book.stories:
        if story.outcome == "not_run" and not story.problem:
            story.problem = "It was cut short." if story.begun else "It was not begun."
    if not book.passed and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if folder:
        document = book.write(folder)
        report.write(document, book.stories, folder / "drill.html")
        book.say(f"\nreport: {os.path.relpath(folder / 'drill.html')}")


def _stopped(status: int, *, all_passed: bool) -> str:
    if status == pytest.ExitCode.OK:
        return ""
    if status != pytest.ExitCode.TESTS_FAILED:
        return "The run was stopped before its end."
    return "Something beside the scenarios failed." if all_passed else ""
