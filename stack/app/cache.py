"""Redis: sessions, feature flags and a cache. Nothing in it is the only copy."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from stack.app.errors import CacheUnavailable

TIMEOUT_S = 1.0
SESSION_S = 24 * 3600
SUPPLIER_COUNT_S = 10
FLAGS = "feature_flags"
ENABLED = "enabled"
_SUPPLIER_COUNT = "cache:supplier-count"


class Cache:
    """The Redis of one deployment. A lost or slow one is `CacheUnavailable`."""

    def __init__(self, url: str) -> None:
        self._redis = client(url, TIMEOUT_S)

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()

    async def begin_session(self, supplier: str) -> str | None:
        """Store a session and give its token; None if there can be none now.

        Whoever has just signed up has an account all the same, and can sign in later.
        """
        token = secrets.token_urlsafe(24)
        with contextlib.suppress(CacheUnavailable), _as_app_errors():
            async with asyncio.timeout(TIMEOUT_S):
                await self._redis.set(f"session:{token}", supplier, ex=SESSION_S)
            return token
        return None

    async def front_page(self, token: str) -> tuple[str | None, int | None]:
        """Give the supplier who is signed in, and the cached number of suppliers.

        Raises:
            CacheUnavailable: Redis did not answer within a second.

        """
        keys = [f"session:{token}", _SUPPLIER_COUNT]
        with _as_app_errors():
            async with asyncio.timeout(TIMEOUT_S):
                values = await self._redis.mget(keys)
        supplier, count = cast("list[str | None]", values)  # responses are decoded
        return supplier, None if count is None else int(count)

    async def keep_supplier_count(self, count: int) -> None:
        """Cache the number of suppliers for a while, if that is possible."""
        with contextlib.suppress(CacheUnavailable), _as_app_errors():
            async with asyncio.timeout(TIMEOUT_S):
                await self._redis.set(_SUPPLIER_COUNT, count, ex=SUPPLIER_COUNT_S)

    async def flag(self, name: str) -> str | None:
        """Give the stored state of a flag, None if it was never set.

        Raises:
            CacheUnavailable: Redis did not answer within a second.

        """
        with _as_app_errors():
            async with asyncio.timeout(TIMEOUT_S):
                return cast("str | None", await self._redis.hget(FLAGS, name))


def client(url: str, seconds: float) -> Redis:
    """Give a client that connects without a greeting and never tries again by itself.

    A pooled connection that the server closed is replaced when it is taken, so
    the first command after an outage succeeds.
    """
    return Redis.from_url(
        url,
        decode_responses=True,
        protocol=2,
        driver_info=None,
        max_connections=50,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
    )


@contextmanager
def _as_app_errors() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:  # a TimeoutError is an OSError
        raise CacheUnavailable from error
