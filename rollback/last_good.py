"""The last good deployment live again, as a step of a recovery: by the engine."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from .engine import Engine
from .errors import AlreadyRollingBack, LedgerUnreachable, RollbackError, StepFailed
from .model import HealthStatus, Incident, Outcome, Step
from .ports import Database, Notice
from .schema import Backup, Fingerprint, Receipt, SchemaPlan
from .track import KEPT

__all__ = ["BackedUp", "LastGood", "not_passed"]

FINE = (Outcome.RESTORED, Outcome.NOTHING_TO_DO)


async def not_passed(engine: Engine) -> tuple[str, ...]:
    """The parts of which something is live that is not known to have passed.

    The API only where something of it is recorded: else nothing is known of it at all.
    Without the ledger nothing is known to have passed, and the application counts: but
    for what the platform's own last rollback went back to, from which a second run
    would go further back.
    """
    try:
        return tuple(
            [name for name in _parts(engine) if await _not_passed(engine, name)]
        )
    except LedgerUnreachable as error:
        engine.notice(f"what has passed is not known: {error.message}")
        return () if await _gone_back_to(engine) else ("application",)


def _parts(engine: Engine) -> tuple[str, ...]:
    return ("application", *(("api",) if engine.api else ()))


async def _not_passed(engine: Engine, name: str) -> bool:
    known = engine.alone(name).preparation.deployments
    live = await known.ledger.find(await known.live(), known.environment)
    passed = live and live.health_check_status is HealthStatus.PASSING
    return not passed and bool(live or name == "application")


async def _gone_back_to(engine: Engine) -> bool:
    application = engine.alone("application")
    asked = await application.platform.last_request()
    live = await application.preparation.deployments.live()
    return bool(asked and asked.kind == "rollback" and asked.to_deployment == live)


@dataclass(slots=True, kw_only=True)
class LastGood:
    """Lets the engine roll back whatever is live and has not passed.

    `token` names the recovery, and stands in the reason of what it does: so what an
    earlier run of the same recovery has left open is known as its own.
    """

    engine: Engine
    token: str
    notice: Notice
    name: str = "last-good"
    _ended: Incident | None = field(default=None, init=False)

    async def check(self, step: Step) -> bool:  # noqa: ARG002 - the port's
        """Whether what is live has passed."""
        return not await not_passed(self.engine)

    async def apply(self, step: Step, *, reason: str) -> str:  # noqa: ARG002 - the port's
        """Roll back, as a rollback by hand does; it is an incident of its own."""
        why = f"{reason} (recovery {self.token})"
        parts = await not_passed(self.engine)
        engine = await self._unhindered(why, parts)
        try:
            self._ended = await engine.roll_back(reason=why, only=parts)
        except AlreadyRollingBack:
            if not await self._end_own():
                raise
            self._ended = await engine.roll_back(reason=why, only=parts)
        if self._ended.outcome not in FINE:
            raise StepFailed(f"{self._ended.id}: {self._ended.detail}")
        return self._ended.detail

    async def verify(self, step: Step) -> str:  # noqa: ARG002 - the port's
        """It was measured from outside by the rollback itself."""
        if self._ended is None:
            raise StepFailed
        return f"{self._ended.id}: {self._ended.detail}"

    async def _unhindered(self, why: str, parts: Sequence[str]) -> Engine:
        """The engine that waits for no backup, unless the schema has to go back too."""
        with suppress(RollbackError):  # it says itself why it cannot be done
            planned = await self.engine.plan(reason=why, only=parts)
            if planned and planned.schema is None:
                return replace(self.engine, database=None)
        return self.engine

    async def _end_own(self) -> bool:
        """Close what a killed run of this recovery has left open; whether it did.

        That run is dead: the recovery's own claim was free.
        """
        found = False
        known = await self.engine.ledger.incidents(
            self.engine.policy.environment, limit=KEPT
        )
        for one in known:
            if one.outcome is None and self.token in one.reason:
                self.notice(f"{one.id} was cut short, and is begun anew")
                cut = replace(
                    one, outcome=Outcome.ESCALATED, detail="cut short and begun anew"
                )
                await self.engine.ledger.save_incident(cut)
                found = True
        return found


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A database of which the one `backup` is taken elsewhere (port `Database`)."""

    database: Database
    backup: Callable[[], Awaitable[Backup]]

    async def back_up(self, label: str, *, notice: Notice) -> Backup:
        """The backup that there is, or that is under way: no second one."""
        del label, notice
        return await self.backup()

    async def version(self) -> str | None:
        """As the database says."""
        return await self.database.version()

    async def versions(self) -> tuple[str, ...]:
        """As the database says."""
        return await self.database.versions()

    async def plan(self, to: str, *, accept: frozenset[str]) -> SchemaPlan | None:
        """As the database says."""
        return await self.database.plan(to, accept=accept)

    async def rehearse(
        self, plan: SchemaPlan, backup: Backup, *, notice: Notice
    ) -> None:
        """As the database does."""
        await self.database.rehearse(plan, backup, notice=notice)

    async def roll_back(
        self, plan: SchemaPlan, backup: Backup, *, incident: str, notice: Notice
    ) -> Receipt:
        """As the database does."""
        return await self.database.roll_back(
            plan, backup, incident=incident, notice=notice
        )

    async def fingerprint(self) -> Fingerprint:
        """As the database says."""
        return await self.database.fingerprint()
