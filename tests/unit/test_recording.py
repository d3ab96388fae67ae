"""Recorded counts."""

import pytest

from rollback.errors import ReplayInvalid
from rollback.model import Counts
from rollback.recording import read_counts

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
        ("second,requests\n1767323045,1\n1767323046000,1\n", "whole seconds"),
        ('{"second": 1}\nnonsense\n', "Record 2"),
    ],
)
def test_a_recording_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    """One clear sentence, and nothing is judged."""
    with pytest.raises(ReplayInvalid, match=said):
        read_counts(text)
