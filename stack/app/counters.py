"""What users experienced, per second and deployment, for whoever judges the release.

Hash ``requests:<deployment>:<unix second>`` in Redis: ``requests``, ``failed``
(answered with 500 or above), ``slow`` (took longer than 3000 ms). A hash of zeros says
"I am here, nobody came": so a night without visitors does not look like a dead counter.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from redis.exceptions import RedisError

from stack.app.cache import client

SLOW_S = 3.0
FAILED = 500
KEPT_S = 3600
FLUSH_EVERY_S = 0.25
TIMEOUT_S = 1.0
PROBE = b"rollback-probe"
HEALTH = "/api/health"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Counters:
    """Counts in memory and writes off the request path, a second's sums at a time.

    What cannot be written at once is dropped: a lost Redis must not cost a request
    anything, and a count that comes late would be taken for news.
    """

    def __init__(self, url: str, deployment: str) -> None:
        self._redis = client(url, TIMEOUT_S)
        self._prefix = f"requests:{deployment}"
        self._sums: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        self._writer: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start to write."""
        self._writer = asyncio.create_task(self._write_on())

    async def close(self) -> None:
        """Write what is left, and end."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        await self._flush()
        await self._redis.aclose()

    def count(self, *, failed: bool, slow: bool) -> None:
        """Count a request that was answered just now."""
        self._add(1, failed, slow)

    def speak(self) -> None:
        """Say that the app is here, whoever comes."""
        self._add(0, 0, 0)

    def around(self, app: App) -> App:
        """Give the app with every request of a user counted once it is answered.

        A probe of the rollback engine, which counts its probes itself, is none.
        """

        async def counted(scope: Message, receive: Receive, send: Send) -> None:
            probed = scope["type"] == "http" and _is_by_the_engine(scope)
            if scope["type"] != "http" or (scope["path"] == HEALTH and not probed):
                await app(scope, receive, send)
                return
            status = FAILED  # no answer at all is a failure
            begun = time.monotonic()

            async def watch(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, watch)
            finally:
                slow = time.monotonic() - begun > SLOW_S
                if probed:
                    self.speak()
                else:
                    self.count(failed=status >= FAILED, slow=slow)

        return counted

    def _add(self, *values: int) -> None:
        sums = self._sums[int(time.time())]
        for index, value in enumerate(values):
            sums[index] += value

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self._flush()

    async def _flush(self) -> None:
        sums, self._sums = self._sums, defaultdict(lambda: [0, 0, 0])
        if not sums:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for second, values in sums.items():
            key = f"{self._prefix}:{second}"
            for field, value in zip(
                ("requests", "failed", "slow"), values, strict=True
            ):
                pipeline.hincrby(key, field, value)
            pipeline.expire(key, KEPT_S)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await pipeline.execute()
        except (RedisError, OSError):  # a TimeoutError is an OSError
            return


def _is_by_the_engine(scope: Message) -> bool:
    agent: bytes = dict(scope["headers"]).get(b"user-agent", b"")
    return agent.startswith(PROBE)
