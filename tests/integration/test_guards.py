"""What pytest-bdd would let pass in silence is an error here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from steps.command import Command

Run = Callable[..., pytest.RunResult]

ROOT = Path(__file__).parents[2]
CONFTEST = """
import pytest
pytest_plugins = ["steps.plugin", "steps.guards", "steps.telling"]

@pytest.fixture(scope="session", autouse=True)
def _stack_first():
    pass  # nothing is broken here, so no practice stack is needed
"""
BOUND = (
    'from pytest_bdd import given, scenarios, then, parsers\nscenarios("features")\n'
)


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A project of its own that uses our plugin; runs and gives the result."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nmarkers =\n    smoke\n    late\n")
    pytester.mkdir("features")

    def run(scenarios: str, steps: str, *options: str) -> pytest.RunResult:
        feature = pytester.path / "features" / "one.feature"
        feature.write_text(f"Feature: One\n{scenarios}")
        pytester.makepyfile(test_one=BOUND + steps)
        return pytester.runpytest_subprocess(*options)

    return run


SCENARIO = "  Scenario: A\n    Given a step\n"
STEP = '@given("a step")\ndef _(): pass\n'


def test_an_honest_scenario_passes(inner: Run) -> None:
    """So that the others do not fail for another reason."""
    result = inner(SCENARIO, STEP)

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ('@given("a step")\nasync def _(): assert False\n', "*is async*"),
        (
            STEP + '@given(parsers.parse("a {what}"))\ndef _(what): pass\n',
            "*has 2 functions*",
        ),
    ],
)
def test_a_step_that_would_not_be_run_fails(inner: Run, steps: str, said: str) -> None:
    """Coroutines, and steps that two functions claim."""
    result = inner(SCENARIO, steps)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([said])


def test_two_scenarios_of_one_name_stop_the_run(inner: Run) -> None:
    """Otherwise the first of them would be lost."""
    result = inner(SCENARIO + SCENARIO, STEP)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*two scenarios named*"])


def test_two_fixtures_of_one_name_stop_the_run(
    inner: Run, pytester: pytest.Pytester
) -> None:
    """Otherwise one module's steps would be given the other one's."""
    fixture = "import pytest\n@pytest.fixture\ndef scene(): return 1\n"
    module = f"from pytest_bdd import given\n{fixture}{STEP}"
    other = module.replace("a step", "another step")
    pytester.makepyfile(first_steps=module, second_steps=other)
    result = inner(SCENARIO, "", "-p", "first_steps", "-p", "second_steps")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*scene stands twice: in first_steps and second_steps*"]
    )


SKIPS = '@given("a step")\ndef _():\n    import pytest; pytest.skip("not today")\n'


def test_a_step_that_skips_fails_the_drill(inner: Run) -> None:
    """Not run is not passed."""
    result = inner(SCENARIO, SKIPS, "--drill")

    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(("expected", "code"), [("^$", 1), ("not today", 0)])
def test_under_ci_only_announced_skips_are_accepted(
    inner: Run, monkeypatch: pytest.MonkeyPatch, expected: str, code: int
) -> None:
    """A skip that nobody announced makes the run fail, and is named."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("CI_EXPECTED_SKIPS", expected)

    result = inner(SCENARIO, SKIPS)

    assert result.ret == code
    if code:
        result.stdout.fnmatch_lines(["not announced under CI: *not today*"])


def test_an_address_is_needed_for_the_external_stack(inner: Run) -> None:
    """A wrong combination is said before anything is run."""
    result = inner(SCENARIO, STEP, "--stack", "external")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--stack-url*"])


# -- a drill that did not run to its end ------------------------------------------


def report_of(folder: Path) -> dict[str, Any]:
    """What a drill wrote to its report folder."""
    document: dict[str, Any] = json.loads((folder / "drill.json").read_text())
    return document


def outcomes(document: dict[str, Any]) -> dict[str, str]:
    """How each scenario ended."""
    return {s["name"]: s["outcome"] for s in document["scenarios"]}


THREE = (
    SCENARIO
    + "  @late\n  Scenario: B\n    Given a break\n"
    + "  Scenario: C\n    Given a step\n"
)
INTERRUPTS = STEP + '@given("a break")\ndef _(): raise KeyboardInterrupt\n'


def test_an_interrupted_drill_is_not_passed(inner: Run, tmp_path: Path) -> None:
    """What was cut short and what never began are on record as not run."""
    inner(THREE, INTERRUPTS, "--drill", f"--report={tmp_path}")

    document = report_of(tmp_path)
    assert outcomes(document) == {"A": "passed", "B": "not_run", "C": "not_run"}
    assert document["passed"] is False
    assert document["summary"]["not_run"] == 2
    _, cut, never = document["scenarios"]
    assert (cut["seconds"], never["seconds"], never["started_at"]) == (None, None, None)
    assert (never["feature"], cut["tags"]) == ("One", ["late"])
    assert cut["problem"] == "It was cut short."
    assert never["problem"] == "It was not begun."
    assert document["stopped"] == "The run was stopped before its end."
    html = (tmp_path / "drill.html").read_text()
    assert "Drill failed" in html
    assert "Drill passed" not in html


