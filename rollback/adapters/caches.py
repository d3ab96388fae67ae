"""Keys in Redis by prefix: looked for with SCAN, removed with UNLINK, in batches.

Never FLUSHALL or FLUSHDB: flags and queues live beside the caches. Nor KEYS, which
holds up everybody else while it looks through all that there is.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio import fail_after, move_on_after
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from rollback.errors import KeysUnreachable
from rollback.ports import Notice

from .redis import CLOSE_SECONDS, place

__all__ = ["RedisKeys"]

BATCH = 500
ATTEMPTS = 2  # after the first; both SCAN and UNLINK may be repeated
TOLD_EVERY_SECONDS = 2.0
SPECIAL = "\\*?[]"


class RedisKeys:
    """The keys of one database of one Redis (port `Keys`).

    `timeout_seconds` is for each batch, not for all of them.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        self._url, self._timeout = url, timeout_seconds
        self._where = place(url)

    async def count(self, prefix: str) -> int:
        """How many keys begin with it now; see the port."""
        seen: set[bytes] = set()
        async with self._connected() as redis:
            async for batch in self._batches(redis, prefix):
                seen.update(batch)
        return len(seen)

    async def remove(self, prefix: str, *, notice: Notice) -> int:
        """Remove what begins with it, batch by batch; see the port."""
        removed, told = 0, anyio.current_time()
        async with self._connected() as redis:
            async for batch in self._batches(redis, prefix):
                with fail_after(self._timeout):
                    removed += await _unlink(redis, batch)
                if anyio.current_time() - told > TOLD_EVERY_SECONDS:
                    told = anyio.current_time()
                    notice(f"{removed} keys of {prefix} are removed so far")
        return removed

    async def _batches(self, redis: Redis, prefix: str) -> AsyncIterator[list[bytes]]:
        """Every key that is there from the first batch to the last, at least once.

        That it begins with the prefix is looked at here too: what is not to be removed
        must not hang on how a server reads a pattern.
        """
        wanted, pattern, cursor = prefix.encode(), _literal(prefix) + "*", 0
        while True:
            with fail_after(self._timeout):
                answer: Any = await redis.scan(cursor, match=pattern, count=BATCH)
            cursor, found = int(answer[0]), [bytes(key) for key in answer[1]]
            batch = [key for key in found if key.startswith(wanted)]
            if batch:
                yield batch
            if cursor == 0:
                return

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Redis]:
        redis = Redis.from_url(
            self._url,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), ATTEMPTS),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
        )
        try:
            yield redis
        except (RedisError, OSError, TimeoutError) as error:
            raise KeysUnreachable(
                f"Redis at {self._where} cannot be used for the caches: "
                f"{str(error).rstrip('.') or type(error).__name__}."
            ) from error
        finally:
            with move_on_after(CLOSE_SECONDS, shield=True):
                await redis.aclose()


async def _unlink(redis: Redis, keys: list[bytes]) -> int:
    """UNLINK frees large values in the background; where it is unknown, DEL."""
    answer: Any
    try:
        answer = await redis.unlink(*keys)
    except ResponseError:
        answer = await redis.delete(*keys)
    return int(answer)


def _literal(prefix: str) -> str:
    """The prefix as a pattern in which nothing has a meaning of its own."""
    return "".join(f"\\{sign}" if sign in SPECIAL else sign for sign in prefix)
