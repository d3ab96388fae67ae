from datetime import UTC, datetime, timedelta

import anyio

__all__ = ["AnyioClock", "FixedClock"]

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


class AnyioClock:
    """Wall time that goes as anyio's clock does (port `Clock`).

    It says `start` when it is first asked.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._origin: float | None = None

    def now(self) -> datetime:
        """The time in UTC."""
        if self._origin is None:
            self._origin = anyio.current_time()
        return self._start + timedelta(seconds=anyio.current_time() - self._origin)
