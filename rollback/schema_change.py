"""The schema rolled back alone, from its plan to its end, as one incident.

The backup comes first, and nothing of the schema is changed before it is verified. What
refuses, and whatever fails before the commit, leaves the schema as it was.
"""

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import anyio

from . import announce, execute, incident
from .case import Case
from .errors import LedgerUnreachable, Refused, RollbackError, Unreachable
from .finish import to_the_end
from .model import Incident, Message, Outcome, Plan, Step
from .ports import Channel, Clock, Database, Ledger, Target, Tokens
from .response import Notice, Policy
from .schema import SchemaPlan
from .targets.database import target

__all__ = ["Changed", "SchemaChange"]

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
        case = self._case(planned, reason)
        try:
            await case.claim()
        except LedgerUnreachable as error:
            self.notice(f"the ledger keeps nobody else out: {error.message}")
        refusals: list[Refused] = []
        roll_back = partial(self._roll_back, planned, case, rehearse, refusals)
        ended = await case.see_through(
            lambda: case.with_backup(self.database, roll_back),
            broken="The rollback",
            then="the schema is wholly as before or wholly rolled back: "
            "running it again does no harm",
        )
        return Changed(incident=ended, refusal=refusals[0] if refusals else None)

    def _case(self, planned: SchemaPlan, reason: str) -> Case:
        at = self.clock.now()
        return Case(
            opened=Incident(
                id=incident.new_id(at, self.tokens.new()),
                environment=self.policy.environment,
                from_deployment=target.tag(planned.from_version),
                to_deployment=target.tag(planned.to_version),
                reason=reason,
                opened_at=at,
                part=target.PART,
            ),
            ledger=self.ledger,
            channels=self.channels,
            clock=self.clock,
            budgets=self.policy.budgets,
            notice=self.notice,
        )

    async def _roll_back(
        self,
        planned: SchemaPlan,
        case: Case,
        rehearse: bool,
        refusals: list[Refused],
        backing: target.Backing,
    ) -> Incident:
        """From the first word to the last; the schema waits for the backup."""
        schema = target.Schema(
            database=self.database,
            plan=planned,
            backing=backing,
            incident=case.opened.id,
            notice=self.notice,
            rehearse=rehearse,
        )
        case.schema = schema
        kept = _Kept(schema)
        message = replace(announce.initiated(case.opened), title=_begins(case.opened))
        async with anyio.create_task_group() as group:
            group.start_soon(case.tell, message)
            done = await execute.execute(
                _plan(planned, case.opened),
                {target.PART: kept},
                clock=self.clock,
                journal=case.write,
                seen=case.steps.append,
            )
        if kept.refusal:
            refusals.append(kept.refusal)
        # What was done is told and kept, whoever interrupts from here on.
        return await to_the_end(lambda: self._conclude(case, kept, done))

    async def _conclude(
        self, case: Case, kept: "_Kept", done: execute.Execution
    ) -> Incident:
        ended = replace(
            case.known(),
            outcome=kept.outcome(done),
            detail=kept.said or "; ".join(step.detail for step in done.steps),
            steps=done.steps,
        )
        seen = done.ended_at if done.complete else None
        return await case.close(await case.conclude(ended, done, seen, _ends))


@dataclass(slots=True)
class _Kept:
    """The schema as a target; what stopped it is kept, to tell a refusal from the rest.

    When the database falls away, whether it was committed is the question: the history
    has the answer.
    """

    schema: Target
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


def _plan(planned: SchemaPlan, opened: Incident) -> Plan:
    return Plan(
        environment=opened.environment,
        from_deployment=planned.from_version,
        to_deployment=planned.to_version,
        reason=opened.reason,
        part=target.PART,
        steps=(target.step(planned),),
        schema=planned,
    )


def _begins(opened: Incident) -> str:
    return f"Rolling back the schema of {opened.environment}"


def _ends(ended: Incident) -> Message:
    message = announce.outcome(ended)
    if ended.outcome is not Outcome.RESTORED:
        return message
    where = ended.environment.capitalize()
    return replace(message, title=f"{where}: {ended.to_deployment} is in place")
