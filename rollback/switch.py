"""One feature switched off, or back, from its plan to its end, as one incident.

The ledger and the channels are told once the flag is switched, beside the purge: they
do not hold it up. It may be done again at any time, so nobody waits for somebody else.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import anyio

from . import announce, execute, incident
from .case import Case
from .errors import AlreadyRollingBack, LedgerUnreachable
from .finish import to_the_end
from .model import (
    Incident,
    JournalEntry,
    Message,
    Outcome,
    Plan,
    StepStatus,
)
from .ports import Channel, Clock, Database, Ledger, Target, Tokens
from .response import Notice, Policy
from .targets import flags

__all__ = ["Switch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """What switches features, through the ports. `targets` are `flags` and `cdn`.

    With a `database`, a backup of it is begun before the flag is switched.
    """

    ledger: Ledger
    channels: Sequence[Channel]
    targets: Mapping[str, Target]
    clock: Clock
    tokens: Tokens
    policy: Policy
    notice: Notice
    database: Database | None = None

    async def plan(self, feature: str, *, reason: str, back: bool) -> Plan:
        """What would be done; raises for a flag that cannot be switched."""
        steps = flags.steps(feature, back=back)
        await self.targets[steps[0].target].check(steps[0])
        return Plan(
            environment=self.policy.environment,
            from_deployment=flags.tag(feature),
            to_deployment=steps[0].to_deployment,
            reason=reason,
            steps=steps,
            part=flags.PART,
        )

    async def carry_out(self, planned: Plan) -> Incident:
        """Do what was planned, tell, and keep it; the incident says how it ended."""
        at = self.clock.now()
        opened = Incident(
            id=incident.new_id(at, self.tokens.new()),
            environment=planned.environment,
            from_deployment=planned.from_deployment,
            to_deployment=planned.to_deployment,
            reason=planned.reason,
            opened_at=at,
            part=flags.PART,
        )
        case = Case(
            opened=opened,
            ledger=self.ledger,
            channels=self.channels,
            clock=self.clock,
            budgets=self.policy.budgets,
            notice=self.notice,
            at_once=False,
        )
        return await case.see_through(
            lambda: case.with_backup(
                self.database, lambda _: self._switch(planned, case)
            ),
            broken="Switching",
            then="running it again does no harm",
        )

    async def _switch(self, planned: Plan, case: Case) -> Incident:
        """Do it and tell, while the backup goes on."""
        switched = anyio.Event()

        async def write(entry: JournalEntry) -> None:
            await case.write(entry)
            if entry.event != "step_begins":
                switched.set()

        async with anyio.create_task_group() as group:
            group.start_soon(self._open, case, switched)
            done = await execute.execute(
                planned,
                self.targets,
                clock=self.clock,
                journal=write,
                seen=case.steps.append,
            )
        # What was done is told and kept, whoever interrupts from here on.
        return await to_the_end(lambda: self._conclude(case, done))

    async def _open(self, case: Case, switched: anyio.Event) -> None:
        """Tell the ledger and the people, side by side, of what is done already."""
        await switched.wait()  # connecting takes its time, also of this process
        message = replace(announce.initiated(case.opened), title=_begins(case.opened))
        async with anyio.create_task_group() as group:
            group.start_soon(case.tell, message)
            with suppress(LedgerUnreachable, AlreadyRollingBack):
                await case.claim()

    async def _conclude(self, case: Case, done: execute.Execution) -> Incident:
        ended = replace(
            case.opened,
            outcome=Outcome.RESTORED if done.complete else Outcome.ESCALATED,
            detail=_detail(done),
            steps=done.steps,
        )
        seen = done.ended_at if done.complete else None
        return await case.close(await case.conclude(ended, done, seen, _ends))


def _detail(done: execute.Execution) -> str:
    failed = [step for step in done.steps if step.status is StepStatus.FAILED]
    said = "; ".join(step.detail for step in failed or done.steps)
    return f"{said} Running it again does no harm." if failed else said


def _begins(opened: Incident) -> str:
    feature = opened.from_deployment
    if opened.to_deployment == flags.BACK:
        return f"Putting {feature} back in {opened.environment}"
    return f"Switching {feature} off in {opened.environment}"


def _ends(ended: Incident) -> Message:
    message = announce.outcome(ended)
    if ended.outcome is not Outcome.RESTORED:
        return message
    where = ended.environment.capitalize()
    said = f"{where}: {ended.from_deployment} is {ended.to_deployment}"
    return replace(message, title=said)
