"""The schema rolled back alone, from its plan to its end, as one incident.

The backup comes first, and nothing of the schema is changed before it is verified. What
refuses, and whatever fails before the commit, leaves the schema as it was.
"""

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

import anyio

from . import announce, execute, incident
from .errors import (
    LedgerUnreachable,
    Refused,
    RollbackError,
    StepFailed,
    Unreachable,
)
from .finish import to_the_end
from .model import Delivery, Incident, JournalEntry, Message, Outcome, Plan, Step
from .ports import Channel, Clock, Database, Ledger, Target, Tokens
from .response import Notice, Policy
from .schema import SchemaPlan
from .targets.database import target

__all__ = ["Changed", "SchemaChange"]

LEASE_SECONDS = 900.0
ALIVE_SECONDS = 300.0  # waiting for locks and rehearsing must not lose the claim
LAST_WORDS_SECONDS = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """How it ended. `refusal` is what kept it; then the schema is as it was."""

    incident: Incident
    refusal: Refused | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """What rolls the schema back, through the ports."""

    database: Database
    ledger: Ledger
    channels: Sequence[Channel]
    clock: Clock
    tokens: Tokens
    policy: Policy
    notice: Notice

    async def carry_out(
        self, planned: SchemaPlan, *, reason: str, rehearse: bool = False
    ) -> Changed:
        """Back up, do what was planned, tell, and keep it.

        Raises `AlreadyRollingBack` when somebody else is at it, and `StepFailed` for
        what nobody thought of; that, too, leaves an incident and a call for help.
        """
        at = self.clock.now()
        opened = Incident(
            id=incident.new_id(at, self.tokens.new()),
            environment=self.policy.environment,
            from_deployment=target.tag(planned.from_version),
            to_deployment=target.tag(planned.to_version),
            reason=reason,
            opened_at=at,
            part=target.PART,
        )
        try:
            await self.ledger.open_incident(opened, lease_seconds=LEASE_SECONDS)
        except LedgerUnreachable as error:
            self.notice(f"the ledger keeps nobody else out: {error.message}")
        run = _Run(change=self, planned=planned, opened=opened, rehearse=rehearse)
        try:
            return await run.whole()
        except BaseException as error:
            await self._interrupted(replace(opened, journal=tuple(run.journal)))
            if isinstance(error, Exception):
                raise StepFailed(f"The rollback broke off: {error!r}.") from error
            raise

    async def keep(self, ended: Incident) -> Incident:
        """Save it, or say that it is not saved."""
        try:
            await self.ledger.save_incident(ended)
        except LedgerUnreachable as error:
            unsaved = f"{ended.detail} The incident was not saved: {error.message}"
            return replace(ended, detail=unsaved)
        return ended

    async def _interrupted(self, opened: Incident) -> None:
        """Leave word before going: the incident ends as one that needs a person."""
        detail = (
            "interrupted; the schema is wholly as before or wholly rolled back: "
            "running it again does no harm"
        )
        cut = replace(opened, outcome=Outcome.ESCALATED, detail=detail)
        with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
            await self.keep(cut)
            message = announce.outcome(cut)
            await announce.announce(self.channels, message, clock=self.clock)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One time that it is done."""

    change: SchemaChange
    planned: SchemaPlan
    opened: Incident
    rehearse: bool
    journal: list[JournalEntry] = field(default_factory=list)
    told: list[Delivery] = field(default_factory=list)

    async def whole(self) -> Changed:
        """From the backup to the last word."""
        backing = target.Backing(
            self.change.database,
            label=f"{self.opened.id}-schema",
            journal=self._note,
            notice=self.change.notice,
        )
        schema = target.Schema(
            database=self.change.database,
            plan=self.planned,
            backing=backing,
            incident=self.opened.id,
            notice=self.change.notice,
            rehearse=self.rehearse,
        )
        kept = _Kept(schema, self.change.database)
        message = replace(announce.initiated(self.opened), title=_begins(self.opened))
        async with anyio.create_task_group() as group:
            group.start_soon(self._tell, message)
            await backing.begin(group)
            done = await self._execute(kept)
        # What was done is told and kept, whoever interrupts from here on.
        ended = await to_the_end(lambda: self._conclude(done, schema, backing, kept))
        self.change.notice(f"told, and kept as {ended.id}")
        return Changed(incident=ended, refusal=kept.refusal)

    async def _execute(self, kept: "_Kept") -> execute.Execution:
        async with anyio.create_task_group() as meanwhile:
            meanwhile.start_soon(self._stay_alive)
            done = await execute.execute(
                Plan(
                    environment=self.opened.environment,
                    from_deployment=self.planned.from_version,
                    to_deployment=self.planned.to_version,
                    reason=self.opened.reason,
                    part=target.PART,
                    steps=(target.step(self.planned),),
                    schema=self.planned,
                ),
                {target.PART: kept},
                clock=self.change.clock,
                journal=self._write,
            )
            meanwhile.cancel_scope.cancel()
        return done

    async def _conclude(
        self,
        done: execute.Execution,
        schema: target.Schema,
        backing: target.Backing,
        kept: "_Kept",
    ) -> Incident:
        clocks = incident.Clocks(
            decided_at=self.opened.opened_at,
            accepted_at=done.accepted_at,
            carried_out_at=done.ended_at if done.complete else None,
            restored_at=done.ended_at if done.complete else None,
        )
        budgets = self.change.policy.budgets
        ended = replace(
            self.opened,
            outcome=kept.outcome(done),
            detail=kept.said or "; ".join(step.detail for step in done.steps),
            steps=done.steps,
            journal=tuple(self.journal),
            phases=incident.phases(clocks, budgets),
            backup=backing.note,
            receipt=schema.receipt,
        )
        if await self._tell(_ends(ended)):
            clocks = replace(clocks, communicated_at=self.change.clock.now())
        phases = incident.phases(clocks, budgets)
        ended = replace(ended, phases=phases, deliveries=tuple(self.told))
        return await self.change.keep(ended)

    async def _write(self, entry: JournalEntry) -> None:
        self.journal.append(entry)
        self.change.notice(f"{entry.event.replace('_', ' ')}: {entry.detail}")
        with suppress(LedgerUnreachable):
            await self.change.ledger.append(self.opened.id, entry)

    async def _note(self, event: str, detail: str) -> None:
        at = self.change.clock.now()
        await self._write(JournalEntry(at=at, event=event, detail=detail))

    async def _stay_alive(self) -> None:
        """A journal entry renews the claim."""
        while True:
            await anyio.sleep(ALIVE_SECONDS)
            await self._note("still_at_it", self.planned.to_version)

    async def _tell(self, message: Message) -> bool:
        """Whether every channel took it; there must be one."""
        sent = await announce.announce(
            self.change.channels, message, clock=self.change.clock
        )
        self.told.extend(sent)
        return bool(sent) and all(delivery.problem is None for delivery in sent)


@dataclass(slots=True)
class _Kept:
    """The schema as a target; what stopped it is kept, to tell a refusal from the rest.

    When the database falls away, whether it was committed is the question: the history
    has the answer.
    """

    schema: Target
    database: Database
    error: RollbackError | None = None
    name: str = target.PART

    @property
    def refusal(self) -> Refused | None:
        """What kept it from being done; then nothing was changed."""
        return self.error if isinstance(self.error, Refused) else None

    @property
    def said(self) -> str:
        """What stopped it, and what to do; empty when nothing did."""
        return f"{self.error.message} {self.error.mend}" if self.error else ""

    def outcome(self, done: execute.Execution) -> Outcome:
        """Refused where it could not be done safely, and nothing was changed."""
        if done.complete:
            return Outcome.RESTORED
        return Outcome.REFUSED if self.refusal else Outcome.ESCALATED

    async def check(self, step: Step) -> bool:
        """As the schema says."""
        return await self._keeping(self.schema.check(step))

    async def apply(self, step: Step, *, reason: str) -> str:
        """Roll back; the schema may have been committed though the answer was lost."""
        try:
            return await self._keeping(self.schema.apply(step, reason=reason))
        except Unreachable as error:
            done = False
            with suppress(RollbackError):
                done = await self.schema.check(step)
            if not done:
                raise
            self.error = None
            return f"{error.message} It was committed all the same."

    async def verify(self, step: Step) -> str:
        """As the schema says."""
        return await self._keeping(self.schema.verify(step))

    async def _keeping(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except RollbackError as error:
            self.error = error
            raise


def _begins(opened: Incident) -> str:
    return f"Rolling back the schema of {opened.environment}"


def _ends(ended: Incident) -> Message:
    message = announce.outcome(ended)
    if ended.outcome is not Outcome.RESTORED:
        return message
    where = ended.environment.capitalize()
    return replace(message, title=f"{where}: {ended.to_deployment} is in place")
