"""slow_close: the end comes late."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from stack.toxiproxy.stage import Stage
from stack.toxiproxy.toxics.base import Toxic


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowClose(Toxic):
    """Passes data at once, and the end of it ``delay`` ms after it came here."""

    type: ClassVar[str] = "slow_close"

    delay: int = 0

    async def on_end(self, stage: Stage) -> None:
        """Let the other side believe that there is more to come."""
        await asyncio.sleep(max(0, self.delay) / 1000)
        await stage.forward()
