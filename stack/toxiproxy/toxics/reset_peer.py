"""reset_peer: the connection breaks."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from stack.toxiproxy.stage import Stage
from stack.toxiproxy.toxics.base import Toxic


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPeer(Toxic):
    """Resets both sides ``timeout`` ms after the first data or end of data."""

    type: ClassVar[str] = "reset_peer"

    timeout: int = 0

    async def pipe(self, stage: Stage) -> None:
        """Wait for something to break."""
        await stage.head()
        await asyncio.sleep(max(0, self.timeout) / 1000)
        stage.reset()
