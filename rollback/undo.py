"""Going forward again: what undoing a rollback would do, worked out from what is live.

The deployment that was rolled back is promoted, part by part. Nothing is taken from
anybody: where something else went live meanwhile, undoing would roll over it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from . import incident, track
from .errors import (
    CannotUndo,
    DatabaseUnreachable,
    NotATarget,
    UnknownIncident,
    Unreachable,
)
from .model import (
    Incident,
    Moved,
    Outcome,
    PhaseName,
    Plan,
    RollingRelease,
    Step,
    StepRecord,
    StepStatus,
)
from .ports import Platform, Tokens
from .prepare import Preparation
from .response import Response
from .targets.database.target import PART as DATABASE

__all__ = ["Undo"]

FIRST = "application"  # what records from before there were parts moved
NOTHING_MOVED = (Outcome.REFUSED, Outcome.NOTHING_TO_DO)
TRIED = (StepStatus.DONE, StepStatus.FAILED)
LOOKED_AT = 100  # how many incidents are looked through for a later one


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """Undoes a rollback. `parts` are what can be moved forward."""

    parts: Sequence[Preparation]
    response: Response
    tokens: Tokens

    async def plan(
        self, incident_id: str, *, reason: str, override: bool = False
    ) -> Plan | None:
        """What undoing would do now; None where all of it is live again already.

        Raises `CannotUndo`, or another `Refused`, when it cannot be done safely.
        """
        past = await self._past(incident_id)
        return await self._plan(past, reason=reason, override=override)

    async def undo(
        self, incident_id: str, *, reason: str, override: bool = False
    ) -> Incident:
        """Go forward again and make sure; raises as `plan` and a rollback do."""
        at = self.response.clock.now()
        past = await self._past(incident_id)
        self.response.notice(f"undoing {past.id}, because of {reason}")
        planned = await self._plan(past, reason=reason, override=override)
        opened = _opened(past, at=at, reason=reason)
        if planned:
            opened = replace(opened, id=incident.new_id(at, self.tokens.new()))
            return await self.response.carry_out(planned, incident.of(planned, opened))
        said = f"{past.from_deployment} is live already"
        return replace(opened, outcome=Outcome.NOTHING_TO_DO, detail=said)

    async def _past(self, incident_id: str) -> Incident:
        environment = self.response.policy.environment
        past = await self.response.ledger.incident(incident_id)
        if past is None or past.environment != environment:
            raise UnknownIncident(
                f"The incident {incident_id} is not known in {environment}."
            )
        if past.undoes:
            raise CannotUndo(
                f"{past.id} went forward itself, as the undoing of {past.undoes}.",
                mend="Go back with `rollback run`.",
            )
        if past.outcome is None:
            raise CannotUndo(
                f"{past.id} is still open: somebody may be at it.",
                mend=f"Follow it with `rollback incidents show {past.id}`.",
            )
        if past.outcome in NOTHING_MOVED or not self._moved(past):
            raise CannotUndo(f"{past.id} moved nothing that can be moved forward.")
        return past

    async def _plan(
        self, past: Incident, *, reason: str, override: bool
    ) -> Plan | None:
        steps = [
            step
            for record in self._moved(past)
            if (step := await self._step(past, record, override=override))
        ]
        if not steps:
            return None
        if not override:
            await self._require_schema(past)
            await self._require_last(past, {step.target for step in steps})
        first, *others = steps
        return Plan(
            environment=past.environment,
            from_deployment=first.from_deployment,
            to_deployment=first.to_deployment,
            reason=reason,
            part=first.target,
            steps=tuple(steps),
            also=tuple(
                Moved(
                    part=step.target,
                    from_deployment=step.from_deployment,
                    to_deployment=step.to_deployment,
                )
                for step in others
            ),
            moves=tuple(host for step in steps for host in step.hosts),
            override=override,
            auto_assign=self._after(past, first.target),
        )

    def _after(self, past: Incident, part: str) -> bool | None:
        """What new builds of the part did since the rollback, as it was recorded."""
        if part == past.part:
            return past.auto_assign
        return next(
            r.auto_assign for r in self._moved(past) if (r.target or FIRST) == part
        )

    async def _require_schema(self, past: Incident) -> None:
        """What the schema was taken back under does not run until that is mended."""
        for record in past.steps:
            # One that was cut short after its commit has failed, and left a receipt.
            done = record.status is StepStatus.DONE or past.receipt is not None
            if record.target != DATABASE or not done:
                continue
            needed = record.from_deployment
            if needed not in await self._applied():
                raise CannotUndo(
                    f"{past.id} took the schema back to {record.to_deployment}, and "
                    f"{past.from_deployment} ran on {needed}.",
                    mend="Apply the migrations again and put the values back with "
                    "`rollback db refill VERSION`; or add --override.",
                )

    async def _applied(self) -> tuple[str, ...]:
        """Raises `CannotUndo` where the database does not say."""
        database = self.response.database
        if database is None:
            raise CannotUndo("Which migrations are applied is not known: no database.")
        try:
            return await database.versions()
        except DatabaseUnreachable as error:
            raise CannotUndo(
                f"Which migrations are applied is not known: {error.message}",
                mend="Wait for the database, or add --override if you know better.",
            ) from error

    async def _require_last(self, past: Incident, parts: set[str]) -> None:
        """What was rolled back later was rolled back from what this would restore."""
        known = await self.response.ledger.incidents(past.environment, limit=LOOKED_AT)
        later_ones = [each for each in known if each.opened_at > past.opened_at]
        for later in _standing(later_ones):
            if later.undoes != past.id and _touched(later) & parts:
                raise CannotUndo(
                    f"{later.id} moved the same after {past.id}.",
                    mend=f"Undo {later.id}, or add --override if you know better.",
                )

    def _moved(self, past: Incident) -> list[StepRecord]:
        """What the rollback set out to move, of the parts that can go forward."""
        known = {part.deployments.part for part in self.parts}
        return [
            record
            for record in past.steps
            if record.status is not StepStatus.SKIPPED
            and (record.target or FIRST) in known
        ]

    async def _step(
        self, past: Incident, record: StepRecord, *, override: bool
    ) -> Step | None:
        name = record.target or FIRST
        (part,) = (each for each in self.parts if each.deployments.part == name)
        before = record.auto_assign_before
        if before is None and name == past.part:  # as records from before had it
            before = past.auto_assign_before
        was = record.to_deployment or str(past.to_deployment)
        goal = record.from_deployment or past.from_deployment
        platform = part.deployments.platform
        by_hand = await self._by_hand(platform, record.hosts)
        live = {*(await platform.live()).values(), *by_hand.values()}
        if live == {goal}:
            return None
        _refuse_others(live - {was, goal}, await self._rolling_release(platform))
        await self._require_good(part, goal, override=override)
        return Step(
            target=name,
            name=f"promote {goal} again",
            from_deployment=was,
            to_deployment=goal,
            forward=True,
            hosts=tuple(by_hand),
            auto_assign=before,
            site=part.site_url or await platform.site_url(),
            independent=True,
        )

    async def _by_hand(
        self, platform: Platform, hosts: Sequence[str]
    ) -> dict[str, str]:
        """What the hosts that were moved by hand serve now.

        One that serves nothing of this project may be somebody else's by now.
        """
        found: dict[str, str] = {}
        for host in hosts:
            served = await platform.deployment(host)
            if served:
                found[host] = served.id
            else:
                self.response.notice(f"{host} is no longer of the project, and stays")
        return found

    async def _rolling_release(self, platform: Platform) -> RollingRelease | None:
        """The plan or the token that does not reach as far keeps nobody back."""
        try:
            return await platform.rolling_release()
        except (Unreachable, NotATarget) as error:
            self.response.notice(f"what rolls out is not known: {error.message}")
            return None

    async def _require_good(
        self, part: Preparation, goal: str, *, override: bool
    ) -> None:
        """What was rolled back once must be there, and healthy at its own address."""
        found = await part.deployments.on_platform(goal)
        if not track.may_be_target(found):
            raise NotATarget(f"The platform can no longer promote {goal}.")
        seen = await part.health(found)
        if not seen.healthy and not override:
            why = seen.problem or f"unhealthy: {', '.join(sorted(seen.unhealthy))}"
            raise NotATarget(
                f"{goal} is not healthy at its own address ({why}).",
                mend="Mend it first, or add --override if you know better.",
            )


def _refuse_others(others: set[str], rolling: RollingRelease | None) -> None:
    """What somebody brought live after the rollback is not rolled over."""
    if others:
        raise CannotUndo(
            f"Something else went live meanwhile: {', '.join(sorted(others))}."
        )
    if rolling:
        raise CannotUndo(
            f"A rolling release of {rolling.canary} is under way.",
            mend="Complete or abort it on the platform first.",
        )


def _standing(incidents: Sequence[Incident]) -> list[Incident]:
    """Those that were not undone since, without what undid the others."""
    known = {each.id for each in incidents}
    restored = {i.undoes for i in incidents if i.outcome is Outcome.RESTORED}
    undone = restored & known
    return [
        each
        for each in incidents
        # What went back together with another has its id, and the part.
        if not {each.id, each.id.removesuffix(f"-{each.part}"), each.undoes} & undone
    ]


def _touched(incident: Incident) -> set[str]:
    """The parts that an incident moved, or may be moving now."""
    accepted = {phase.name for phase in incident.phases} & {PhaseName.INITIATE}
    taken = accepted or any(e.event == "step_accepted" for e in incident.journal)
    if incident.outcome is not None and not taken:
        return set()
    if not incident.steps:  # it is open, or was cut off
        return {incident.part, *(moved.part for moved in incident.also)}
    return {s.target or FIRST for s in incident.steps if s.status in TRIED}


def _opened(past: Incident, *, at: datetime, reason: str) -> Incident:
    """The undoing's own incident, as it begins; an id makes it one on record."""
    return Incident(
        id="",
        environment=past.environment,
        from_deployment=str(past.to_deployment),
        to_deployment=past.from_deployment,
        reason=reason,
        opened_at=at,
        undoes=past.id,
    )
