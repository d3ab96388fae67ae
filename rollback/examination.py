"""What is looked at by `rollback doctor`: side by side, each within its time.

It names adapters, as the wiring does: what is asked of a vendor here is asked in the
way in which a rollback will ask it.
"""

import anyio

from . import verify, wiring
from .adapters.postgres import PostgresLedger
from .adapters.spool import Spool
from .availability import Place, too_short
from .checks import Amiss, Check, Finding, Look
from .database_checks import LOOKS as DATABASE
from .engine import Engine
from .errors import NoStableDeployment, RollbackError
from .model import HealthStatus
from .settings import Settings
from .track import KEPT
from .transactions import same_database

__all__ = ["Check", "Finding", "examine"]

SECONDS = 15.0
SKEW_SECONDS = 5.0
KEY_LENGTH = 16


async def examine(settings: Settings) -> tuple[Check, ...]:
    """Every check, in the order in which they are to be read."""
    found: dict[str, Check] = {}

    async def run(name: str, look: Look) -> None:
        found[name] = await _bounded(name, look, settings)

    async with anyio.create_task_group() as group:
        for name, look in LOOKS.items():
            group.start_soon(run, name, look)
    return tuple(found[name] for name in LOOKS)


async def _bounded(name: str, look: Look, settings: Settings) -> Check:
    said, mend = f"no answer within {SECONDS:.0f} s", "See whether it can be reached."
    finding = Finding.WRONG
    with anyio.move_on_after(SECONDS):
        try:
            said, mend, finding = await look(settings), "", Finding.OK
        except Amiss as amiss:
            said, mend, finding = amiss.said, amiss.mend, amiss.finding
        except Exception as error:  # noqa: BLE001 - one check must not hide the others
            known = _as_ours(error)
            said, mend = known.message, known.mend
    return Check(name=name, finding=finding, said=said, mend=mend)


