"""Recorded counts."""

import pytest

from rollback.errors import ReplayInvalid
from rollback.model import Counts, Judgement
from rollback.monitor import judge_recording
from rollback.recording import read_counts, replay
from rollback.testing import LIMITS

CSV = "second,requests,failed,slow,probes,unavailable\n10,20,1,0,2,0\n11,20,0,3,2,1\n"
LINES = (
    '{"second": 10, "requests": 20, "failed": 1, "probes": 2}\n'
    '{"second": 11, "requests": 20, "slow": 3, "probes": 2, "unavailable": 1}\n'
)
EXPECTED = (
    Counts(second=10, requests=20, failed=1, probes=2),
    Counts(second=11, requests=20, slow=3, probes=2, unavailable=1),
)


@pytest.mark.parametrize("text", [CSV, LINES, f"\n{CSV}\n\n"])
def test_csv_and_json_lines_say_the_same(text: str) -> None:
    """Either format gives the same counts; empty lines do not matter."""
    assert read_counts(text) == EXPECTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "no column `second`"),
        ("second,requests\n1,many\n", "no whole number"),
        ("second,requests,failed\n1,2,3\n", "more bad ones"),
        ("second,requests\n1,-2\n", "more bad ones"),
        ("second,requests\n2,1\n1,1\n", "seconds must rise"),
        ("second,requests\n2,1\n2,1\n", "seconds must rise"),
        ('{"second": 1, "requests": 1e999}\n', "no whole number"),
        ('{"second": 1, "requests": 2.5}\n', "no whole number"),
        ("second,requests\n1767323045,1\n1767323046000,1\n", "milliseconds"),
        ("second,requests\n1,1\n200000,1\n", "more than a day"),
        ("second,requests,errors\n1,9,9\n", "a column 'errors'"),
        ('{"second": 1, "requests": 9, "error": 9}\n', "a column 'error'"),
        ("second,requests\n", "empty"),
        ('[{"second": 1}]\n', "no recorded counts"),
        ("second,requests\n1," + "9" * 400 + "\n", "no whole number"),
        ('{"second": 1}\nnonsense\n', "Record 2"),
    ],
)
def test_a_recording_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    """One clear sentence, and nothing is judged."""
    with pytest.raises(ReplayInvalid, match=said):
        read_counts(text)


def test_a_spreadsheets_mark_at_the_start_is_no_column() -> None:
    """Excel writes a byte order mark before the header."""
    assert read_counts("\ufeff" + CSV) == EXPECTED


def test_a_silence_is_remembered_through_the_window() -> None:
    """As live: that it speaks again at the end is no proof."""
    seconds = [n for n in range(600) if not 400 <= n <= 435]
    counts = [Counts(second=n, requests=10, probes=4) for n in seconds]
    seen = replay("dpl_v2", counts, silence_seconds=30, window_seconds=300)

    verdict = judge_recording(seen, LIMITS)

    assert verdict.judgement is Judgement.INCONCLUSIVE
    assert "recording was silent for 37 s" in verdict.reason


def test_a_recording_shorter_than_the_window_is_not_called_healthy() -> None:
    """A minute without a failure is no five minutes."""
    counts = [Counts(second=n, requests=10, probes=4) for n in range(60)]
    seen = replay("dpl_v2", counts, silence_seconds=30, window_seconds=300)

    verdict = judge_recording(seen, LIMITS)

    assert verdict.judgement is Judgement.INCONCLUSIVE
    assert "60 of 300 seconds were watched" in verdict.reason
