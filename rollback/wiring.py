"""Builds the engine from the settings: the only file that names adapters."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import TypeVar

from . import verify
from .adapters.clock import RandomTokens, SystemClock
from .adapters.flags import RedisFlags
from .adapters.postgres import PostgresLedger
from .adapters.probes import HttpSite, Probes
from .adapters.prometheus import Prometheus, Queries
from .adapters.redis import RedisCounters
from .adapters.sentry import SentryErrors
from .adapters.sentry_transactions import SentryTransactions
from .adapters.slack import SlackWebhook
from .adapters.spool import Spool
from .adapters.spooling import SpoolingLedger
from .adapters.vercel import VercelPlatform
from .adapters.vercel_cache import VercelCache
from .adapters.vercel_project import VercelProject
from .availability import Shelf
from .decide import Limits
from .engine import Engine, Policy
from .environment import fingerprints, read_file
from .errors import NotATarget, Unreachable
from .incident import Budgets
from .model import EnvironmentVariable, FlowResult, Signal
from .ports import (
    Channel,
    Clock,
    ErrorSource,
    Ledger,
    MetricSource,
    Site,
    Target,
    Tokens,
)
from .response import Notice
from .settings import Settings
from .switch import Switch
from .targets.api import Api
from .targets.application import Application
from .targets.database.backup import Backups
from .targets.database.postgres import PostgresDatabase, Rules
from .targets.flags import EdgeCache, Flags

__all__ = [
    "backups",
    "channels",
    "clock",
    "database",
    "engine",
    "ledger",
    "limits",
    "now",
    "policy",
    "project",
    "shelf",
    "site",
    "smoke",
    "switch",
    "tokens",
    "variables",
]

T = TypeVar("T")


def limits(settings: Settings, *, confidence: float | None = None) -> Limits:
    """The decision matrix's thresholds. Availability is a limit on its opposite."""
    return Limits(
        thresholds=(
            (Signal.ERROR_RATE, settings.error_rate),
            (Signal.RESPONSE_TIME, settings.slow_share),
            (Signal.AVAILABILITY, round(1 - settings.availability, 9)),
        ),
        critical_errors=settings.critical_errors,
        window_seconds=settings.window_seconds,
        min_requests=settings.min_requests,
        healthy_requests=settings.healthy_requests,
        alpha=settings.alpha,
        confidence=confidence,
        batch_seconds=settings.batch_seconds,
        cap=settings.evidence_cap,
        horizon_seconds=settings.horizon_seconds,
        strict_window=settings.strict_window,
    )


@asynccontextmanager
async def ledger(
    settings: Settings, *, notice: Notice = lambda _: None
) -> AsyncIterator[Ledger]:
    """The ledger alone; what it cannot be told is kept in the spool."""
    known = PostgresLedger(
        settings.need("ledger_url", purpose="to know what was deployed")
    )
    spool = Spool(settings.spool)
    yield SpoolingLedger(known, spool, tokens=RandomTokens(), notice=notice)


@asynccontextmanager
async def database(
    settings: Settings, *, notice: Notice = lambda _: None
) -> AsyncIterator[PostgresDatabase]:
    """The application's database; raises `SettingMissing` without an address."""
    settings.need("database_direct_url", purpose="to reach the database")
    async with ledger(settings, notice=notice) as book:
        yield _postgres(settings, book)


def backups(settings: Settings) -> Backups:
    """The backups of the application's database."""
    return Backups(
        url=settings.need("database_direct_url", purpose="to back it up"),
        where=settings.backups,
        programs=settings.postgres_programs,
        schemas=settings.schemas,
        jobs=settings.backup_jobs,
        kept=settings.backups_kept,
        clock=clock(),
    )


def _database(settings: Settings, book: Ledger) -> PostgresDatabase | None:
    return _postgres(settings, book) if settings.database_direct_url else None


