"""The machine's clock, and its randomness."""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["RandomTokens", "SystemClock"]

# Goes on while the machine sleeps, where the system has such a clock.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


def _elapsed() -> float:
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


class SystemClock:
    """Wall time as the machine has it, but never back (port `Clock`).

    While it was set back nothing would be read, and nothing be missed: it goes on from
    where it was instead. Set forward it follows.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = _elapsed,
    ) -> None:
        self._wall, self._elapsed = wall, elapsed
        self._latest, self._at = wall(), elapsed()

    def now(self) -> datetime:
        """The time in UTC."""
        at = self._elapsed()
        self._latest = max(self._wall(), self._latest + at - self._at)
        self._at = at
        return datetime.fromtimestamp(self._latest, UTC)


class RandomTokens:
    """Six random hexadecimal digits (port `Tokens`)."""

    def new(self) -> str:
        """Another one each time."""
        return secrets.token_hex(3)
