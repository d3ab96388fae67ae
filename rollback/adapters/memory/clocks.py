from datetime import UTC, datetime, timedelta

import anyio

__all__ = ["AnyioClock", "CountedTokens", "FixedClock"]

START = datetime(2026, 1, 1, tzinfo=UTC)


class FixedClock:
    """A clock that stands still until it is moved (port `Clock`)."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def now(self) -> datetime:
        """The time in UTC."""
        return self.at

    def advance(self, seconds: float) -> None:
        """Move it on."""
        self.at += timedelta(seconds=seconds)


class CountedTokens:
    """1, 2, 3, ... (port `Tokens`)."""

    def __init__(self) -> None:
        self._given = 0

    def new(self) -> str:
        """The next number."""
        self._given += 1
        return str(self._given)


class AnyioClock:
    """Wall time that goes as anyio's clock does (port `Clock`).

    `start` is the time when anyio's clock reads zero, as trio's `MockClock` does at
    first.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start

    def now(self) -> datetime:
        """The time in UTC."""
        return self._start + timedelta(seconds=anyio.current_time())
