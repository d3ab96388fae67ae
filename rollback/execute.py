"""Stage 5: journal, check, apply, verify, journal; stop at the first failure."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import anyio

from .errors import RollbackError
from .model import JournalEntry, Plan, Step, StepRecord, StepStatus
from .ports import Clock, Target

__all__ = ["Execution", "Journal", "execute"]

Journal = Callable[[JournalEntry], Awaitable[None]]


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
    plan: Plan, targets: Mapping[str, Target], *, clock: Clock, journal: Journal
) -> Execution:
    """Carry out the plan in order. After a failure only independent steps are done."""
    records: list[StepRecord] = []
    accepted: list[datetime] = []

    async def write(event: str, detail: str) -> None:
        await journal(JournalEntry(at=clock.now(), event=event, detail=detail))

    for step in plan.steps:
        started, begun = clock.now(), anyio.current_time()
        failed = any(record.status is StepStatus.FAILED for record in records)
        if failed and not step.independent:
            status, detail = StepStatus.SKIPPED, "a step before it failed"
        else:
            run = _Run(targets[step.target], clock, write, accepted, plan.reason)
            status, detail = await run.step(step)
        records.append(
            StepRecord(
                name=step.name,
                status=status,
                started_at=started,
                seconds=anyio.current_time() - begun,
                detail=detail,
                target=step.target,
                from_deployment=step.from_deployment,
                to_deployment=step.to_deployment,
                hosts=step.hosts,
                auto_assign_before=None if step.forward else step.auto_assign,
            )
        )
    return Execution(
        steps=tuple(records),
        accepted_at=accepted[0] if accepted else None,
        ended_at=clock.now(),
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
