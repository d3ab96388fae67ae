"""The machine's clock, which is never set back."""

from datetime import UTC, datetime

import pytest

from rollback.adapters.clock import SystemClock


@pytest.mark.parametrize(
    ("wall", "elapsed", "expected"),
    [
        ([1000, 1010, 1020], [0, 10, 20], [1010, 1020]),  # as it should be
        ([1000, 1010, 760], [0, 10, 20], [1010, 1020]),  # set back: it goes on
        ([1000, 1010, 4620], [0, 10, 20], [1010, 4620]),  # set forward: it follows
        ([1000, 1010.2, 1020.1], [0, 10, 20], [1010.2, 1020.2]),  # slowed down
    ],
)
def test_time_goes_on(
    wall: list[float], elapsed: list[float], expected: list[float]
) -> None:
    """While it was set back nothing would be read, and nothing be missed."""
    clock = SystemClock(iter(wall).__next__, iter(elapsed).__next__)

    seen = [clock.now() for _ in expected]

    assert seen == [datetime.fromtimestamp(at, UTC) for at in expected]
