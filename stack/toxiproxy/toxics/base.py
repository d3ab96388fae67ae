"""What a toxic is, and what it may do.

To add one: a file beside this one with a subclass whose fields are the attributes of
the API (integers, 0 by default), and its name in ``toxics/__init__.py``.
"""

from dataclasses import dataclass
from typing import ClassVar

from stack.toxiproxy.chunk import Chunk
from stack.toxiproxy.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxic:
    """A way of spoiling one direction of a connection."""

    type: ClassVar[str]
    buffer: ClassVar[int] = 1
    """Bytes that may wait here before the sender is made to wait."""
    closes_on_removal: ClassVar[bool] = False

    def check(self) -> None:
        """Raise ValueError if the attributes make no sense."""

    async def pipe(self, stage: Stage) -> None:
        """Deal with all that arrives; cancelled when the toxic changes or goes.

        A chunk stays at the head until it is forwarded or dropped, so that being
        cancelled loses nothing.
        """
        while True:
            chunk = await stage.head()
            if chunk.end is None:
                await self.on_data(stage, chunk)
            else:
                await self.on_end(stage)

    async def on_data(self, stage: Stage, chunk: Chunk) -> None:
        """Deal with the chunk of data at the head."""
        del chunk
        await stage.forward()

    async def on_end(self, stage: Stage) -> None:
        """Deal with the end at the head."""
        await stage.forward()