def _postgres(settings: Settings, book: Ledger) -> PostgresDatabase:
    url = settings.need("database_direct_url", purpose="to reach the database")
    scratch = settings.scratch_url
    return PostgresDatabase(
        url=url,
        scratch_url=scratch.get_secret_value() if scratch else url,
        backups=backups(settings),
        records=partial(book.schemas, settings.environment),
        rules=Rules(
            migrations=settings.migrations,
            schemas=settings.schemas,
            programs=settings.postgres_programs,
            lock_timeout_ms=settings.lock_timeout_ms,
            lock_attempts=settings.lock_attempts,
            stall_limit_seconds=settings.stall_limit_seconds,
            timeout_seconds=settings.migration_timeout_seconds,
        ),
        clock=clock(),
    )


PROJECTS = {"application": "vercel_project_id", "api": "vercel_api_project_id"}


def shelf(settings: Settings, *, part: str, notice: Notice) -> Shelf:
    """What the platform keeps of a part, where its project is set."""
    known = settings.vercel_token and getattr(settings, PROJECTS[part])
    return Shelf(
        platform=_vercel(VercelPlatform, settings, PROJECTS[part]) if known else None,
        project=project(settings, part=part) if known else None,
        now=now(),
        notice=notice,
    )


def project(settings: Settings, *, part: str = "application") -> VercelProject:
    """The settings of a part's project on the platform."""
    return _vercel(VercelProject, settings, PROJECTS[part])


async def variables(
    settings: Settings, *, part: str, text: str | None, notice: Notice
) -> tuple[EnvironmentVariable, ...]:
    """The environment that is recorded: of a `.env` file's text, or the platform's.

    That it cannot be read is no reason not to record a deployment.
    """
    key = settings.fingerprint_key
    secret = key.get_secret_value() if key else None
    if text is not None:
        return fingerprints(read_file(text), secret)
    try:
        found = await project(settings, part=part).variables()
    except (Unreachable, NotATarget) as error:
        notice(f"the environment variables are not recorded: {error.message}")
        return ()
    return fingerprints(found, secret)


def _vercel(
    kind: Callable[..., T], settings: Settings, project: str = "vercel_project_id"
) -> T:
    return kind(
        token=settings.need("vercel_token", purpose="to ask the platform"),
        team_id=settings.vercel_team_id,
        project_id=settings.need(project, purpose="to ask the platform"),
        url=settings.vercel_api_url,
    )


@asynccontextmanager
async def site(settings: Settings) -> AsyncIterator[Site]:
    """The site alone."""
    secret = settings.vercel_bypass_secret
    yield HttpSite(bypass_secret=secret.get_secret_value() if secret else None)


async def smoke(site: Site, url: str) -> tuple[FlowResult, ...]:
    """The critical flows against an address, with data of their own."""
    token = f"{SystemClock().now():%Y%m%d%H%M%S}-{RandomTokens().new()}"
    return await verify.smoke(site, url, token=token)


@asynccontextmanager
async def engine(
    settings: Settings,
    *,
    confidence: float | None = None,
    notice: Notice = lambda _: None,
) -> AsyncIterator[Engine]:
    """The engine of one environment; raises `SettingMissing` for what it needs."""
    clock = SystemClock()
    platform = _vercel(VercelPlatform, settings)
    api = settings.vercel_api_project_id and _vercel(
        VercelPlatform, settings, "vercel_api_project_id"
    )
    seconds = settings.move_timeout_seconds
    targets: dict[str, Target] = {
        "application": Application(platform, timeout_seconds=seconds)
    }
    if api:
        targets["api"] = Api(api, timeout_seconds=seconds)
    async with ledger(settings, notice=notice) as book, site(settings) as outside:
        yield Engine(
            ledger=book,
            platform=platform,
            site=outside,
            sources=_sources(settings, outside, clock),
            errors=_errors(settings, clock),
            channels=channels(settings),
            targets=targets,
            clock=clock,
            tokens=RandomTokens(),
            policy=policy(settings, confidence),
            notice=notice,
            api=api or None,
            database=_database(settings, book),
        )


