"""What each fault is to the fault proxy, and how a ping feels it."""

from dataclasses import dataclass
from typing import Any

from stack.toxiproxy.client.ping import Outcome, Ping

_NOTICEABLE_MS = 10.0
"""Less than this on loopback is noise."""
_CERTAIN_MS = 100.0
"""So much a single ping is seldom late by itself, even on a busy machine."""
_SEVERAL = 5
"""So many pings in a row are not late by themselves: noise comes and goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One fault, its numbers filled in."""

    toxics: tuple[dict[str, Any], ...] = ()
    """In the API's words; with none, the proxy stops listening."""
    outcome: Outcome = "answered"
    """What a ping meets."""
    late_ms: float = 0.0
    """How late an answered ping is at least."""
    longest_ms: float = 0.0
    """How late it is at most."""
    padding: int = 0
    """Bytes that a ping must carry to feel it."""
    tries: int = 1
    """How often it may fail to show, for a fault that is not always felt."""
    counter: str = ""
    """What our fault proxy counts as it bites; the original has no such counters."""

    @property
    def slows(self) -> bool:
        """Whether pings are still answered."""
        return self.outcome == "answered"

    @property
    def pings(self) -> int:
        """How many pings in a row have to feel it."""
        return _SEVERAL if self.slows and self.late_ms < _CERTAIN_MS else 1

    def bites(self, now: Ping, before: Ping) -> bool:
        """Judge a ping under the fault by the one before it."""
        if not self.slows:
            return now.outcome == self.outcome
        long_enough = now.ms >= self.late_ms
        return now.outcome == "answered" and long_enough and self._is_late(now, before)

    def is_over(self, now: Ping, before: Ping) -> bool:
        """Judge a ping after the fault by the one before it."""
        well = not self.slows or not self._is_late(now, before)
        return now.outcome == "answered" and well

    def _is_late(self, now: Ping, before: Ping) -> bool:
        return now.ms - before.ms >= max(self.late_ms / 2, _NOTICEABLE_MS)


def latency(*, latency: int, jitter: int) -> Effect:
    """Delay replies by ``latency`` ms, give or take up to ``jitter`` ms."""
    return Effect(
        toxics=_toxics("latency", "downstream", latency=latency, jitter=jitter),
        late_ms=latency - jitter,
        longest_ms=latency + jitter,
        tries=3 if jitter else 1,
    )


def trickle(*, rate: int) -> Effect:
    """Let ``rate`` KB/s pass each way."""
    toxics = _toxics("bandwidth", "upstream", "downstream", rate=rate)
    if rate == 0:
        return Effect(toxics=toxics, outcome="silent")
    # What the line carries in half a second, and PostgreSQL takes from a stranger.
    padding = min(9000, rate * 500)
    late = padding / rate
    return Effect(toxics=toxics, padding=padding, late_ms=late, longest_ms=3 * late)


def refused() -> Effect:
    """Stop listening, and close what is open."""
    return Effect(outcome="refused")


def reset(*, after: int) -> Effect:
    """Reset a connection ``after`` ms after it is used, before the request arrives."""
    toxics = _toxics("reset_peer", "upstream", timeout=after)
    return Effect(toxics=toxics, outcome="reset", longest_ms=after, counter="resets")


def black_hole() -> Effect:
    """Let nothing arrive either way."""
    return _silence("upstream", "downstream")


def lost_reply() -> Effect:
    """Let requests arrive and no reply come back."""
    return _silence("downstream")


def cut_reply(*, size: int) -> Effect:
    """Close a connection after ``size`` bytes of replies."""
    toxics = _toxics("limit_data", "downstream", bytes=size)
    return Effect(toxics=toxics, outcome="closed", counter="dropped_bytes")


def _silence(*streams: str) -> Effect:
    toxics = _toxics("timeout", *streams, timeout=0)
    return Effect(toxics=toxics, outcome="silent", counter="dropped_bytes")


def _toxics(kind: str, *streams: str, **attributes: int) -> tuple[dict[str, Any], ...]:
    toxic = {"type": kind, "attributes": attributes}
    return tuple(toxic | {"stream": stream} for stream in streams)
