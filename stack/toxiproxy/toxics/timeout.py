"""timeout: nothing passes."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from stack.toxiproxy.stage import Stage
from stack.toxiproxy.toxics.base import Toxic


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout(Toxic):
    """Drops all data and closes after ``timeout`` ms without any; 0 never closes.

    Removal closes the connection: what was dropped would leave a hole in the stream.
    """

    type: ClassVar[str] = "timeout"
    closes_on_removal: ClassVar[bool] = True

    timeout: int = 0

    async def pipe(self, stage: Stage) -> None:
        """Drop until the silence has lasted."""
        quiet = self.timeout / 1000 if self.timeout > 0 else None
        try:
            while True:
                async with asyncio.timeout(quiet):
                    chunk = await stage.head()
                if chunk.end is None:
                    stage.drop()
                else:
                    await stage.forward()
        except TimeoutError:
            stage.close()
