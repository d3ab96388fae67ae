"""The figures of bench/platform: medians, and nothing else on the page is touched."""

import pytest

from bench.platform.page import BEGINS, ENDS, table, written
from bench.platform.race import Run


def run(moved: float) -> Run:
    """A run that took so long."""
    return Run(asked=moved - 0.5, moved=moved, ended=moved + 1, requests=3)


def test_the_table_has_the_medians_and_the_spread() -> None:
    """One slow run does not move the figure, and is not hidden either."""
    text = table({"ours": [run(2.0), run(3.0), run(99.0)]}, 3, None)
    assert "| ours | 2.50 | 3.00 (2.00 to 99.00) | 4.00 | 3 |" in text
    assert "left out" not in text


def test_what_could_not_be_run_is_said() -> None:
    """A table without the peer says why."""
    assert "left out: npm is not there" in table({}, 3, "npm is not there")


def test_only_the_figures_are_written_over() -> None:
    """What stands before and after the marks stays."""
    page = f"before\n{BEGINS}\nold\n{ENDS}\nafter"
    assert written(page, "new") == f"before\n{BEGINS}\n\nnew\n\n{ENDS}\nafter"
    with pytest.raises(ValueError, match="has no"):
        written("nothing", "new")
