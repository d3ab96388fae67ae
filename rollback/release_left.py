"""Which release has spoilt the data, and when it went live: a backup is from before."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from .engine import Engine
from .errors import LedgerUnreachable, RollbackError, UnknownDeployment
from .last_good import not_passed
from .model import Incident, Outcome

__all__ = ["Left", "release_left"]

# A rollback that is older says nothing any more about what is wrong today.
RECENT = timedelta(days=7)
LOOKED_AT = 100  # incidents: switched flags stand between them
PARTS = ("application", "api")
CARRIED_OUT = (Outcome.RESTORED, Outcome.ESCALATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A release, and the earliest moment at which it can have been live."""

    deployment_id: str
    since: datetime


async def release_left(engine: Engine) -> Left | None:
    """What is live and has not passed, else what the last rollback went away from.

    Of several parts the one that went live first; None where neither is known.
    """
    try:
        parts = await not_passed(engine)
        if parts:
            live = [
                (p, await engine.alone(p).preparation.deployments.live()) for p in parts
            ]
        else:
            live = await _rolled_back(engine)
        found = [await _left(engine.alone(part), name) for part, name in live]
    except RollbackError as error:
        engine.notice(
            f"which release has spoilt the data is not known: {error.message}"
        )
        return None
    return min(found, key=lambda left: left.since, default=None)


async def _rolled_back(engine: Engine) -> list[tuple[str, str]]:
    """By the last rollback, where its targets are live still."""
    environment, now = engine.policy.environment, engine.clock.now()
    known = [
        one
        for one in await engine.ledger.incidents(environment, limit=LOOKED_AT)
        if one.part in PARTS[: 2 if engine.api else 1]
    ]
    if not known or now - known[0].opened_at > RECENT:
        return []
    last = [one for one in known if one.opened_at == known[0].opened_at]
    return [
        (one.part, one.from_deployment) for one in last if await _stands(engine, one)
    ]


async def _stands(engine: Engine, one: Incident) -> bool:
    live = await engine.alone(one.part).preparation.deployments.live()
    went_back = one.outcome in CARRIED_OUT and one.undoes is None
    return went_back and one.to_deployment == live


async def _left(engine: Engine, deployment_id: str) -> Left:
    """Recorded again it has a later time; the first word of its health stays."""
    known = engine.preparation.deployments
    try:
        moments = [(await known.recorded(deployment_id)).timestamp]
    except UnknownDeployment:
        moments = [(await known.on_platform(deployment_id)).created_at]
    with suppress(LedgerUnreachable):
        history = await known.ledger.health_history(deployment_id, known.environment)
        moments.extend(record.at for record in history)
    return Left(deployment_id=deployment_id, since=min(moments))
