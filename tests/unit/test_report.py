"""The report of a drill: what it says, and what it must never say."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from steps import report
from steps.story import Book, Story, iso

START = 1_763_812_800.0
V1, V2 = "dpl_stable", "dpl_candidate"


def request(at: float, outcome: str = "ok", ms: float = 20) -> dict[str, Any]:
    """One request of the load, as Locust records it."""
    return {"t": START + at, "ms": ms, "outcome": outcome, "deployment": V2}


def look(at: float, *, healthy: bool = True, by: str | None = V2) -> dict[str, Any]:
    """One look from outside, answered within 10 ms."""
    return {"at": START + at, "healthy": healthy, "ms": 10, "deployment": by}


def phase(seconds: float, budget: float | None, *, met: bool = True) -> dict[str, Any]:
    """One phase of an incident."""
    return {"seconds": seconds, "budget_seconds": budget, "met": met}


@pytest.fixture
def rolled_back() -> Story:
    """A scenario in which everything was measured and went well."""
    outcomes = ["ok"] * 40 + ["failed"] * 7 + ["unknown"] * 3 + ["ok"] * 50
    return Story(
        name="Database loss is rolled back",
        feature="A bad release",
        tags=("chaos", "rollback"),
        started_at=START,
        ended_at=START + 12,
        outcome="passed",
        fault={
            "kind": "refused",
            "route": "v2-postgres",
            "proof": "a connection was refused",
            "injected_at": iso(START + 4),
            "proved_at": iso(START + 4.02),
            "healed_at": iso(START + 9.5),
        },
        verdict={
            "deployment": V2,
            "verdict": "roll_back",
            "row": "critical_error",
            "signal": None,
            "reason": "critical error: DATABASE_CONNECTION_LOST (7x)",
            "critical_errors": ["DATABASE_CONNECTION_LOST"],
            "decided_at": iso(START + 6),
            "signals": {
                "error_rate": {
                    "requests": 40,
                    "bad": 7,
                    "proportion": 0.175,
                    "threshold": 0.05,
                    "evidence": 431.0,
                },
            },
        },
        incident={
            "incident": "inc-1",
            "from": V2,
            "to": V1,
            "outcome": "restored",
            "phases": {
                "identify": phase(2, 120),
                "initiate": phase(0.3, 60),
                "carry_out": phase(0.4, None),
                "verify": phase(0.5, 180),
                "communicate": phase(1, 300),
            },
            "steps": [{"name": "move", "status": "done", "seconds": 0.4, "detail": ""}],
        },
        restored_at=START + 6.8,
        told=[(START + 4.1, "broken: refused on v2-postgres")],
        requests=[request(i / 10, o) for i, o in enumerate(outcomes, 10)],
        looks=[look(i / 4, healthy=not 16 <= i < 25) for i in range(4, 25)]
        + [look(i / 4, by=V1) for i in range(27, 48)],
    )


def page(*stories: Story) -> str:
    """The report of a run with these stories."""
    book = Book(listening=False, seed=7, stack="embedded")
    book.stories.extend(stories)
    return report.render(book.document(), stories)


class Reader(HTMLParser):
    """Every tag of a page with its attributes; fails where tags do not match."""

    VOID = ("meta", "br")

    def __init__(self, html: str) -> None:
        """Read it all."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a tag that is closed at once."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Match the tag that was opened last."""
        assert self._open.pop() == tag, (tag, self.getpos())


# -- the page ------------------------------------------------------------------


def test_a_drill_in_which_all_passed_says_passed(rolled_back: Story) -> None:
    """Where every scenario passed, the page says so and nothing is missing."""
    html = page(rolled_back)
    assert "Drill passed" in html
    assert "Drill failed" not in html
    assert "not measured" not in html


@pytest.mark.parametrize("outcome", ["failed", "inconclusive", "not_run", "strange"])
def test_one_scenario_that_did_not_pass_fails_the_drill(
    rolled_back: Story, outcome: str
) -> None:
    """Whatever is not passed is not a pass, and its problem stands on the page."""
    other = Story(name="Other", feature="", tags=(), started_at=START, outcome=outcome)
    other.problem = "the metric source was silent"
    html = page(rolled_back, other)
    assert "Drill failed" in html
    assert "Drill passed" not in html
    assert '<p class="problem' in html
    assert "the metric source was silent" in html


def test_a_run_without_scenarios_is_no_pass() -> None:
    """Nothing run, nothing proved."""
    assert "Drill failed" in page()


def test_a_pass_that_broke_nothing_admits_it(rolled_back: Story) -> None:
    """A run without a fault says that no rollback was proved."""
    rolled_back.tags, rolled_back.fault = ("gate",), None
    assert "no rollback was proved" in page(rolled_back)


def test_markup_is_escaped(rolled_back: Story) -> None:
    """No text of a run can become markup of the page, in a drawing neither."""
    evil = "<script>alert('&')</script>"
    rolled_back.name = rolled_back.problem = rolled_back.feature = evil
    rolled_back.told = [(START, evil)]
    assert rolled_back.fault
    rolled_back.fault["proof"] = rolled_back.fault["route"] = f'"{evil}'
    html = page(rolled_back)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    Reader(html)


def test_what_is_missing_is_said_to_be_not_measured() -> None:
    """A scenario that broke off has no noughts and no passes in place of figures."""
    story = Story(
        name="Cut short", feature="F", tags=("chaos", "rollback"), started_at=START
    )
    html = report.render({}, [story])
    visible = re.sub(r"(?s)<style>.*?</style>", "", html)
    for said in ("took <b>{}</b>", "seed <b>{}</b>", '<big class="small">{}</big>'):
        assert said.format("not measured") in visible
    assert visible.count("<small><b>not measured</b>") == len(report.PHASES)
    assert "0.0\N{NO-BREAK SPACE}" not in visible
    assert 'class="not measured' not in html
    Reader(html)


def test_a_signal_without_requests_has_no_share(rolled_back: Story) -> None:
    """None of none is not nought percent."""
    assert rolled_back.verdict
    signal = rolled_back.verdict["signals"]["error_rate"]
    signal.update(requests=0, bad=0, proportion=0.0)
    html = page(rolled_back)
    assert html.count("<td>not measured</td>") == 2


def test_the_page_needs_nothing_else(rolled_back: Story) -> None:
    """Nothing is fetched and nothing is run: no address outside, no script."""
    read = Reader(page(rolled_back))
    assert "script" not in {tag for tag, _ in read.tags}
    references = [
        value or ""
        for _, attributes in read.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href")
    ]
    assert references
    assert all(r == "drill.json" or r.startswith("#") for r in references)
    assert "url(" not in page(rolled_back)
    assert "@import" not in page(rolled_back)


def test_each_id_stands_once(rolled_back: Story) -> None:
    """The texts that describe a drawing are found by their ids."""
    read = Reader(page(rolled_back, rolled_back))
    ids = [a["id"] for _, a in read.tags if "id" in a]
    assert len(ids) == len(set(ids))
    drawings = [a for tag, a in read.tags if tag == "svg"]
    named = [name for a in drawings for name in (a["aria-labelledby"] or "").split()]
    assert len(named) == 2 * len(drawings)
    assert set(named) <= set(ids)
    assert {a["role"] for a in drawings} == {"img"}


def test_the_page_is_written_where_asked(rolled_back: Story, tmp_path: Path) -> None:
    """One file, its folder made."""
    path = tmp_path / "reports" / "drill.html"
    report.write({"seed": 1}, [rolled_back], path)
    assert path.read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")
    assert [*path.parent.iterdir()] == [path]


def test_figures_are_held_against_the_budgets_of_the_phases(rolled_back: Story) -> None:
    """Fault to verdict has identify's budget; the whole has all that have one."""
    found = report.figures([report.card(rolled_back, 1)])
    said = [(f.bar.name, f.bar.budget, f.bar.missed) for f in found]
    assert said == [
        ("fault to verdict", 120, False),
        ("verdict to restored", 240, False),
        ("fault to restored", 360, False),
    ]
    assert [f.bar.seconds for f in found] == pytest.approx([2, 0.8, 2.8])


