"""bandwidth: everything passes, slowly."""

from dataclasses import dataclass
from typing import ClassVar

from stack.toxiproxy.chunk import Chunk
from stack.toxiproxy.stage import Stage
from stack.toxiproxy.toxics.base import Toxic

_SLICE = 100
"""ms of data that are sent at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth(Toxic):
    """Lets ``rate`` KB/s pass (1 KB is 1000 bytes); 0 lets none."""

    type: ClassVar[str] = "bandwidth"

    rate: int = 0

    def check(self) -> None:
        """Refuse what the original dies of."""
        if self.rate < 0:
            raise ValueError("rate must not be negative")

    async def on_data(self, stage: Stage, chunk: Chunk) -> None:
        """Send one slice when the line has been free for as long as it takes."""
        if self.rate == 0:
            await stage.stall()
        size = stage.split(self.rate * _SLICE)
        due = max(stage.free_at, chunk.at) + size / (self.rate * 1000)
        await stage.until(due)
        await stage.forward(at=due)
