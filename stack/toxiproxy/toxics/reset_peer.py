"""reset_peer: the connection breaks."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from stack.toxiproxy.toxics.base import Toxic

if TYPE_CHECKING:
    # As in base.py.
    from stack.toxiproxy.stub import Stub


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPeer(Toxic):
    """Resets both sides ``timeout`` ms after the first data or end of data."""

    type: ClassVar[str] = "reset_peer"

    timeout: int = 0

    async def pipe(self, stub: "Stub") -> None:
        """Wait for something to break."""
        await stub.head()
        await asyncio.sleep(max(0, self.timeout) / 1000)
        stub.reset()
