"""What pytest-bdd would let pass in silence is an error here."""

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., pytest.RunResult]

ROOT = Path(__file__).parents[2]
CONFTEST = 'pytest_plugins = ["steps.plugin"]\n'
BOUND = (
    'from pytest_bdd import given, scenarios, then, parsers\nscenarios("features")\n'
)


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A project of its own that uses our plugin; runs and gives the result."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nmarkers =\n    smoke\n")
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
