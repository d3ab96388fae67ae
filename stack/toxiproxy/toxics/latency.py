"""latency: everything passes, late."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from stack.toxiproxy.chunk import Chunk
from stack.toxiproxy.toxics.base import Toxic

if TYPE_CHECKING:
    # As in base.py.
    from stack.toxiproxy.stub import Stub


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Toxic):
    """Delays each chunk, from its arrival, in order and without holding up the sender.

    ``latency`` is in ms, give or take up to ``jitter`` ms.
    """

    type: ClassVar[str] = "latency"
    buffer: ClassVar[int] = 32 * 1024 * 1024

    latency: int = 0
    jitter: int = 0

    async def on_data(self, stub: "Stub", chunk: Chunk) -> None:
        """Wait until the chunk is due."""
        delay = self.latency
        if self.jitter > 0:
            delay += stub.random.randrange(-self.jitter, self.jitter)
        due = chunk.at + max(0, delay) / 1000
        await stub.until(due)
        await stub.forward(at=due)
