"""Stage 5: journal, check, apply, verify, journal; stop at the first failure."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import anyio

from .errors import RollbackError
from .model import JournalEntry, Plan, Step, StepRecord, StepStatus
from .ports import Clock, Target

__all__ = ["Execution", "Journal", "Seen", "execute"]

Journal = Callable[[JournalEntry], Awaitable[None]]
Seen = Callable[[StepRecord], None]
"""Called with what became of a step, as it comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What became of a plan. `accepted_at`: when the first change was taken."""

    steps: tuple[StepRecord, ...]
    accepted_at: datetime | None
    ended_at: datetime

    @property
    def complete(self) -> bool:
        """Whether every step is in place."""
        return all(step.status is not StepStatus.FAILED for step in self.steps)


async def execute(
    plan: Plan,
    targets: Mapping[str, Target],
    *,
    clock: Clock,
    journal: Journal,
    seen: Seen = lambda _: None,
) -> Execution:
    """Carry out the plan in order. After a failure only independent steps are done.

    `seen` is told of every step, also of those that an interruption leaves undone.
    """
    work = _Work(plan=plan, targets=targets, clock=clock, journal=journal, seen=seen)
    for step in plan.steps:
        await work.do(step)
    return Execution(
        steps=tuple(work.records),
        accepted_at=work.accepted[0] if work.accepted else None,
        ended_at=clock.now(),
    )


@dataclass(slots=True, kw_only=True)
class _Work:
    """A plan as it is carried out."""

    plan: Plan
    targets: Mapping[str, Target]
    clock: Clock
    journal: Journal
    seen: Seen
    records: list[StepRecord] = field(default_factory=list)
    accepted: list[datetime] = field(default_factory=list)

    async def do(self, step: Step) -> None:
        """One step, unless one that it needs has failed."""
        started, begun = self.clock.now(), anyio.current_time()
        taken = len(self.accepted)
        failed = any(record.status is StepStatus.FAILED for record in self.records)
        if failed and not step.independent:
            status, detail = StepStatus.SKIPPED, "a step before it failed"
        else:
            target = self.targets[step.target]
            run = _Run(target, self.clock, self._write, self.accepted, self.plan.reason)
            try:
                status, detail = await run.step(step)
            except BaseException:
                self._broken_off(step, started, accepted=len(self.accepted) > taken)
                raise
        seconds = anyio.current_time() - begun
        self._keep(_record(step, status, detail, started, seconds))

    def _broken_off(self, step: Step, started: datetime, *, accepted: bool) -> None:
        """What is known of the step, and of those that are not reached any more."""
        said = "it was accepted, then broken off" if accepted else "it was broken off"
        seconds = (self.clock.now() - started).total_seconds()
        self._keep(_record(step, StepStatus.FAILED, said, started, seconds))
        at, said = self.clock.now(), "it broke off before"
        for left in self.plan.steps[len(self.records) :]:
            self._keep(_record(left, StepStatus.SKIPPED, said, at, 0.0))

    def _keep(self, record: StepRecord) -> None:
        self.records.append(record)
        self.seen(record)

    async def _write(self, event: str, detail: str) -> None:
        await self.journal(
            JournalEntry(at=self.clock.now(), event=event, detail=detail)
        )


def _record(
    step: Step, status: StepStatus, detail: str, started: datetime, seconds: float
) -> StepRecord:
    return StepRecord(
        name=step.name,
        status=status,
        started_at=started,
        seconds=seconds,
        detail=detail,
        target=step.target,
        from_deployment=step.from_deployment,
        to_deployment=step.to_deployment,
        hosts=step.hosts,
        auto_assign_before=None if step.forward else step.auto_assign,
    )


@dataclass(frozen=True, slots=True)
class _Run:
    target: Target
    clock: Clock
    write: Callable[[str, str], Awaitable[None]]
    accepted: list[datetime]
    reason: str

    async def step(self, step: Step) -> tuple[StepStatus, str]:
        """One step, journaled before and after, so that a kill can be seen."""
        await self.write("step_begins", step.name)
        try:
            if await self.target.check(step):
                status, detail = StepStatus.ALREADY, "it was so already"
            else:
                await self.target.apply(step, reason=self.reason)
                self.accepted.append(self.clock.now())
                await self.write("step_accepted", step.name)
                detail = await self.target.verify(step)
                status = StepStatus.DONE
        except RollbackError as error:
            status, detail = StepStatus.FAILED, error.message
        await self.write(f"step_{status}", f"{step.name}: {detail}")
        return status, detail
