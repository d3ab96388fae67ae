"""Builds, from the settings, what recovers the state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from . import wiring
from .adapters.caches import RedisKeys
from .adapters.vercel_cache import VercelCache
from .ports import Cache, Keys, Notice, Restores
from .recover import Recovery
from .settings import Settings
from .targets.database.restoring import Restorer

__all__ = ["recovery"]


@asynccontextmanager
async def recovery(
    settings: Settings, *, notice: Notice = lambda _: None
) -> AsyncIterator[Recovery]:
    """What recovers the state; raises `SettingMissing` for what it needs."""
    async with wiring.engine(settings, notice=notice) as engine:
        yield Recovery(
            engine=engine,
            restores=_restores(settings),
            keys=_keys(settings),
            cache=_cache(settings) if settings.cache_tags else None,
            prefixes=settings.cache_prefixes,
            tags=settings.cache_tags,
        )


def _restores(settings: Settings) -> Restores | None:
    if settings.database_direct_url is None:
        return None
    return Restorer(
        url=settings.database_direct_url.get_secret_value(),
        store=wiring.backups(settings),
        kept=settings.backups_kept,
        programs=settings.postgres_programs,
        clock=wiring.clock(),
    )


def _keys(settings: Settings) -> Keys | None:
    if settings.redis_url is None:
        return None
    return RedisKeys(settings.redis_url.get_secret_value())


def _cache(settings: Settings) -> Cache:
    return VercelCache(
        token=settings.need("vercel_token", purpose="to purge the caches"),
        team_id=settings.vercel_team_id,
        project_id=settings.need("vercel_project_id", purpose="to purge the caches"),
        url=settings.vercel_api_url,
        patience_seconds=settings.purge_timeout_seconds,
    )
