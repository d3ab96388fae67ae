"""Recorded counts, judged as if live: what a team has of its own past."""

import csv
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from .errors import ReplayInvalid
from .model import Counts, Observation, SourceState

__all__ = ["read_counts", "replay"]

LONGEST_SECONDS = 366 * 86_400
COLUMNS = ("second", "requests", "failed", "slow", "probes", "unavailable")


def read_counts(text: str) -> tuple[Counts, ...]:
    """Recorded counts: CSV with a header, or JSON lines; raises `ReplayInvalid`."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ReplayInvalid("There are no recorded counts: the file is empty.")
    as_json = lines[0].lstrip().startswith("{")
    rows = enumerate(map(_loads, lines) if as_json else csv.DictReader(lines), 1)
    parsed = [_counts(row, number) for number, row in rows]
    if parsed[-1].second - parsed[0].second > LONGEST_SECONDS:
        raise ReplayInvalid(
            f"Seconds {parsed[0].second} to {parsed[-1].second} are more than a year: "
            "`second` must be in whole seconds."
        )
    for before, after in pairwise(parsed):
        if after.second <= before.second:
            raise ReplayInvalid(
                f"Second {after.second} comes after second {before.second}: "
                "seconds must rise."
            )
    return tuple(parsed)


def _loads(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _counts(row: object, number: int) -> Counts:
    if not isinstance(row, dict) or "second" not in row:
        raise ReplayInvalid(f"Record {number} has no column `second`.")
    try:
        values = {name: _whole(row.get(name)) for name in COLUMNS}
    except (TypeError, ValueError, OverflowError) as error:
        raise ReplayInvalid(f"Record {number} holds no whole number: {row}.") from error
    counts = Counts(**values)
    if not counts.possible:
        raise ReplayInvalid(f"Record {number} has more bad ones than there are: {row}.")
    return counts


def _whole(value: Any) -> int:
    number = int(value or 0)
    if isinstance(value, float) and value != number:
        raise ValueError(value)
    return number


def replay(
    deployment: str, counts: Sequence[Counts], *, silence_seconds: int
) -> Iterator[Observation]:
    """What a live observer would have seen, second by second."""
    spoke = counts[0].second
    seconds = {c.second: c for c in counts}
    for second in range(counts[0].second, counts[-1].second + 1):
        found = seconds.get(second)
        spoke = second if found else spoke
        silent = second - spoke
        problem = f"the recording has been silent for {silent} s"
        yield Observation(
            deployment=deployment,
            since=second,
            until=second + 1,
            counts=(found,) if found else (),
            sources=(
                SourceState(
                    name="recording",
                    problem=problem if silent >= silence_seconds else None,
                ),
            ),
        )
