"""The table of the figures, and its place on a page."""

import statistics
from collections.abc import Mapping, Sequence

from .race import Run

BEGINS = "<!-- figures: written by bench/platform -->"
ENDS = "<!-- end of the figures -->"


def table(runs: Mapping[str, Sequence[Run]], rounds: int, missing: str | None) -> str:
    """The medians, with the least and the most that was seen until traffic moved."""
    lines = [
        f"Seconds from the start of the command, medians of {rounds} runs each:",
        "",
        "| | asked | traffic moved (least to most) | command ended | requests |",
        "|---|---|---|---|---|",
        *(_row(name, done) for name, done in runs.items()),
    ]
    if missing:
        lines += ["", f"`vercel rollback` was left out: {missing}."]
    return "\n".join(lines)


def _row(name: str, runs: Sequence[Run]) -> str:
    moved = [run.moved for run in runs]
    cells = (
        name,
        f"{statistics.median(run.asked for run in runs):.2f}",
        f"{statistics.median(moved):.2f} ({min(moved):.2f} to {max(moved):.2f})",
        f"{statistics.median(run.ended for run in runs):.2f}",
        f"{statistics.median(run.requests for run in runs):.0f}",
    )
    return f"| {' | '.join(cells)} |"


def written(page: str, text: str) -> str:
    """The page with this text between its marks; raises `ValueError` without them."""
    before, begins, rest = page.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        raise ValueError(f"the page has no {BEGINS} with {ENDS} after it")
    return f"{before}{BEGINS}\n\n{text}\n\n{ENDS}{after}"
