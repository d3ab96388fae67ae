"""``GET /api/health``: each dependency looked at by itself, side by side."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

LIMIT_S = 2.0

log = logging.getLogger(__name__)


class Health:
    """The checks by name. One that fails or hangs says nothing about the others."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self._checks = checks
        self._running: dict[str, asyncio.Task[bool]] = {}

    async def report(self) -> dict[str, str]:
        """Give ``healthy`` or ``unhealthy`` for each, within about two seconds."""
        answers = await asyncio.gather(*(self._join(name) for name in self._checks))
        verdicts = zip(self._checks, answers, strict=True)
        return {"api": "healthy"} | {
            name: "healthy" if well else "unhealthy" for name, well in verdicts
        }

    async def _join(self, name: str) -> bool:
        """Share a check that is under way: many probes are no load of their own."""
        task = self._running.get(name)
        if task is None or task.done():
            task = self._running[name] = asyncio.create_task(self._check(name))
        return await asyncio.shield(task)

    async def _check(self, name: str) -> bool:
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._checks[name]()
        except Exception as error:  # noqa: BLE001 - however it fails, it is unhealthy
            log.info("%s is unhealthy: %r", name, error)
            return False
        return True
