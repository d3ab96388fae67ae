"""What travels along one direction of a connection."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol


class End(Enum):
    """How a direction ends."""

    EOF = auto()
    """The sender has no more to say; the other direction goes on."""
    CLOSE = auto()
    """The connection is over."""
    RESET = auto()
    """The connection breaks."""


@dataclass(slots=True, kw_only=True)
class Chunk:
    """Some bytes, or an end."""

    data: bytes = b""
    at: float
    """When it arrived, in seconds of the loop's clock."""
    end: End | None = None


class Sink(Protocol):
    """Where chunks go: the next toxic, or the socket."""

    @property
    def full(self) -> bool:
        """Whether more should wait; an end never does."""

    def put(self, chunk: Chunk) -> None:
        """Take a chunk, full or not."""