@asynccontextmanager
async def switch(
    settings: Settings, *, notice: Notice = lambda _: None
) -> AsyncIterator[Switch]:
    """What switches features; raises `SettingMissing` for what it needs."""
    clock, own = SystemClock(), policy(settings)
    flags = RedisFlags(settings.need("redis_url", purpose="to switch flags"))
    seconds = settings.purge_timeout_seconds
    cache = _vercel(partial(VercelCache, patience_seconds=seconds), settings)
    async with ledger(settings, notice=notice) as book, site(settings) as outside:
        edge = EdgeCache(
            cache,
            outside,
            _vercel(VercelPlatform, settings),
            site_url=own.site_url,
            timeout_seconds=seconds,
        )
        yield Switch(
            ledger=book,
            channels=channels(settings),
            targets={"flags": Flags(flags, clock), "cdn": edge},
            clock=clock,
            tokens=RandomTokens(),
            policy=own,
            notice=notice,
            database=_database(settings, book),
        )


def policy(settings: Settings, confidence: float | None = None) -> Policy:
    """What the engine holds itself to."""
    return Policy(
        environment=settings.environment,
        site_url=settings.site_url and settings.site_url.rstrip("/"),
        api_url=settings.api_url and settings.api_url.rstrip("/"),
        limits=limits(settings, confidence=confidence),
        budgets=Budgets(
            identify=settings.identify_budget_seconds,
            initiate=settings.initiate_budget_seconds,
            verify=settings.verify_budget_seconds,
            communicate=settings.communicate_budget_seconds,
        ),
        baseline=settings.baseline,
        silence_seconds=settings.silence_seconds,
        look_every_seconds=settings.look_every_seconds,
        error_poll_seconds=settings.error_poll_seconds,
        healthy_in_a_row=settings.healthy_in_a_row,
        schema_unattended=settings.gate_schema,
    )


def _sources(settings: Settings, site: Site, clock: Clock) -> tuple[MetricSource, ...]:
    probes = Probes(
        site,
        clock=clock,
        rate=settings.probe_rate,
        path=settings.probe_path,
        slow_ms=settings.response_time_ms,
        timeout_seconds=settings.probe_timeout_seconds,
    )
    sources: list[MetricSource] = [probes]
    if settings.redis_url:
        sources.append(RedisCounters(settings.redis_url.get_secret_value()))
    if settings.prometheus_url:
        sources.append(_prometheus(settings, clock))
    if settings.sentry_transactions:
        sources.append(_transactions(settings, clock))
    return tuple(sources)


def _prometheus(settings: Settings, clock: Clock) -> Prometheus:
    token = settings.prometheus_token
    standard = Queries()
    return Prometheus(
        settings.need("prometheus_url", purpose="to ask Prometheus"),
        token=token.get_secret_value() if token else None,
        queries=Queries(
            requests=settings.prometheus_requests or standard.requests,
            failed=settings.prometheus_failed or standard.failed,
            slow=settings.prometheus_slow or standard.slow,
        ),
        slow_ms=settings.response_time_ms,
        step_seconds=settings.prometheus_step_seconds,
        delay_seconds=settings.prometheus_lag_seconds,
        clock=clock,
    )


def _transactions(settings: Settings, clock: Clock) -> SentryTransactions:
    return SentryTransactions(
        token=settings.need("sentry_auth_token", purpose="to ask Sentry"),
        org=settings.need("sentry_org", purpose="to ask Sentry"),
        project=settings.need("sentry_project", purpose="to ask Sentry"),
        url=settings.sentry_url,
        environment=settings.environment,
        dataset=settings.sentry_dataset,
        slow_ms=settings.response_time_ms,
        lag_seconds=settings.sentry_lag_seconds,
        clock=clock,
    )


def _errors(settings: Settings, clock: Clock) -> tuple[ErrorSource, ...]:
    if settings.sentry_auth_token is None:
        return ()
    return (
        SentryErrors(
            token=settings.sentry_auth_token.get_secret_value(),
            org=settings.need("sentry_org", purpose="to ask Sentry"),
            project=settings.need("sentry_project", purpose="to ask Sentry"),
            url=settings.sentry_url,
            clock=clock,
        ),
    )


def channels(settings: Settings) -> tuple[Channel, ...]:
    """Who is told."""
    if settings.slack_webhook_url is None:
        return ()
    return (SlackWebhook(settings.slack_webhook_url.get_secret_value()),)


def clock() -> Clock:
    """The clock on the wall."""
    return SystemClock()


def tokens() -> Tokens:
    """Where ids come from."""
    return RandomTokens()


def now() -> datetime:
    """Wall time."""
    return SystemClock().now()
