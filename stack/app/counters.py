"""What users experienced, per second and deployment, for whoever judges the release.

Hash ``requests:<deployment>:<unix second>`` in Redis: ``requests``, ``failed``
(answered with 500 or above), ``slow`` (took longer than 3000 ms).
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
        sums = self._sums[int(time.time())]
        for index, value in enumerate((True, failed, slow)):
            sums[index] += value

    def around(self, app: App) -> App:
        """Give the app with every request of a user counted once it is answered."""

        async def counted(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or not _is_by_a_user(scope):
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
                self.count(failed=status >= FAILED, slow=slow)

        return counted

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


def _is_by_a_user(scope: Message) -> bool:
    agent = dict(scope["headers"]).get(b"user-agent", b"")
    return scope["path"] != "/api/health" and not agent.startswith(PROBE)
