"""The story of a drill: what counts as passed, and which clocks are believed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from steps import clocks, outcome, report
from steps.command import Ran
from steps.release import Watch
from steps.story import Book, Inconclusive, Story, iso

START = 1_763_812_800.0
Phases = dict[str, dict[str, Any]]


def phase(begin: float, end: float, **said: Any) -> dict[str, Any]:
    """One phase as the engine reports it, with a budget that nobody should believe."""
    measured = {
        "started_at": iso(START + begin),
        "ended_at": iso(START + end),
        "seconds": round(end - begin, 3),
        "budget_seconds": 9999.0,
        "met": True,
    }
    return measured | said


def honest() -> Phases:
    """The phases of a rollback that was quick and is told truly."""
    return {
        "identify": phase(10, 12.8),
        "initiate": phase(12.8, 12.9),
        "carry_out": phase(12.9, 14),
        "verify": phase(14, 16.7),
        "communicate": phase(12.8, 16.8),
    }


def problems(phases: Phases, **moments: float) -> list[str]:
    """What is wrong with phases; the fault showed at second 11."""
    known = {"decided_at": 12.8, "steady_at": 5.0, "effect_at": 11.0} | moments
    return clocks.problems(phases, **{name: START + at for name, at in known.items()})


# -- clocks ----------------------------------------------------------------------


def test_clocks_that_can_be_true_are_believed() -> None:
    """So that the others do not fail for another reason."""
    assert problems(honest()) == []


@pytest.mark.parametrize("name", clocks.PHASES)
def test_a_phase_that_was_not_measured_is_missed(name: str) -> None:
    """Four of five are no proof."""
    phases = honest()
    del phases[name]
    assert problems(phases) == [f"not measured: {name}"]


@pytest.mark.parametrize(
    ("name", "begin", "end"),
    [
        ("identify", -108, 12.8),
        ("initiate", 12.8, 73),
        ("verify", 14, 194.5),
        ("communicate", 12.8, 313),
    ],
)
def test_the_specification_s_budgets_count(name: str, begin: float, end: float) -> None:
    """Whatever the engine calls its budget, and met."""
    phases = honest() | {name: phase(begin, end)}
    found = problems(phases, steady_at=-200.0)
    assert any(p.startswith(f"{name} took") for p in found), found


LIES: list[tuple[str, Callable[[], Phases], str]] = [
    ("negative", lambda: {"initiate": phase(12.8, 12.7)}, "initiate took -0.100 s"),
    (
        "short",
        lambda: {"identify": phase(10, 12.8, seconds=0.1)},
        "identify says 0.100 s",
    ),
    ("gap", lambda: {"verify": phase(14.5, 16.7)}, "verify begins 0.500 s after"),
    ("at once", lambda: {"verify": phase(14, 14.5)}, "verify lasted 0.500 s"),
    ("early", lambda: {"identify": phase(3, 12.8)}, "identify begins 2.0 s before"),
    ("late", lambda: {"identify": phase(10, 14.5)}, "identify ends 1.700 s after"),
    ("told", lambda: {"communicate": phase(15, 16)}, "communicate begins 2.200 s"),
    ("none", lambda: {"carry_out": phase(12.9, 12.9)}, "carry_out does not end after"),
]


@pytest.mark.parametrize(
    ("lie", "said"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES]
)
def test_clocks_that_cannot_be_true_are_not_believed(
    lie: Callable[[], Phases], said: str
) -> None:
    """Each lie is named."""
    found = problems(honest() | lie())
    assert any(said in problem for problem in found), found


def test_an_identification_may_not_begin_long_after_visitors_saw_it() -> None:
    """Otherwise a late start would make a slow engine look quick."""
    (found,) = problems(honest(), effect_at=4.0)
    assert found == "identify begins 6.0 s after visitors saw the effect"


def test_the_first_effect_is_the_first_bad_request_after_the_fault() -> None:
    """Failed, unknown and slow ones count; those before the fault do not."""
    good = {"outcome": "ok", "ms": 20.0}
    requests = [
        good | {"t": 1.0, "outcome": "failed"},
        good | {"t": 3.0},
        good | {"t": 4.0, "ms": 3000.0},
        good | {"t": 5.0, "ms": 3001.0},
        good | {"t": 6.0, "outcome": "unknown", "ms": None},
    ]
    assert clocks.first_effect(requests, after=2.0) == 5.0
    assert clocks.first_effect(requests, after=5.5) == 6.0
    assert clocks.first_effect(requests, after=7.0) is None


# -- the gate's word ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "verdict"), [(3, "inconclusive"), (3, "watching"), (3, "healthy")]
)
def test_a_gate_that_could_not_tell_is_inconclusive(code: int, verdict: str) -> None:
    """A silent source is neither a good release nor a bad one."""
    said = json.dumps({"verdict": verdict, "reason": "no counts for 30 s"})
    with pytest.raises(Inconclusive, match="no counts for 30 s"):
        outcome._ruling(Watch(ran=Ran(code, said, "")))


def test_a_gate_that_decided_is_heard() -> None:
    """Whatever it decided is for the step to judge."""
    said = json.dumps({"verdict": "roll_back", "reason": "slow"})
    assert outcome._ruling(Watch(ran=Ran(1, said, "")))["reason"] == "slow"


# -- the book --------------------------------------------------------------------


@pytest.fixture
def book() -> Book:
    """A book that tells nobody."""
    return Book(listening=False, seed=1, stack="embedded")


def test_a_run_passes_when_all_it_was_to_do_passed(book: Book) -> None:
    """Begun, ended and passed."""
    story = book.expect("A", "F", {"b", "a"})
    book.begin(story)
    book.end(story, "passed")
    document = book.document()
    assert document["passed"] is True
    assert document["scenarios"][0]["tags"] == ["a", "b"]
    assert document["scenarios"][0]["seconds"] >= 0


def test_a_run_of_nothing_did_not_pass(book: Book) -> None:
    """Nothing run, nothing proved."""
    assert book.document()["passed"] is False


@pytest.mark.parametrize("ended", ["failed", "inconclusive", "not_run"])
def test_one_scenario_that_did_not_pass_is_enough(book: Book, ended: str) -> None:
    """And the summary counts it."""
    for each in ("passed", ended):
        story = book.expect(each, "F", ())
        book.begin(story)
        book.end(story, each)
    document = book.document()
    assert document["passed"] is False
    assert document["summary"][ended] == 1


def test_a_run_that_was_stopped_did_not_pass(book: Book) -> None:
    """Even when every scenario had passed by then."""
    book.end(book.expect("A", "F", ()), "passed")
    book.stopped = "The run was stopped before its end."
    assert book.document()["passed"] is False
    html = report.render(book.document(), book.stories)
    assert "Drill failed" in html
    assert book.stopped in html


def test_what_is_only_expected_has_no_times(book: Book) -> None:
    """It is on record as not run."""
    book.expect("A", "F", ())
    (scenario,) = book.document()["scenarios"]
    assert (scenario["outcome"], scenario["started_at"]) == ("not_run", None)
    assert scenario["seconds"] is None


def test_a_story_without_an_end_took_no_known_time() -> None:
    """Not less than nothing."""
    story = Story(name="A", feature="F", tags=(), started_at=START)
    assert story.seconds is None
    assert story.document()["seconds"] is None