def test_a_budget_that_is_known_in_part_is_no_budget(rolled_back: Story) -> None:
    """What initiate may take is not held against initiate and verify."""
    assert rolled_back.incident
    del rolled_back.incident["phases"]["verify"]
    found = report.figures([report.card(rolled_back, 1)])
    assert [f.bar.budget for f in found] == [120, None, None]


def test_a_figure_names_the_scenario_that_has_none(rolled_back: Story) -> None:
    """The slowest of those measured never stands for one that was not."""
    other = Story(name="Lost", feature="", tags=("chaos",), started_at=START)
    cards = [report.card(rolled_back, 1), report.card(other, 2)]
    assert {f.unmeasured for f in report.figures(cards)} == {("Lost",)}


@pytest.mark.parametrize(
    ("measured", "missed"),
    [
        (phase(179, 180), False),
        (phase(181, 180), True),
        (phase(179, 180, met=False), True),
        (phase(999, None), False),
        ({}, False),
    ],
)
def test_a_missed_budget_is_seen(
    rolled_back: Story, measured: dict[str, Any], *, missed: bool
) -> None:
    """Over the budget is missed, and so is what the engine itself calls missed."""
    assert rolled_back.incident
    rolled_back.incident["phases"]["verify"] = measured
    bars = {bar.name: bar for bar in report.phases(rolled_back)}
    assert bars["verify"].missed is missed
    assert ('class="bad">missed' in page(rolled_back)) is missed


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (0.004, "< 0.01"),
        (0.25, "0.25"),
        (2850, "2 850"),
        (8.23e9, "8.2 × 10⁹"),  # noqa: RUF001 - as it is printed
        (float("inf"), "∞"),
    ],
)
def test_numbers_are_said_for_people(value: float, said: str) -> None:
    """Small ones are not rounded to nought, large ones stay short."""
    assert re.sub(r"\s", " ", report.number(value)) == said
