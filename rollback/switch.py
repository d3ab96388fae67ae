"""One feature switched off, or back, from its plan to its end, as one incident.

The ledger and the channels are told once the flag is switched, beside the purge: they
do not hold it up. It may be done again at any time, so nobody waits for somebody else.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import anyio

from . import announce, execute, incident
from .errors import AlreadyRollingBack, LedgerUnreachable, StepFailed
from .finish import cut_short_after, to_the_end
from .model import (
    Delivery,
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
from .targets.database.target import Backing

__all__ = ["Switch"]

LEASE_SECONDS = 120.0
LAST_WORDS_SECONDS = 10.0


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
        journal: list[JournalEntry] = []
        try:
            return await self._carry_out(planned, opened, journal)
        except BaseException as error:
            await self._interrupted(replace(opened, journal=tuple(journal)))
            if isinstance(error, Exception):
                raise StepFailed(f"Switching broke off: {error!r}.") from error
            raise

    async def _carry_out(
        self, planned: Plan, opened: Incident, journal: list[JournalEntry]
    ) -> Incident:
        switched = anyio.Event()

        async def write(entry: JournalEntry) -> None:
            journal.append(entry)
            self.notice(f"{entry.event.replace('_', ' ')}: {entry.detail}")
            if entry.event.startswith("step_") and entry.event != "step_begins":
                switched.set()

        async def note(event: str, detail: str) -> None:
            await write(JournalEntry(at=self.clock.now(), event=event, detail=detail))

        backing = Backing(self.database, opened.id, note, self.notice)
        ends: list[Incident] = []
        with cut_short_after(ends):
            async with anyio.create_task_group() as group:
                await backing.begin(group)
                done = await self._switch(planned, opened, journal, switched, write)
                ends.append(done)
                if not backing.ended.is_set():
                    self.notice("the backup goes on; nothing else waits for it")
        backed = replace(ends[0], backup=backing.note, journal=tuple(journal))
        return await to_the_end(lambda: self._keep(backed)) if backing.note else backed

    async def _switch(
        self,
        planned: Plan,
        opened: Incident,
        journal: list[JournalEntry],
        switched: anyio.Event,
        write: execute.Journal,
    ) -> Incident:
        """Do it and tell, while the backup goes on."""
        told: list[Delivery] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self._open, opened, switched)
            group.start_soon(self._tell, opened, told, switched)
            done = await execute.execute(
                planned, self.targets, clock=self.clock, journal=write
            )
        # What was done is told and kept, whoever interrupts from here on.
        known = replace(opened, journal=tuple(journal))
        ended = await to_the_end(lambda: self._conclude(known, done, told))
        self.notice(f"told, and kept as {ended.id}")
        return ended

    async def _open(self, opened: Incident, switched: anyio.Event) -> None:
        await switched.wait()  # connecting takes its time, also of this process
        with suppress(LedgerUnreachable, AlreadyRollingBack):
            await self.ledger.open_incident(opened, lease_seconds=LEASE_SECONDS)

    async def _tell(
        self, opened: Incident, told: list[Delivery], switched: anyio.Event
    ) -> None:
        await switched.wait()
        message = replace(announce.initiated(opened), title=_begins(opened))
        told.extend(await announce.announce(self.channels, message, clock=self.clock))

    async def _conclude(
        self,
        opened: Incident,
        done: execute.Execution,
        told: list[Delivery],
    ) -> Incident:
        clocks = incident.Clocks(
            decided_at=opened.opened_at,
            accepted_at=done.accepted_at,
            carried_out_at=done.ended_at if done.complete else None,
            restored_at=done.ended_at if done.complete else None,
        )
        ended = replace(
            opened,
            outcome=Outcome.RESTORED if done.complete else Outcome.ESCALATED,
            detail=_detail(done),
            steps=done.steps,
            phases=incident.phases(clocks, self.policy.budgets),
        )
        sent = await announce.announce(self.channels, _ends(ended), clock=self.clock)
        told.extend(sent)
        if sent and all(delivery.problem is None for delivery in sent):
            clocks = replace(clocks, communicated_at=self.clock.now())
        phases = incident.phases(clocks, self.policy.budgets)
        return await self._keep(replace(ended, phases=phases, deliveries=tuple(told)))

    async def _keep(self, ended: Incident) -> Incident:
        try:
            await self.ledger.save_incident(ended)
        except LedgerUnreachable as error:
            unsaved = f"{ended.detail}; the incident was not saved: {error.message}"
            return replace(ended, detail=unsaved)
        return ended

    async def _interrupted(self, opened: Incident) -> None:
        """Leave word before going: the incident ends as one that needs a person."""
        detail = "interrupted; run it again, which does no harm"
        cut = replace(opened, outcome=Outcome.ESCALATED, detail=detail)
        with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
            with suppress(LedgerUnreachable):
                await self.ledger.save_incident(cut)
            message = announce.outcome(cut)
            await announce.announce(self.channels, message, clock=self.clock)


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
