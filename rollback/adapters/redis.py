"""Counters that the app writes into Redis, one hash for each deployment and second.

The hash `requests:<deployment id>:<unix second>` holds `requests`, `failed` (answered
with 500 or more) and `slow`, each counted when the answer is complete. A hash with
`requests` 0 says that the app is there and nobody came, which is not silence.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from anyio import fail_after, move_on_after
from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from rollback.errors import SettingsInvalid, SourceDown
from rollback.model import Counts, PlatformDeployment

__all__ = ["CLOSE_SECONDS", "RedisCounters", "place"]

CLOSE_SECONDS = 1.0
FIELDS = ("requests", "failed", "slow")


def place(url: str) -> str:
    """Where this Redis is, without the password; `SettingsInvalid` if it is no URL."""
    try:
        facts = parse_url(url)
    except ValueError:
        # Without the cause, which may show the password.
        raise SettingsInvalid(
            "The address of Redis cannot be read.",
            mend="Give it as redis://user:password@host:port, or with rediss://.",
        ) from None
    return f"{facts.get('host', 'localhost')}:{facts.get('port', 6379)}"


class RedisCounters:
    """The app's own counters (port `MetricSource`, passive).

    `timeout_seconds` is for connecting and for the whole answer.
    """

    name = "redis"
    lag_seconds = 2

    def __init__(self, url: str, *, timeout_seconds: float = 3.0) -> None:
        self._url, self._timeout = url, timeout_seconds
        self._where = place(url)

    def watching(
        self,
        deployment: PlatformDeployment,  # noqa: ARG002 - the port's; nothing to do
    ) -> AbstractAsyncContextManager[None]:
        """Do nothing: the app counts."""
        return nullcontext()

    async def counts(
        self, deployment: PlatformDeployment, *, since: int, until: int
    ) -> tuple[Counts, ...]:
        """The counts of the seconds in [since, until), read in one round trip."""
        seconds = range(since, until)
        if not seconds:
            return ()
        try:
            rows = await self._read([f"requests:{deployment.id}:{s}" for s in seconds])
            return tuple(
                Counts(second=second, **_numbers(row))
                for second, row in zip(seconds, rows, strict=True)
                if any(value is not None for value in row)  # "0" has spoken too
            )
        except (RedisError, OSError, TimeoutError, ValueError, TypeError) as error:
            raise SourceDown(
                f"Redis at {self._where} cannot be read: "
                f"{str(error).rstrip('.') or type(error).__name__}."
            ) from error

    async def _read(self, keys: Sequence[str]) -> list[list[str | None]]:
        redis = Redis.from_url(
            self._url, decode_responses=True, retry=Retry(NoBackoff(), 0)
        )
        try:
            with fail_after(self._timeout):
                pipeline = redis.pipeline(transaction=False)
                for key in keys:
                    pipeline.hmget(key, FIELDS)
                rows: list[list[str | None]] = await pipeline.execute()
                return rows
        finally:
            with move_on_after(CLOSE_SECONDS, shield=True):
                await redis.aclose()


def _numbers(row: Sequence[str | None]) -> dict[str, int]:
    return {field: int(value or 0) for field, value in zip(FIELDS, row, strict=True)}
