"""Builds, from the settings, what works on the database beside a rollback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from . import wiring
from .ports import Notice
from .schema_change import SchemaChange
from .schema_records import SchemaBook
from .settings import Settings
from .targets.database.stairway import Stair, climb

__all__ = ["schema_book", "schema_change", "stairway"]


@asynccontextmanager
async def schema_change(
    settings: Settings, *, notice: Notice = lambda _: None
) -> AsyncIterator[SchemaChange]:
    """What rolls the schema back; raises `SettingMissing` for what it needs."""
    async with (
        wiring.database(settings, notice=notice) as database,
        wiring.ledger(settings, notice=notice) as ledger,
    ):
        yield SchemaChange(
            database=database,
            ledger=ledger,
            channels=wiring.channels(settings),
            clock=wiring.clock(),
            tokens=wiring.tokens(),
            policy=wiring.policy(settings),
            notice=notice,
        )


@asynccontextmanager
async def schema_book(
    settings: Settings, *, notice: Notice = lambda _: None
) -> AsyncIterator[SchemaBook]:
    """What records the versions of the schema."""
    async with (
        wiring.database(settings, notice=notice) as database,
        wiring.ledger(settings, notice=notice) as ledger,
    ):

        async def applied() -> tuple[str, ...]:
            return (await database.history()).versions

        yield SchemaBook(
            ledger=ledger,
            database=database,
            history=applied,
            folder=settings.migrations,
            environment=settings.environment,
        )


async def stairway(
    settings: Settings, *, url: str | None, seed: int, notice: Notice
) -> tuple[Stair, ...]:
    """Take every migration up, down and up, on a scratch database."""
    scratch = settings.scratch_url.get_secret_value() if settings.scratch_url else None
    return await climb(
        url
        or scratch
        or settings.need("database_direct_url", purpose="to make a scratch database"),
        settings.migrations,
        schemas=settings.schemas,
        seed=seed,
        notice=notice,
    )
