"""limit_data: the reply is cut."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from stack.toxiproxy.chunk import Chunk
from stack.toxiproxy.toxics.base import Toxic

if TYPE_CHECKING:
    # As in base.py.
    from stack.toxiproxy.stub import Stub


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitData(Toxic):
    """Closes the connection after ``bytes`` bytes, counted from when it was added."""

    type: ClassVar[str] = "limit_data"

    bytes: int = 0

    async def on_data(self, stub: "Stub", chunk: Chunk) -> None:
        """Let pass what is left of the allowance."""
        del chunk
        allowance = max(0, self.bytes - stub.passed)
        if allowance:
            stub.split(allowance)
            await stub.forward()
        if stub.passed >= self.bytes:
            stub.discard()
            stub.close()
            await stub.stall()
