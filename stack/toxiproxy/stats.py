"""What a proxy counts, as it happens: the proof that traffic flows through it."""

from dataclasses import dataclass, field

from stack.toxiproxy.entry import Direction


@dataclass(slots=True, kw_only=True)
class Stats:
    """Counters since the proxy was made."""

    connections: int = 0
    """Connections accepted."""
    refused: int = 0
    """Of these, those whose upstream could not be reached."""
    delivered: dict[Direction, int] = field(
        default_factory=lambda: {"upstream": 0, "downstream": 0}
    )
    """Bytes handed to the far socket."""
    dropped_bytes: int = 0
    """Bytes thrown away by toxics."""
    resets: int = 0
    """Connections broken by a toxic."""

    def as_json(self) -> dict[str, int]:
        """Describe them as the API does."""
        return {
            "connections": self.connections,
            "refused": self.refused,
            "bytes_upstream": self.delivered["upstream"],
            "bytes_downstream": self.delivered["downstream"],
            "dropped_bytes": self.dropped_bytes,
            "resets": self.resets,
        }
