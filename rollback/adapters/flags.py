"""Feature flags in Redis: hash `feature_flags`, and `feature_rollbacks` for what was.

What a flag held is saved and the flag switched in one transaction, on what was read
(WATCH, MULTI, EXEC): nobody sees one without the other, and a state that changes in
between is read again. Transactions rather than Lua: they work in bytes, and wherever
Redis' protocol is spoken, Upstash and the practice stack's stand-in without Lua too.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import cast

import stamina
from anyio import fail_after, move_on_after
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from rollback.errors import FlagsUnreachable

from .flag_records import Held, put_back, switched_off
from .redis import CLOSE_SECONDS, place

__all__ = ["RedisFlags"]

FLAGS, SAVED = "feature_flags", "feature_rollbacks"
ATTEMPTS = 3
CONFLICTS = 50  # each means that somebody else has changed a flag in that very moment
EPOCH = datetime.fromtimestamp(0, UTC)
LOST = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)

Change = Callable[[str, Held, datetime], Held | None]


class RedisFlags:
    """Flags in one Redis (port `FlagStore`).

    `timeout_seconds` is for one attempt; what is lost on the way is tried three times,
    as a change that was made already is no second change.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 3.0) -> None:
        self._url, self._timeout = url, timeout_seconds
        self._where = place(url)

    async def is_off(self, name: str) -> bool:
        """Whether the flag is off; see the port."""
        return await self._is(switched_off, name)

    async def is_back(self, name: str) -> bool:
        """Whether the flag is as it was; see the port."""
        return await self._is(put_back, name)

    async def disable(self, name: str, *, at: datetime) -> None:
        """Save the flag's state and switch it off, in one step; see the port."""
        await self._reach(lambda pipe: _change(pipe, switched_off, name, at))

    async def restore(self, name: str, *, at: datetime) -> None:
        """Put the saved state back; see the port."""
        await self._reach(lambda pipe: _change(pipe, put_back, name, at))

    async def _is(self, change: Change, name: str) -> bool:
        async def look(pipe: Pipeline) -> bool:
            return change(name, await _held(pipe, name), EPOCH) is None

        return await self._reach(look)

    async def _reach(self, ask: Callable[[Pipeline], Awaitable[bool]]) -> bool:
        try:
            async for attempt in stamina.retry_context(
                on=LOST, attempts=ATTEMPTS, wait_initial=0.1, wait_max=0.5
            ):
                with attempt, fail_after(self._timeout):
                    async with self._pipeline() as pipe:
                        answer = await ask(pipe)
        except (RedisError, OSError, TimeoutError) as error:
            raise FlagsUnreachable(
                f"Redis at {self._where} cannot be used for the flags: "
                f"{str(error).rstrip('.') or type(error).__name__}."
            ) from error
        return answer

    @asynccontextmanager
    async def _pipeline(self) -> AsyncIterator[Pipeline]:
        """A connection for one transaction, which watches both hashes."""
        redis = Redis.from_url(self._url, retry=Retry(NoBackoff(), 0))
        pipe = redis.pipeline(transaction=True)
        try:
            await pipe.watch(FLAGS, SAVED)
            yield pipe
        finally:
            for close in (pipe.aclose, redis.aclose):
                with move_on_after(CLOSE_SECONDS, shield=True), suppress(RedisError):
                    await close()


async def _change(pipe: Pipeline, change: Change, name: str, at: datetime) -> bool:
    """Make the change on what is held now, or again on what came meanwhile."""
    for _ in range(CONFLICTS):
        after = change(name, await _held(pipe, name), at)
        if after is None:
            return False
        pipe.multi()  # type: ignore[no-untyped-call]  # redis says no type for it
        pipe.hset(FLAGS, name, after.state or b"")
        pipe.hset(SAVED, name, after.record or b"")
        try:
            await pipe.execute()
        except WatchError:
            await pipe.watch(FLAGS, SAVED)
        else:
            return True
    raise FlagsUnreachable(
        f"The flags changed {CONFLICTS} times while {name} was to be changed.",
        mend="Run it again; something writes flags without a pause.",
    )


async def _held(pipe: Pipeline, name: str) -> Held:
    """Both values as they are, read at once while the hashes are watched."""
    state = await cast("Awaitable[bytes | None]", pipe.hget(FLAGS, name))
    record = await cast("Awaitable[bytes | None]", pipe.hget(SAVED, name))
    return Held(state=state, record=record)
