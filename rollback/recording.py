"""Recorded counts, judged as if live: what a team has of its own past."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from .errors import ReplayInvalid
from .model import Counts, Observation, SourceState
from .silence import Silence

__all__ = ["read_counts", "replay"]

LONGEST_GAP_SECONDS = 86_400
MILLISECONDS = 10**11  # in seconds that is the year 5138
LARGEST = 10**15  # what a float still holds to the unit
COLUMNS = ("second", "requests", "failed", "slow", "probes", "unavailable")


def read_counts(text: str) -> tuple[Counts, ...]:
    """Recorded counts: CSV with a header, or JSON lines; raises `ReplayInvalid`."""
    lines = [line for line in text.removeprefix("\ufeff").splitlines() if line.strip()]
    as_json = bool(lines) and lines[0].lstrip().startswith("{")
    rows = map(_loads, lines) if as_json else csv.DictReader(lines)
    parsed = [_counts(row, number) for number, row in enumerate(rows, 1)]
    if not parsed:
        raise ReplayInvalid("There are no recorded counts: the file is empty.")
    for before, after in pairwise(parsed):
        if after.second <= before.second:
            raise ReplayInvalid(
                f"Second {after.second} comes after second {before.second}: "
                "seconds must rise."
            )
        if after.second - before.second > LONGEST_GAP_SECONDS:
            raise ReplayInvalid(
                f"Nothing is recorded between seconds {before.second} and "
                f"{after.second}, which is more than a day.",
                mend="Give one watch at a time, with `second` in whole seconds.",
            )
    return tuple(parsed)


def _loads(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _counts(row: object, number: int) -> Counts:
    if not isinstance(row, Mapping) or "second" not in row:
        raise ReplayInvalid(f"Record {number} has no column `second`.")
    # A failure that is counted under another name would be none.
    unknown = [str(name) for name in row if name not in COLUMNS]
    if unknown:
        raise ReplayInvalid(f"Record {number} has a column {unknown[0]!r}.")
    try:
        values = {name: _whole(row.get(name)) for name in COLUMNS}
    except (TypeError, ValueError, OverflowError) as error:
        raise ReplayInvalid(f"Record {number} holds no whole number: {row}.") from error
    counts = Counts(**values)
    if counts.second > MILLISECONDS:
        raise ReplayInvalid(f"Second {counts.second} looks like milliseconds.")
    if not counts.possible:
        raise ReplayInvalid(f"Record {number} has more bad ones than there are: {row}.")
    return counts


def _whole(value: Any) -> int:
    number = int(value or 0)
    if (isinstance(value, float) and value != number) or abs(number) > LARGEST:
        raise ValueError(value)
    return number


def replay(
    deployment: str,
    counts: Sequence[Counts],
    *,
    silence_seconds: int,
    window_seconds: float,
) -> Iterator[Observation]:
    """What a live observer would have seen, second by second."""
    name, first, last = "recording", counts[0].second, counts[-1].second
    silence = Silence({name: 0}, first, allowed=silence_seconds, window=window_seconds)
    seconds = {each.second: each for each in counts}
    for second in range(first, last + 1):
        found = seconds.get(second)
        if found:
            silence.speaks(name, second)
        yield Observation(
            deployment=deployment,
            since=second,
            until=second + 1,
            counts=(found,) if found else (),
            sources=(
                SourceState(name=name, problem=silence.problem(name, second + 1)),
            ),
        )
