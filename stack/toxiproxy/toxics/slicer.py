"""slicer: everything passes, in small pieces."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from stack.toxiproxy.chunk import Chunk
from stack.toxiproxy.stage import Stage
from stack.toxiproxy.toxics.base import Toxic


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicer(Toxic):
    """Cuts data into pieces of about ``average_size`` bytes.

    ``size_variation`` is how many bytes more or fewer a piece may have, ``delay`` how
    many microseconds pass after each. An average of 0, the default, cuts nothing.
    """

    type: ClassVar[str] = "slicer"

    average_size: int = 0
    size_variation: int = 0
    delay: int = 0

    def check(self) -> None:
        """Refuse what the original dies of."""
        if self.average_size < 0:
            raise ValueError("average_size must not be negative")
        if self.size_variation < 0:
            raise ValueError("size_variation must not be negative")

    async def on_data(self, stage: Stage, chunk: Chunk) -> None:
        """Send the chunk piece by piece; what is not yet sent stays at the head."""
        for size in self._sizes(len(chunk.data), stage.random):
            stage.split(size)
            await stage.forward()
            await asyncio.sleep(max(0, self.delay) / 1_000_000)

    def _sizes(self, size: int, random: Random) -> Iterator[int]:
        """Halve it, and the halves, as the original does, until all are small."""
        largest = self.average_size + self.size_variation
        if self.average_size == 0 or size <= largest:
            yield size
            return
        first = size // 2
        if self.size_variation:
            first += random.randrange(-self.size_variation, self.size_variation)
        # A variation above the average would leave a piece of less than nothing.
        first = min(max(first, 1), size - 1)
        yield from self._sizes(first, random)
        yield from self._sizes(size - first, random)
