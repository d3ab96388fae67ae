"""One incident, from its plan to its end: execute, verify, announce, document.

It never claims more than was measured, and leaves a record however it ends.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import anyio

from . import announce, decide, execute, incident, verify
from .case import Case
from .errors import (
    LedgerUnreachable,
    Refused,
    RollbackError,
    UnknownDeployment,
)
from .finish import to_the_end
from .model import (
    HealthStatus,
    Incident,
    Outcome,
    Plan,
    Step,
    StepRecord,
    StepStatus,
)
from .ports import Channel, Clock, Database, Ledger, Platform, Site, Target
from .targets.database.target import Backing, Schema

__all__ = ["Notice", "Policy", "Response"]

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
    # Whether a gate may take the schema back where that has to go first.
    schema_unattended: bool = True


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
        case = self._case(opened)
        with suppress(LedgerUnreachable):
            await case.claim()
        return await case.see_through(
            lambda: case.with_backup(
                self.database, lambda backing: self._roll_back(planned, case, backing)
            ),
            broken="The rollback",
            then="what is live has to be looked at",
        )

    def _case(self, opened: Incident) -> Case:
        return Case(
            opened=opened,
            ledger=self.ledger,
            channels=self.channels,
            clock=self.clock,
            budgets=self.policy.budgets,
            notice=self.notice,
        )

    async def _roll_back(self, planned: Plan, case: Case, backing: Backing) -> Incident:
        """Do it, make sure and tell, while the backup goes on."""
        if planned.override:
            await case.note("override", f"by a person, because of {planned.reason}")
        for said in planned.notes:
            await case.note("note", said)
        case.schema = schema = self._schema(planned, case.opened, backing)
        targets = {**self.targets, **({schema.name: schema} if schema else {})}
        async with anyio.create_task_group() as group:
            group.start_soon(case.tell, announce.initiated(case.opened))
            done = await execute.execute(
                planned,
                targets,
                clock=self.clock,
                journal=case.write,
                seen=case.steps.append,
            )
            seen = await self._verify(planned, case.opened, done)
        # What was measured is told and kept, whoever interrupts from here on.
        return await to_the_end(lambda: self._conclude(case, done, seen))

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
        self, case: Case, done: execute.Execution, seen: verify.Restoration
    ) -> Incident:
        steps = tuple([await self._with_builds(record) for record in done.steps])
        own = [step for step in steps if step.target == case.opened.part]
        ended = replace(
            case.known(),
            outcome=Outcome.RESTORED if seen.at else Outcome.ESCALATED,
            detail=seen.detail,
            steps=steps,
            flows=seen.flows,
            auto_assign=own[0].auto_assign if own else None,
        )
        ended = await case.conclude(ended, done, seen.at)
        await self._remember(ended)
        return await case.close(ended)

    async def _with_builds(self, record: StepRecord) -> StepRecord:
        """With whether new builds of its part go live by themselves from now on."""
        with suppress(KeyError, RollbackError):
            on = await self.platforms[record.target].auto_assigns()
            return replace(record, auto_assign=on)
        return record

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

    async def _remember(self, ended: Incident) -> None:
        """What was rolled back is never gone back to by itself.

        What an undoing goes away from is as good as it was; what it restored, and was
        measured to be so, has passed.
        """
        for claim in incident.claims(ended):
            if ended.undoes is None:
                await self._record(claim.from_deployment, HealthStatus.FAILING)
            elif claim.to_deployment and ended.outcome is Outcome.RESTORED:
                await self._record(claim.to_deployment, HealthStatus.PASSING)

    async def _record(self, deployment: str, status: HealthStatus) -> None:
        with suppress(UnknownDeployment, LedgerUnreachable):
            await self.ledger.set_health(
                deployment, self.policy.environment, status, self.clock.now()
            )

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
        case = self._case(opened)
        await case.tell(announce.outcome(ended))
        return await case.keep(replace(ended, deliveries=tuple(case.told)))
