"""State recovery: backup, last good deployment, restore, caches; as one incident.

It can be killed at any point and run again: the second run takes the first one's name
and goes on where that stopped. What must not be done twice is marked where it is done.
"""

from dataclasses import dataclass, replace

import anyio

from . import announce, execute, incident, verify
from .case import Case
from .engine import Engine
from .errors import AlreadyRollingBack, LedgerUnreachable, Refused, StepFailed
from .finish import to_the_end
from .last_good import BackedUp
from .model import Incident, Outcome, StepStatus
from .ports import Cache, Database, Keys, Restores
from .recovery_history import ENDED, PART, RESTORE_FROM, RESUMES, Ask
from .recovery_plan import Planner, RecoveryPlan
from .recovery_targets import RecoveryTargets
from .schema import Backup
from .targets.database.target import Backing

__all__ = ["Recovery"]

LEASE_SECONDS = 15.0  # shorter than others': who was killed is waited for
PATIENCE_SECONDS = 6.0
AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What recovers the state, through the engine and the ports."""

    engine: Engine
    restores: Restores | None = None
    keys: Keys | None = None
    cache: Cache | None = None
    prefixes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    lease_seconds: float = LEASE_SECONDS

    async def plan(self, ask: Ask) -> RecoveryPlan:
        """What would be done now; raises a `Refused` when it cannot be done safely."""
        return await self._planner.plan(ask)

    @property
    def _planner(self) -> Planner:
        return Planner(
            engine=self.engine,
            restores=self.restores,
            keys=self.keys,
            prefixes=self.prefixes,
            tags=self.tags if self.cache else (),
        )

    async def carry_out(self, planned: RecoveryPlan) -> Incident:
        """Do it, make sure from outside, tell and keep it.

        Raises `AlreadyRollingBack` when somebody else is at it, `Refused` when somebody
        was since it was planned, and `StepFailed` for what nobody thought of; that,
        too, leaves an incident and a call for help.
        """
        case = self._case(planned)
        if await self._claim(case):
            await self._require_as_planned(planned, case)
        run = _Run(recovery=self, planned=planned, case=case)
        try:
            return await case.see_through(
                lambda: case.with_backup(run.database, run.whole),
                broken="The recovery",
                then="run it again: it goes on where it stopped",
            )
        except StepFailed as error:
            mend = "Run it again: it goes on where it stopped."
            raise StepFailed(error.message, mend=mend) from error

    def _case(self, planned: RecoveryPlan) -> Case:
        engine, at = self.engine, self.engine.clock.now()
        return Case(
            opened=Incident(
                id=incident.new_id(at, engine.tokens.new()),
                environment=engine.policy.environment,
                from_deployment=PART,
                to_deployment=planned.plan.to_deployment,
                reason=planned.ask.reason,
                opened_at=at,
                part=PART,
            ),
            ledger=engine.ledger,
            channels=engine.channels,
            clock=engine.clock,
            budgets=engine.policy.budgets,
            notice=engine.notice,
            lease_seconds=self.lease_seconds,
        )

    async def _claim(self, case: Case) -> bool:
        """One recovery at a time; one that was killed is waited for, a few seconds.

        False where the ledger cannot be asked: then nobody else is kept out.
        """
        deadline = anyio.current_time() + self.lease_seconds + PATIENCE_SECONDS
        told = False
        while True:
            try:
                await case.claim()
            except AlreadyRollingBack as error:
                if anyio.current_time() > deadline:
                    raise
                if not told:
                    self.engine.notice(f"{error.message} Waiting whether it still is")
                told = True
                await anyio.sleep(AGAIN_SECONDS)
            except LedgerUnreachable as error:
                self.engine.notice(f"the ledger keeps nobody else out: {error.message}")
                return False
            else:
                return True

    async def _require_as_planned(self, planned: RecoveryPlan, case: Case) -> None:
        """Refuse when there was another recovery between the plan and the claim."""
        history = self._planner.history
        try:
            await history.require_none_since(
                planned.ask,
                last=planned.last,
                token=planned.resumes,
                own=case.opened.id,
            )
        except Refused as error:
            await case.keep(
                replace(case.opened, outcome=Outcome.REFUSED, detail=error.message)
            )
            raise


@dataclass(slots=True, kw_only=True)
class _Run:
    """One time that it is done."""

    recovery: Recovery
    planned: RecoveryPlan
    case: Case

    @property
    def database(self) -> Database | None:
        """What is backed up; the backup of the run that was cut short is taken over."""
        database, safe = self._engine.database, self.planned.safe
        if database is None or safe is None:
            return database

        async def taken() -> Backup:
            return safe

        return BackedUp(database, taken)

    async def whole(self, backing: Backing) -> Incident:
        """From the first word to the last, while the backup goes on."""
        opened = self.case.opened
        message = replace(announce.initiated(opened), title=_begins(opened))
        async with anyio.create_task_group() as group:
            group.start_soon(self.case.tell, message)
            await self._remember()
            done = await execute.execute(
                self.planned.in_turn,
                self._targets(backing).targets(),
                clock=self._engine.clock,
                journal=self.case.write,
                seen=self.case.steps.append,
            )
            seen = await self._measured(done)
        # What was measured is told and kept, whoever interrupts from here on.
        return await to_the_end(lambda: self._conclude(done, seen))

    async def _remember(self) -> None:
        """What a second run has to know of this one."""
        await self.case.note(RESUMES, self._token)
        if self.planned.restoring:
            await self.case.note(RESTORE_FROM, self.planned.restoring.backup.name)

    def _targets(self, backing: Backing) -> RecoveryTargets:
        recovery = self.recovery
        return RecoveryTargets(
            engine=self._engine,
            planned=self.planned,
            token=self._token,
            backing=backing,
            restores=recovery.restores,
            keys=recovery.keys,
            cache=recovery.cache,
            tags=recovery.tags,
        )

    async def _measured(self, done: execute.Execution) -> verify.Restoration:
        """The site from outside, at the very end; where a step failed, that says it."""
        failed = [step for step in done.steps if step.status is StepStatus.FAILED]
        if failed:
            said = "; ".join(f"{step.name}: {step.detail}" for step in failed)
            return verify.Restoration(detail=said)
        engine = self._engine
        site = engine.policy.site_url or await engine.platform.site_url()
        engine.notice(f"making sure at {site}: health, then the critical flows")
        return await verify.until_restored(
            engine.site,
            site,
            deployment=await engine.preparation.deployments.live(),
            in_a_row=engine.policy.healthy_in_a_row,
            token=self.case.opened.id,
            timeout_seconds=engine.policy.restore_timeout_seconds,
            clock=engine.clock,
        )

    async def _conclude(
        self, done: execute.Execution, seen: verify.Restoration
    ) -> Incident:
        ended = replace(
            self.case.known(),
            outcome=Outcome.RESTORED if seen.at else Outcome.ESCALATED,
            detail=seen.detail,
            steps=done.steps,
            flows=seen.flows,
        )
        closed = await self.case.close(await self.case.conclude(ended, done, seen.at))
        # After it: one that was killed before is gone on with.
        await self.case.note(ENDED, str(closed.outcome))
        return closed

    @property
    def _engine(self) -> Engine:
        return self.recovery.engine

    @property
    def _token(self) -> str:
        """The name of the first run, which all of them share."""
        return self.planned.resumes or self.case.opened.id


def _begins(opened: Incident) -> str:
    return f"Recovering the state of {opened.environment}"
