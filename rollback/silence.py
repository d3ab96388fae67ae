"""Who has said something and who has not: no data is no proof of health."""

from collections.abc import Mapping

__all__ = ["Silence"]


class Silence:
    """Remembers when each source spoke last, and who was silent in the window.

    Times are unix seconds. A source may be silent for `allowed` seconds beyond the lag
    that it is known to have.
    """

    def __init__(
        self, lags: Mapping[str, int], now: int, *, allowed: int, window: float
    ) -> None:
        self._lags, self._allowed, self._window = lags, allowed, window
        self._spoke = dict.fromkeys(lags, now)
        self._silences: dict[str, tuple[int, int]] = {}  # name: its end, its length
        self._down: dict[str, str] = {}

    def speaks(self, name: str, second: int) -> None:
        """A source has something to say of this second."""
        lasted = second - self._spoke[name]
        if lasted > self._allowed:
            self._silences[name] = second, lasted
        self._spoke[name] = max(second, self._spoke[name])

    def answers(self, name: str, why_not: str | None = None) -> None:
        """A source was asked: it answered, or could not."""
        self._down.pop(name, None)
        if why_not is not None:
            self._down[name] = why_not

    def problem(self, name: str, now: int) -> str | None:
        """Down, as it says itself, or silent for too long somewhere in the window."""
        silent = now - self._lags[name] - self._spoke[name]
        if name in self._down:
            return f"{name} is down: {self._down[name]}"
        if silent > self._allowed:
            return f"{name} has been silent for {silent} s"
        past = self._silences.get(name)
        if past and past[0] > now - self._window:
            return f"{name} was silent for {past[1]} s"
        return None
