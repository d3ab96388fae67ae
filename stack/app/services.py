"""What the endpoints of one deployment work with."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

from stack.app.auth import Auth
from stack.app.cache import Cache, client
from stack.app.counters import Counters
from stack.app.database import Database, Heartbeat
from stack.app.health import LIMIT_S, Health
from stack.app.payments import Payments
from stack.app.reporting import Reporter
from stack.app.settings import Settings
from stack.app.stripe_api import Stripe


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Every dependency, reached by this deployment's own routes."""

    settings: Settings
    database: Database
    cache: Cache
    auth: Auth
    stripe: Stripe
    payments: Payments
    counters: Counters
    reporter: Reporter

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Make the clients; nothing is connected yet."""
        database = Database(settings.database_url, settings.connections)
        stripe = Stripe(
            settings.stripe_url, settings.stripe_key, settings.stripe_webhook_secret
        )
        return cls(
            settings=settings,
            database=database,
            cache=Cache(settings.redis_url),
            auth=Auth(settings.auth_url, settings.auth_key),
            stripe=stripe,
            payments=Payments(database, stripe, keeps_tax=settings.since("v3")),
            counters=Counters(settings.redis_url, settings.deployment),
            reporter=Reporter(settings),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Health]:
        """Open everything without waiting for it, give the checks, close everything.

        The checks of PostgreSQL and Redis have connections of their own: a pool that
        is used up is no lost dependency.
        """
        heartbeat = Heartbeat(self.settings.database_url)
        redis = client(self.settings.redis_url, LIMIT_S)
        async with AsyncExitStack() as stack:
            parts = (self.database, self.cache, self.auth, self.stripe, self.counters)
            for part in (self.reporter, *parts, heartbeat):
                stack.push_async_callback(part.close)
            stack.push_async_callback(redis.aclose)
            await self.database.open()
            self.counters.open()
            yield Health(
                {
                    "database": heartbeat.check,
                    "redis": redis.ping,
                    "stripe": self.stripe.check,
                    "auth": self.auth.check,
                }
            )
