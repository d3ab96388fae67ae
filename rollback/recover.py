"""State recovery: backup, last good deployment, restore, caches; as one incident.

It can be killed at any point and run again: the second run takes the first one's name
and goes on where that stopped. What must not be done twice is marked where it is done.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace

import anyio

from . import announce, execute, incident, verify
from .backup_choice import LABEL
from .engine import Engine
from .errors import AlreadyRollingBack, LedgerUnreachable, StepFailed
from .finish import to_the_end
from .model import (
    BackupNote,
    Delivery,
    Incident,
    JournalEntry,
    Message,
    Outcome,
    StepStatus,
)
from .ports import Cache, Keys, Restores
from .recovery_plan import PART, Ask, Planner, RecoveryPlan
from .recovery_targets import RecoveryTargets
from .targets.state import Safe

__all__ = ["Recovery"]

# Short, and renewed all the while: who was killed keeps nobody from going on.
LEASE_SECONDS = 15.0
ALIVE_SECONDS = 3.0
AGAIN_SECONDS = 1.0
LAST_WORDS_SECONDS = 10.0


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
        planner = Planner(
            engine=self.engine,
            restores=self.restores,
            keys=self.keys,
            prefixes=self.prefixes,
            tags=self.tags if self.cache else (),
        )
        return await planner.plan(ask)

    async def carry_out(self, planned: RecoveryPlan) -> Incident:
        """Do it, make sure from outside, tell and keep it.

        Raises `AlreadyRollingBack` when somebody else is at it, and `StepFailed` for
        what nobody thought of; that, too, leaves an incident and a call for help.
        """
        engine, at = self.engine, self.engine.clock.now()
        opened = Incident(
            id=incident.new_id(at, engine.tokens.new()),
            environment=engine.policy.environment,
            from_deployment=PART,
            to_deployment=planned.plan.to_deployment,
            reason=planned.ask.reason,
            opened_at=at,
            part=PART,
        )
        await self._claim(opened)
        run = _Run(recovery=self, planned=planned, opened=opened)
        try:
            return await run.whole()
        except BaseException as error:
            await self._interrupted(replace(opened, journal=tuple(run.journal)), error)
            if isinstance(error, Exception):
                raise StepFailed(
                    f"The recovery broke off: {error!r}.",
                    mend="Run it again: it goes on where it stopped.",
                ) from error
            raise

    async def _claim(self, opened: Incident) -> None:
        """One recovery at a time; one that was killed is waited for, a few seconds."""
        deadline = anyio.current_time() + self.lease_seconds + 2 * ALIVE_SECONDS
        told = False
        while True:
            try:
                await self.engine.ledger.open_incident(
                    opened, lease_seconds=self.lease_seconds
                )
            except AlreadyRollingBack as error:
                if anyio.current_time() > deadline:
                    raise
                if not told:
                    self.engine.notice(f"{error.message} Waiting whether it still is")
                told = True
                await anyio.sleep(AGAIN_SECONDS)
            except LedgerUnreachable as error:
                self.engine.notice(f"the ledger keeps nobody else out: {error.message}")
                return
            else:
                return

    async def keep(self, ended: Incident) -> Incident:
        """Save it, or say that it is not saved."""
        try:
            await self.engine.ledger.save_incident(ended)
        except LedgerUnreachable as error:
            unsaved = f"{ended.detail} The incident was not saved: {error.message}"
            return replace(ended, detail=unsaved)
        return ended

    async def _interrupted(self, opened: Incident, error: BaseException) -> None:
        why = repr(error) if isinstance(error, Exception) else "interrupted"
        detail = f"{why}; run it again: it goes on where it stopped"
        cut = replace(opened, outcome=Outcome.ESCALATED, detail=detail)
        with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
            await self.keep(cut)
            message = announce.outcome(cut)
            await announce.announce(
                self.engine.channels, message, clock=self.engine.clock
            )


@dataclass(slots=True, kw_only=True)
class _Run:
    """One time that it is done."""

    recovery: Recovery
    planned: RecoveryPlan
    opened: Incident
    journal: list[JournalEntry] = field(default_factory=list)
    told: list[Delivery] = field(default_factory=list)
    safe: Safe | None = None

    async def whole(self) -> Incident:
        """From the first word to the last."""
        message = replace(announce.initiated(self.opened), title=_begins(self.opened))
        async with anyio.create_task_group() as meanwhile:
            meanwhile.start_soon(self._stay_alive)
            async with anyio.create_task_group() as group:
                group.start_soon(self._tell, message)
                await self._remember()
                done = await execute.execute(
                    self.planned.plan,
                    self._targets().targets(),
                    clock=self._engine.clock,
                    journal=self._write,
                )
                seen = await self._measured(done)
            meanwhile.cancel_scope.cancel()
        # What was measured is told and kept, whoever interrupts from here on.
        ended = await to_the_end(lambda: self._conclude(done, seen))
        self._engine.notice(f"told, and kept as {ended.id}")
        return ended

    async def _remember(self) -> None:
        """What a second run has to know of this one."""
        planned = self.planned
        await self._note("resumes", self._token)
        if planned.restoring:
            await self._note("restore_from", planned.restoring.backup.name)
        if planned.safe:
            await self._note("backed_up", planned.safe.name)

    def _targets(self) -> RecoveryTargets:
        engine, recovery = self._engine, self.recovery
        if engine.database:
            self.safe = Safe(
                database=engine.database,
                label=f"{self.opened.id}-{LABEL}",
                journal=self._note,
                notice=engine.notice,
                taken=self.planned.safe,
            )
        return RecoveryTargets(
            engine=engine,
            planned=self.planned,
            token=self._token,
            safe=self.safe,
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
            return verify.Restoration(detail=f"{said} {AGAIN}")
        engine = self._engine
        site = engine.policy.site_url or await engine.platform.site_url()
        engine.notice(f"making sure at {site}: health, then the critical flows")
        return await verify.until_restored(
            engine.site,
            site,
            deployment=await engine.preparation.deployments.live(),
            in_a_row=engine.policy.healthy_in_a_row,
            token=self.opened.id,
            timeout_seconds=engine.policy.restore_timeout_seconds,
            clock=engine.clock,
        )

    async def _conclude(
        self, done: execute.Execution, seen: verify.Restoration
    ) -> Incident:
        clocks = incident.Clocks(
            decided_at=self.opened.opened_at,
            accepted_at=done.accepted_at,
            carried_out_at=done.ended_at if done.complete else None,
            restored_at=seen.at,
        )
        budgets = self._engine.policy.budgets
        ended = replace(
            self.opened,
            outcome=Outcome.RESTORED if seen.at else Outcome.ESCALATED,
            detail=seen.detail,
            phases=incident.phases(clocks, budgets),
            steps=done.steps,
            flows=seen.flows,
            journal=tuple(self.journal),
            backup=self._backup(),
        )
        if await self._tell(_ends(ended)):
            clocks = replace(clocks, communicated_at=self._engine.clock.now())
        phases = incident.phases(clocks, budgets)
        ended = replace(ended, phases=phases, deliveries=tuple(self.told))
        return await self.recovery.keep(ended)

    def _backup(self) -> BackupNote | None:
        taken = self.safe and self.safe.taken
        if not taken:
            return BackupNote(problem="it could not be taken") if self.safe else None
        return BackupNote(path=taken.path, sha256=taken.sha256, verified=taken.verified)

    @property
    def _engine(self) -> Engine:
        return self.recovery.engine

    @property
    def _token(self) -> str:
        """The name of the first run, which all of them share."""
        return self.planned.resumes or self.opened.id

    async def _stay_alive(self) -> None:
        """Renew the claim. Somebody who took it over stops this run."""
        while True:
            await anyio.sleep(ALIVE_SECONDS)
            with suppress(LedgerUnreachable):
                await self._engine.ledger.save_incident(self.opened)

    async def _note(self, event: str, detail: str) -> None:
        at = self._engine.clock.now()
        await self._write(JournalEntry(at=at, event=event, detail=detail))

    async def _write(self, entry: JournalEntry) -> None:
        self.journal.append(entry)
        self._engine.notice(f"{entry.event.replace('_', ' ')}: {entry.detail}")
        with suppress(LedgerUnreachable):
            await self._engine.ledger.append(self.opened.id, entry)

    async def _tell(self, message: Message) -> bool:
        """Whether every channel took it; there must be one."""
        sent = await announce.announce(
            self._engine.channels, message, clock=self._engine.clock
        )
        self.told.extend(sent)
        return bool(sent) and all(delivery.problem is None for delivery in sent)


def _begins(opened: Incident) -> str:
    return f"Recovering the state of {opened.environment}"


def _ends(ended: Incident) -> Message:
    return announce.outcome(ended)


AGAIN = "Running it again does no harm: it goes on where it stopped."
