"""latency: everything passes, late."""

from dataclasses import dataclass
from typing import ClassVar

from stack.toxiproxy.chunk import Chunk
from stack.toxiproxy.stage import Stage
from stack.toxiproxy.toxics.base import Toxic


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Toxic):
    """Delays each chunk, from its arrival, in order and without holding up the sender.

    ``latency`` is in ms, give or take up to ``jitter`` ms.
    """

    type: ClassVar[str] = "latency"
    buffer: ClassVar[int] = 32 * 1024 * 1024

    latency: int = 0
    jitter: int = 0

    async def on_data(self, stage: Stage, chunk: Chunk) -> None:
        """Wait until the chunk is due."""
        delay = self.latency
        if self.jitter > 0:
            delay += stage.random.randrange(-self.jitter, self.jitter)
        due = chunk.at + max(0, delay) / 1000
        await stage.until(due)
        await stage.forward(at=due)