def test_a_drill_stopped_after_its_scenarios_is_not_passed(
    inner: Run, tmp_path: Path
) -> None:
    """Every scenario passed, yet the run did not reach its end."""
    stops = STEP + (
        "import pytest\n@pytest.fixture(autouse=True)\n"
        "def _stop():\n    yield\n    raise KeyboardInterrupt\n"
    )
    inner(SCENARIO, stops, "--drill", f"--report={tmp_path}")

    assert outcomes(report_of(tmp_path)) == {"A": "passed"}
    assert report_of(tmp_path)["passed"] is False
    assert "Drill failed" in (tmp_path / "drill.html").read_text()


def test_what_breaks_before_the_first_step_is_a_failure(
    inner: Run, tmp_path: Path
) -> None:
    """A scenario that could not begin is in the report, with its reason."""
    broken = STEP + (
        "import pytest\n@pytest.fixture(autouse=True)\n"
        "def _broken(): raise ValueError('no such thing')\n"
    )
    inner(SCENARIO, broken, "--drill", f"--report={tmp_path}")

    (scenario,) = report_of(tmp_path)["scenarios"]
    assert scenario["outcome"] == "failed"
    assert scenario["problem"] == "setup: ValueError: no such thing"


def test_missing_data_is_inconclusive_and_fails_the_run(
    inner: Run, tmp_path: Path
) -> None:
    """Neither passed nor failed, but never good."""
    silent = (
        "from steps.story import Inconclusive\n@given('a step')\n"
        "def _(): raise Inconclusive('the load said:\\n\\nno answer\\nmore')\n"
    )
    result = inner(SCENARIO, silent, "--drill", f"--report={tmp_path}")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (scenario,) = report_of(tmp_path)["scenarios"]
    assert scenario["outcome"] == "inconclusive"
    assert scenario["problem"] == "the load said: no answer"


def test_a_drill_that_passed_says_so(inner: Run, tmp_path: Path) -> None:
    """So that the others do not fail for another reason; its JUnit file is there."""
    result = inner(SCENARIO, STEP, "--drill", f"--report={tmp_path}")

    assert result.ret == pytest.ExitCode.OK
    assert report_of(tmp_path)["passed"] is True
    (suite,) = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")


@pytest.mark.parametrize("options", [["--stack=nosuch"], ["-k", "nosuch"]])
def test_an_old_report_does_not_survive(
    inner: Run, tmp_path: Path, options: list[str]
) -> None:
    """A drill that cannot start leaves no report of another, and nothing else goes."""
    folder = tmp_path / "reports"
    folder.mkdir()
    for name in ("drill.json", "drill.html", "junit.xml", "notes.txt"):
        (folder / name).write_text("old")
    inner(SCENARIO, STEP, "--drill", f"--report={folder}", *options)

    left = {path.name: path.read_text() for path in folder.iterdir()}
    left.pop("junit.xml", None)
    assert left == {"notes.txt": "old"}
    assert (
        not (folder / "junit.xml").exists()
        or "old" not in (folder / "junit.xml").read_text()
    )


def test_no_scenario_that_matches_is_a_wrong_word(inner: Run, tmp_path: Path) -> None:
    """A drill of nothing is refused in one sentence."""
    result = inner(
        SCENARIO, STEP, "--drill", "-k", "nosuch", f"--report={tmp_path / 'r'}"
    )

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*No scenario matches 'nosuch'*"])


@pytest.mark.parametrize(
    ("options", "offered"),
    [(["--drill"], False), ([], True), (["--drill", "--stack=external"], False)],
)
def test_a_drill_is_offered_only_stacks_that_can_be_broken(
    inner: Run, options: list[str], *, offered: bool
) -> None:
    """There is nothing to break behind an address."""
    result = inner(SCENARIO, STEP, "--stack=nosuch", *options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (said,) = [line for line in result.errlines if "There is no stack called" in line]
    assert ("external" in said.partition("Choose")[2]) is offered


def test_the_engine_that_pythonpath_names_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout's own engine, and not the one that happens to be installed."""
    other = tmp_path / "checkout" / "rollback"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (other / "__main__.py").write_text("print('\"another engine\"')\n")
    monkeypatch.setenv("PYTHONPATH", str(other.parent))

    assert Command({}, tmp_path).run("--version").document == "another engine"
