"""One incident, from its plan to its end: execute, verify, announce, document.

It never claims more than was measured, and leaves a record however it ends.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import anyio

from . import announce, decide, execute, incident, verify
from .errors import (
    AlreadyRollingBack,
    LedgerUnreachable,
    Refused,
    RollbackError,
    StepFailed,
    UnknownDeployment,
)
from .finish import cut_short_after, to_the_end
from .model import (
    Delivery,
    HealthStatus,
    Incident,
    JournalEntry,
    Message,
    Outcome,
    Plan,
    Step,
    StepRecord,
    StepStatus,
)
from .ports import Channel, Clock, Database, Ledger, Platform, Site, Target
from .targets.database.target import Backing, Schema

__all__ = ["Notice", "Policy", "Response"]

LEASE_SECONDS = 900.0  # longer than every bounded wait of a rollback together
LAST_WORDS_SECONDS = 10.0  # what an interrupted rollback may take to say so
UNDONE = (StepStatus.FAILED, StepStatus.SKIPPED)

Notice = Callable[[str], None]
"""Called with what is being done, for people who wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the engine holds itself to. Times in seconds."""

    environment: str
    site_url: str | None
    limits: decide.Limits
    budgets: incident.Budgets = field(default_factory=incident.Budgets)
    baseline: bool = True
    silence_seconds: int = 30
    look_every_seconds: float = 1.0
    error_poll_seconds: float = 2.0
    healthy_in_a_row: int = 3
    restore_timeout_seconds: float = 300.0
    api_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What is done about one incident, through the ports. `platforms` are by part.

    With a `database`, a backup of it is begun before anything is changed.
    """

    ledger: Ledger
    site: Site
    channels: Sequence[Channel]
    targets: Mapping[str, Target]
    clock: Clock
    policy: Policy
    notice: Notice
    platforms: Mapping[str, Platform]
    database: Database | None = None

    async def carry_out(self, planned: Plan, opened: Incident) -> Incident:
        """Claim the candidate, do what was planned, make sure at its site, and tell.

        Raises `AlreadyRollingBack` when somebody else is at it, and `StepFailed` for
        what nobody thought of; that, too, leaves an incident and a call for help.
        """
        with suppress(LedgerUnreachable):
            await self._claim(opened)
        journal: list[JournalEntry] = []
        try:
            return await self._carry_out(planned, opened, journal)
        except BaseException as error:
            await self._interrupted(replace(opened, journal=tuple(journal)), error)
            if isinstance(error, Exception):
                raise StepFailed(f"The rollback broke off: {error!r}.") from error
            raise

    async def _claim(self, opened: Incident) -> None:
        """Claim every part's candidate, or none."""
        held: list[Incident] = []
        for claim in incident.claims(opened):
            try:
                await self.ledger.open_incident(claim, lease_seconds=LEASE_SECONDS)
            except AlreadyRollingBack as error:
                for mine in held:
                    given_up = replace(mine, outcome=Outcome.REFUSED)
                    await self._keep(replace(given_up, detail=error.message, also=()))
                raise
            held.append(claim)

    async def _carry_out(
        self, planned: Plan, opened: Incident, journal: list[JournalEntry]
    ) -> Incident:
        async def write(entry: JournalEntry) -> None:
            journal.append(entry)
            self.notice(f"{entry.event.replace('_', ' ')}: {entry.detail}")
            with suppress(LedgerUnreachable):
                await self.ledger.append(opened.id, entry)

        async def note(event: str, detail: str) -> None:
            await write(JournalEntry(at=self.clock.now(), event=event, detail=detail))

        backing = Backing(self.database, opened.id, note, self.notice)
        ends: list[Incident] = []
        with cut_short_after(ends):
            async with anyio.create_task_group() as group:
                await backing.begin(group)
                if planned.override:
                    await note("override", f"by a person, because of {planned.reason}")
                ends.append(
                    await self._roll_back(planned, opened, backing, journal, write)
                )
                if not backing.ended.is_set():
                    self.notice("the backup goes on; nothing else waits for it")
        backed = replace(ends[0], backup=backing.note, journal=tuple(journal))
        return await to_the_end(lambda: self._keep(backed)) if backing.note else backed

    async def _roll_back(
        self,
        planned: Plan,
        opened: Incident,
        backing: Backing,
        journal: list[JournalEntry],
        write: execute.Journal,
    ) -> Incident:
        """Do it, make sure and tell, while the backup goes on."""
        told: list[Delivery] = []
        targets, schema = dict(self.targets), self._schema(planned, opened, backing)
        if schema:
            targets[schema.name] = schema
        async with anyio.create_task_group() as group:
            group.start_soon(self._tell, announce.initiated(opened), told)
            done = await execute.execute(
                planned, targets, clock=self.clock, journal=write
            )
            seen = await self._verify(planned, opened, done)
        known = replace(
            opened,
            journal=tuple(journal),
            backup=backing.note,
            receipt=schema.receipt if schema else None,
        )
        # What was measured is told and kept, whoever interrupts from here on.
        ended = await to_the_end(lambda: self._conclude(known, done, seen, told))
        self.notice(f"told, and kept as {ended.id}")
        return ended

    def _schema(
        self, planned: Plan, opened: Incident, backing: Backing
    ) -> Schema | None:
        if self.database is None or planned.schema is None:
            return None
        return Schema(
            database=self.database,
            plan=planned.schema,
            backing=backing,
            incident=opened.id,
            notice=self.notice,
        )

    async def _conclude(
        self,
        opened: Incident,
        done: execute.Execution,
        seen: verify.Restoration,
        told: list[Delivery],
    ) -> Incident:
        clocks = incident.Clocks(
            decided_at=opened.opened_at,
            bad_since=incident.from_second(_bad_since(opened)),
            accepted_at=done.accepted_at,
            carried_out_at=done.ended_at if done.complete else None,
            restored_at=seen.at,
        )
        steps = tuple([await self._with_builds(record) for record in done.steps])
        own = [step for step in steps if step.target == opened.part]
        ended = replace(
            opened,
            outcome=Outcome.RESTORED if seen.at else Outcome.ESCALATED,
            detail=seen.detail,
            phases=incident.phases(clocks, self.policy.budgets),
            steps=steps,
            flows=seen.flows,
            auto_assign=own[0].auto_assign if own else None,
        )
        if await self._tell(announce.outcome(ended), told):
            clocks = replace(clocks, communicated_at=self.clock.now())
        phases = incident.phases(clocks, self.policy.budgets)
        return await self._close(replace(ended, phases=phases, deliveries=tuple(told)))

    async def _with_builds(self, record: StepRecord) -> StepRecord:
        """With whether new builds of its part go live by themselves from now on."""
        with suppress(KeyError, RollbackError):
            on = await self.platforms[record.target].auto_assigns()
            return replace(record, auto_assign=on)
        return record

    async def _tell(self, message: Message, told: list[Delivery]) -> bool:
        """Whether every channel took it; there must be one."""
        sent = await announce.announce(self.channels, message, clock=self.clock)
        told.extend(sent)
        return bool(sent) and all(delivery.problem is None for delivery in sent)

    async def _verify(
        self, planned: Plan, opened: Incident, done: execute.Execution
    ) -> verify.Restoration:
        """Each part that went back is measured, also when another one did not."""
        seen: dict[str, verify.Restoration] = {}

        async def look(step: Step, record: StepRecord) -> None:
            seen[step.target] = await self._restored(step, record, opened)

        async with anyio.create_task_group() as group:
            for step, record in zip(planned.steps, done.steps, strict=True):
                if step.site or record.status in UNDONE:
                    group.start_soon(look, step, record)
        order = [s.target for s in planned.steps if s.target in seen]
        return verify.together({target: seen[target] for target in order})

    async def _restored(
        self, step: Step, record: StepRecord, opened: Incident
    ) -> verify.Restoration:
        if record.status in UNDONE:
            return verify.Restoration(detail=f"{record.name}: {record.detail}")
        self.notice(f"making sure at {step.site}: health, then the critical flows")
        first = step.target == opened.part
        return await verify.until_restored(
            self.site,
            step.site,
            deployment=step.serves or step.to_deployment,
            in_a_row=self.policy.healthy_in_a_row,
            token=opened.id if first else f"{opened.id}-{step.target}",
            timeout_seconds=self.policy.restore_timeout_seconds,
            clock=self.clock,
        )

    async def _close(self, ended: Incident) -> Incident:
        """What was rolled back is never gone back to by itself.

        What an undoing goes away from is as good as it was; what it restored, and was
        measured to be so, has passed.
        """
        for claim in incident.claims(ended):
            if ended.undoes is None:
                await self._record(claim.from_deployment, HealthStatus.FAILING)
            elif claim.to_deployment and ended.outcome is Outcome.RESTORED:
                await self._record(claim.to_deployment, HealthStatus.PASSING)
        return await self._keep(ended)

    async def _record(self, deployment: str, status: HealthStatus) -> None:
        with suppress(UnknownDeployment, LedgerUnreachable):
            await self.ledger.set_health(
                deployment, self.policy.environment, status, self.clock.now()
            )

    async def _keep(self, ended: Incident) -> Incident:
        try:
            for claim in incident.claims(ended):
                await self.ledger.save_incident(claim)
        except LedgerUnreachable as error:
            unsaved = f"{ended.detail}; the incident was not saved: {error.message}"
            return replace(ended, detail=unsaved)
        return ended

    async def give_up(self, opened: Incident, error: RollbackError) -> Incident:
        """Nothing was changed: say why, keep it, and call a person.

        Refused when it cannot be done safely; escalated when it could not be tried.
        """
        refused = isinstance(error, Refused)
        ended = replace(
            opened,
            outcome=Outcome.REFUSED if refused else Outcome.ESCALATED,
            detail=f"{error.message} {error.mend}",
        )
        told: list[Delivery] = []
        await self._tell(announce.outcome(ended), told)
        return await self._keep(replace(ended, deliveries=tuple(told)))

    async def _interrupted(self, opened: Incident, error: BaseException) -> None:
        """Leave word before going: the incident ends as one that needs a person."""
        why = repr(error) if isinstance(error, Exception) else "interrupted"
        detail = f"{why}; what is live has to be looked at"
        cut = replace(opened, outcome=Outcome.ESCALATED, detail=detail)
        with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
            await self._keep(cut)
            message = announce.outcome(cut)
            await announce.announce(self.channels, message, clock=self.clock)


def _bad_since(opened: Incident) -> int | None:
    return opened.verdict.bad_since if opened.verdict else None