def _as_ours(error: BaseException) -> RollbackError:
    """By its type alone where it is not ours: its text may show what was tried."""
    if isinstance(error, RollbackError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return _as_ours(error.exceptions[0])
    return RollbackError(f"The check broke off: {type(error).__name__}.")


async def _settings(settings: Settings) -> str:
    for name in ("ledger_url", "vercel_token", "vercel_project_id"):
        settings.need(name, purpose="to roll anything back")
    return f"the environment is {settings.environment}"


async def _ledger(settings: Settings) -> str:
    url = settings.need("ledger_url", purpose="to know what was deployed")
    return f"{await PostgresLedger(url).writable()} can be written"


async def _own_database(settings: Settings) -> str:
    url = settings.need("ledger_url", purpose="to know what was deployed")
    application = settings.database_url
    if application and same_database(url, application.get_secret_value()):
        raise Amiss(
            "the ledger is in the application's own database: when that is down, what "
            "was stable is not known",
            "Advice: let ROLLBACK_LEDGER_URL be a small database elsewhere.",
        )
    return "the ledger has a database of its own"


async def _spool(settings: Settings) -> str:
    waiting = Spool(settings.spool).waiting()
    if waiting:
        raise Amiss(
            f"{settings.spool} holds what the ledger has not been told yet",
            "The next command that reaches the ledger delivers it: `rollback history`.",
        )
    return f"nothing waits in {settings.spool}"


async def _platform(settings: Settings) -> str:
    async with wiring.engine(settings) as engine:
        hosts = await engine.platform.production_hosts()
        live = await engine.platform.live()
    if not live:
        raise Amiss(
            f"no production host serves a deployment ({', '.join(hosts) or 'no host'})",
            "Assign a domain to the project and deploy to production.",
            Finding.WRONG,
        )
    if len(set(live.values())) > 1 or len(live) < len(hosts):
        raise Amiss(
            "the production hosts differ: "
            + ", ".join(f"{host}: {live.get(host, 'nothing')}" for host in hosts),
            "Assign every production domain to one deployment.",
        )
    return f"{', '.join(live)} serve {next(iter(live.values()))}"


async def _bypass(settings: Settings) -> str:
    async with wiring.engine(settings) as engine:
        live = await engine.platform.deployment(await _live(engine))
        if live is None:
            raise Amiss("what is live is not known", "See the check before this one.")
        seen = await verify.health_of(
            engine.site, live.url, clock=engine.clock, protected=True
        )
    if not seen.healthy:
        why = seen.problem or f"unhealthy: {', '.join(sorted(seen.unhealthy))}"
        raise Amiss(
            f"{live.url} opens, and its health check does not pass: {why}",
            "See what is wrong with what is live: `rollback health`.",
        )
    return f"{live.url} opens, and is healthy"


async def _live(engine: Engine) -> str:
    return next(iter((await engine.platform.live()).values()), "")


async def _sources(settings: Settings) -> str:
    async with wiring.engine(settings) as engine:
        live = await engine.platform.deployment(await _live(engine))
        second = int(engine.clock.now().timestamp())
        asked = [source for source in engine.sources if source.name != "probes"]
        for source in asked:
            if live:
                await source.counts(live, since=second - 60, until=second)
    if not asked:
        raise Amiss(
            "probes alone measure: what users themselves meet is not counted",
            "Advice: set REDIS_URL or PROMETHEUS_URL (docs/sources.md).",
        )
    return f"{', '.join(source.name for source in asked)} answer"


async def _errors(settings: Settings) -> str:
    if settings.sentry_auth_token is None:
        raise Amiss(
            "Sentry is not set: critical errors roll nothing back",
            "Set SENTRY_AUTH_TOKEN, SENTRY_ORG and SENTRY_PROJECT.",
        )
    async with wiring.engine(settings) as engine:
        live = await engine.platform.deployment(await _live(engine))
        for source in engine.errors:
            if live:
                await source.critical_errors(
                    live,
                    codes=settings.critical_errors,
                    environment=settings.environment,
                    since=engine.clock.now(),
                )
    return f"{settings.sentry_org}/{settings.sentry_project} answers"


async def _slack(settings: Settings) -> str:
    if settings.slack_webhook_url is None:
        raise Amiss("nobody would be told of a rollback", "Set SLACK_WEBHOOK_URL.")
    return "a webhook is set; nothing was posted"


async def _stable(settings: Settings) -> str:
    async with wiring.engine(settings) as engine:
        try:
            found = await engine.stable()
        except NoStableDeployment as error:
            live = await engine.ledger.find(await _live(engine), settings.environment)
            if live and live.health_check_status is HealthStatus.PASSING:
                return f"none before what is live, {live.deployment_id}, which passes"
            mend = f"{error.mend} Or begin with `rollback init`."
            raise Amiss(error.message, mend) from error
    return f"a rollback would go back to {found.deployment_id}"


async def _kept(settings: Settings) -> str:
    async with wiring.ledger(settings) as ledger:
        recorded = await ledger.history(
            settings.environment, limit=KEPT, part="application"
        )
    shelf = wiring.shelf(settings, part="application", notice=lambda _: None)
    places = await shelf.look_up(recorded)
    named = {
        place: [each.deployment_id for each in places if each.place is place]
        for place in (Place.GONE, Place.LEAVING)
    }
    if named[Place.LEAVING]:
        raise Amiss(
            f"about to be deleted: {', '.join(named[Place.LEAVING])}",
            "Keep deployments longer: `rollback init`.",
        )
    if named[Place.GONE]:
        raise Amiss(
            f"gone from the platform: {', '.join(named[Place.GONE])}",
            "A rollback passes them over; keep deployments longer: `rollback init`.",
        )
    return f"{len(places)} of the last {KEPT} are on record, and on the platform"


async def _retention(settings: Settings) -> str:
    kept = await wiring.project(settings).retention()
    days = "for ever" if kept.days is None else f"{kept.days} days"
    if too_short(kept, wanted=KEPT):
        raise Amiss(
            f"production deployments are kept {days}, the newest {kept.kept} longer",
            f"To keep the last {KEPT}, let `rollback init` set it, or do it by hand.",
        )
    return f"deployments are kept {days}, and the newest {kept.kept} in any case"


async def _clock(settings: Settings) -> str:
    seconds = await wiring.project(settings).clock_skew(wiring.now)
    said = (
        f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the platform"
    )
    if abs(seconds) > SKEW_SECONDS:
        raise Amiss(f"this machine's clock is {said}", "Set it by NTP.")
    return "this machine's clock is the platform's"


async def _key(settings: Settings) -> str:
    if settings.fingerprint_key is None:
        raise Amiss(
            "environment variables are recorded by name alone",
            "Set ROLLBACK_FINGERPRINT_KEY to 32 random letters, the same everywhere.",
        )
    if len(settings.fingerprint_key.get_secret_value()) < KEY_LENGTH:
        raise Amiss(
            f"the fingerprint key is shorter than {KEY_LENGTH} letters",
            "Set ROLLBACK_FINGERPRINT_KEY to 32 random letters.",
        )
    return "environment variables have fingerprints"


LOOKS: dict[str, Look] = {
    "settings": _settings,
    "ledger": _ledger,
    "ledger's own database": _own_database,
    "spool": _spool,
    "platform and hosts": _platform,
    "own address": _bypass,
    "sources": _sources,
    "sentry": _errors,
    "slack": _slack,
    "last stable": _stable,
    "the last ten": _kept,
    "retention": _retention,
    "clock": _clock,
    "fingerprint key": _key,
    **DATABASE,
}
