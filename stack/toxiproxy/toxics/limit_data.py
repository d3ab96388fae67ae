"""limit_data: the reply is cut."""

from dataclasses import dataclass
from typing import ClassVar

from stack.toxiproxy.chunk import Chunk
from stack.toxiproxy.stage import Stage
from stack.toxiproxy.toxics.base import Toxic


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitData(Toxic):
    """Closes the connection after ``bytes`` bytes, counted from when it was added."""

    type: ClassVar[str] = "limit_data"

    bytes: int = 0

    async def on_data(self, stage: Stage, chunk: Chunk) -> None:
        """Let pass what is left of the allowance."""
        del chunk
        allowance = max(0, self.bytes - stage.passed)
        if allowance:
            stage.split(allowance)
            await stage.forward()
        if stage.passed >= self.bytes:
            stage.discard()
            stage.close()
            await stage.stall()
