"""The stages in order. This file is the table of contents; it names no vendor.

record -> observe -> decide -> plan -> execute -> verify -> announce -> document
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import anyio

from . import announce, incident, plan, track, verify
from .errors import (
    AlreadyRollingBack,
    LedgerUnreachable,
    Refused,
    RollbackError,
    Unreachable,
)
from .model import (
    DeploymentVersion,
    Health,
    HealthStatus,
    Incident,
    Judgement,
    Outcome,
    Plan,
    PlatformDeployment,
    Verdict,
)
from .ports import (
    Channel,
    Clock,
    ErrorSource,
    Ledger,
    MetricSource,
    Platform,
    Site,
    Target,
    Tokens,
)
from .response import Notice, Policy, Response
from .watch import Progress, Watch, Watches

__all__ = ["Engine", "Policy", "Ruling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a gate came to: the verdict, and the incident if it acted.

    `refusal` when somebody else was rolling the same deployment back already.
    """

    verdict: Verdict
    started_at: datetime
    decided_at: datetime
    incident: Incident | None = None
    refusal: AlreadyRollingBack | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Everything that can be asked of one environment, through the ports."""

    ledger: Ledger
    platform: Platform
    site: Site
    sources: Sequence[MetricSource]
    errors: Sequence[ErrorSource]
    channels: Sequence[Channel]
    targets: Mapping[str, Target]
    clock: Clock
    tokens: Tokens
    policy: Policy
    notice: Notice = lambda _: None

    # -- record ---------------------------------------------------------------

    async def record(
        self, deployment_id: str, *, git_sha: str, migration: str
    ) -> DeploymentVersion:
        """Record a deployment that has gone out; the platform must know it."""
        await self._deployments.on_platform(deployment_id)
        recorded = track.version(
            deployment_id=deployment_id,
            environment=self.policy.environment,
            at=self.clock.now(),
            git_sha=git_sha,
            migration=migration,
        )
        await self.ledger.record(recorded)
        return recorded

    async def health(self, deployment_id: str) -> Health:
        """Probe a recorded deployment at its own address and record its status."""
        await self._deployments.recorded(deployment_id)
        seen = await self._health(await self._deployments.on_platform(deployment_id))
        status = HealthStatus.PASSING if seen.healthy else HealthStatus.FAILING
        await self._deployments.set_health(deployment_id, status)
        return seen

    async def stable(self) -> DeploymentVersion:
        """What a rollback of what is live now would go back to."""
        return await self._deployments.stable(candidate=await self._deployments.live())

    # -- observe, decide ------------------------------------------------------

    async def check(self, deployment_id: str, *, probe_seconds: float) -> Verdict:
        """One look back over the window, after probing for a moment."""
        watch = await self._watches.of(deployment_id)
        return await watch.back(probe_seconds=probe_seconds)

    async def gate(
        self,
        deployment_id: str,
        *,
        act: bool,
        seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Ruling:
        """Watch a deployment for a while; when it is bad and `act`, roll it back.

        `seconds` is the window of the limits where it is not given.
        """
        watch = await self._watches.of(deployment_id)
        known = self._deployments
        stable = await known.stable(candidate=deployment_id) if act else None
        started = self.clock.now()
        seconds = self.policy.limits.window_seconds if seconds is None else seconds
        verdict = await watch.until(anyio.current_time() + seconds, progress=progress)
        return await self._rule(verdict, started, stable)

    async def watch(
        self,
        deployments: Sequence[str] = (),
        *,
        seconds: float,
        act: bool,
        progress: Progress | None = None,
    ) -> tuple[Ruling, ...]:
        """Keep watching what is live, or these deployments side by side.

        Acts as the gate does, but trouble of what a rollback went back to, or of what
        has nothing to go back to, is told and not undone.
        """
        ends = anyio.current_time() + seconds
        if not deployments:
            return (await self._watch_live(ends, act=act, progress=progress),)
        watches = [await self._watches.of(name) for name in deployments]
        rulings: dict[str, Ruling] = {}
        problems: list[RollbackError] = []

        async def see_through(watch: Watch) -> None:
            name, started = watch.candidate.id, self.clock.now()
            try:
                stable = await self._way_back(name) if act else None
                verdict = await watch.until(ends, progress=progress)
                rulings[name] = await self._act(verdict, started, stable)
            except RollbackError as error:  # the others are seen through all the same
                self.notice(f"{name}: {error.message}")
                problems.append(error)

        async with anyio.create_task_group() as group:
            for watch in watches:
                group.start_soon(see_through, watch)
        if problems:
            raise problems[0]
        return tuple(rulings[watch.candidate.id] for watch in watches)

    async def _watch_live(
        self, ends: float, *, act: bool, progress: Progress | None
    ) -> Ruling:
        """Watch what is live; when something else goes live, watch that."""
        watch = await self._watches.of(await self._deployments.live())
        while True:
            started = self.clock.now()
            stable = await self._way_back(watch.candidate.id) if act else None
            verdict = await self._watches.while_live(watch, ends, progress=progress)
            if verdict:
                return await self._act(verdict, started, stable)
            watch = await self._watches.of_next_live(ends)

    async def _act(
        self, verdict: Verdict, started: datetime, stable: DeploymentVersion | None
    ) -> Ruling:
        """Rule as the gate does; a watch is long, so the way back is looked at again.

        Meanwhile it may have been rolled back from, or the candidate gone back to.
        """
        if stable and verdict.judgement is Judgement.ROLL_BACK:
            with suppress(Unreachable):
                stable = await self._way_back(verdict.deployment)
        return await self._rule(verdict, started, stable)

    async def _way_back(self, deployment_id: str) -> DeploymentVersion | None:
        """What to go back to from what is watched; None where trouble is only told."""
        latest = await self.ledger.incidents(self.policy.environment, limit=1)
        if latest and latest[0].to_deployment == deployment_id:
            self.notice(
                f"{deployment_id} is what {latest[0].id} went back to: "
                "trouble is told, and not undone"
            )
            return None
        try:
            return await self._deployments.stable(candidate=deployment_id)
        except Refused as error:
            self.notice(f"trouble is told, and not undone: {error.message}")
            return None

    async def _rule(
        self, verdict: Verdict, started: datetime, stable: DeploymentVersion | None
    ) -> Ruling:
        """Act on a verdict; without a deployment to go back to, tell people."""
        ruling = Ruling(
            verdict=verdict, started_at=started, decided_at=self.clock.now()
        )
        if verdict.judgement is Judgement.HEALTHY:
            await self._record_passing(verdict.deployment)
        if verdict.judgement is not Judgement.ROLL_BACK:
            return ruling
        if stable is None:
            message = announce.alarm(verdict, self.policy.environment)
            await announce.announce(self.channels, message, clock=self.clock)
            return ruling
        try:
            undone = await self.roll_back(
                candidate=verdict.deployment,
                stable=stable,
                reason=verdict.reason,
                verdict=verdict,
            )
        except AlreadyRollingBack as refusal:
            return replace(ruling, refusal=refusal)
        return replace(ruling, incident=undone)

    # -- plan, execute, verify, announce, document ----------------------------

    async def plan(
        self,
        *,
        reason: str,
        candidate: str | None = None,
        target: str | None = None,
        stable: DeploymentVersion | None = None,
        verdict: Verdict | None = None,
        override: bool = False,
    ) -> Plan | None:
        """What a rollback would do now; None when there is nothing to do.

        Back to `stable`, found before, or to `target`, or to the last stable one.
        Raises a `Refused` when it cannot be done safely.
        """
        known = self._deployments
        candidate = candidate or await known.live()
        bad = await known.on_platform(candidate)
        live = await self.platform.live()
        if not plan.is_live(live, candidate) or candidate == target:
            return None
        if stable is None and target is None:
            stable = await known.stable(candidate=candidate)
        good = await self._deployments.on_platform(
            stable.deployment_id if stable else str(target)
        )
        if not override:
            await self._require_passing(good.id, found_before=stable is not None)
        bad_health, good_health = await self._both(bad, good)
        return plan.make_plan(
            environment=self.policy.environment,
            candidate=bad,
            candidate_health=bad_health,
            target=good,
            target_health=good_health,
            reason=reason,
            verdict=verdict,
            moves=await self._moves(good.id),
            override=override,
        )

    async def _require_passing(self, target: str, *, found_before: bool) -> None:
        """What was found to be passing may have been rolled back from since.

        A ledger that is lost meanwhile does not keep a bad release live.
        """
        try:
            recorded = await self.ledger.find(target, self.policy.environment)
        except LedgerUnreachable:
            if not found_before:
                raise
            return
        track.require_passing(recorded, target)

    async def roll_back(
        self,
        *,
        reason: str,
        candidate: str | None = None,
        target: str | None = None,
        stable: DeploymentVersion | None = None,
        verdict: Verdict | None = None,
        override: bool = False,
    ) -> Incident:
        """Undo a deployment and make sure; the incident says how it ended.

        Raises `AlreadyRollingBack` when somebody else is at it. With a verdict,
        whatever keeps it from being planned ends in an incident and a call for help;
        a person who asks by hand is told by the error itself.
        """
        decided_at = self.clock.now()
        self.notice(f"rolling back, because of {reason}")
        candidate = candidate or await self._deployments.live()
        opened = Incident(
            id=incident.new_id(decided_at, self.tokens.new()),
            environment=self.policy.environment,
            from_deployment=candidate,
            to_deployment=stable.deployment_id if stable else target,
            reason=reason,
            opened_at=decided_at,
            verdict=verdict,
        )
        try:
            planned = await self.plan(
                reason=reason,
                candidate=candidate,
                target=target,
                stable=stable,
                verdict=verdict,
                override=override,
            )
            url = self.policy.site_url or await self.platform.site_url()
        except RollbackError as error:
            if verdict is None and not isinstance(error, Refused):
                raise
            return await self._response.give_up(opened, error)
        if planned is None:
            said = "is live already" if candidate == target else "is not live"
            return replace(
                opened,
                id="",
                outcome=Outcome.NOTHING_TO_DO,
                detail=f"{candidate} {said}",
            )
        opened = replace(opened, to_deployment=planned.to_deployment)
        return await self._response.carry_out(planned, opened, url=url)

    @property
    def _response(self) -> Response:
        return Response(
            ledger=self.ledger,
            site=self.site,
            channels=self.channels,
            targets=self.targets,
            clock=self.clock,
            policy=self.policy,
            notice=self.notice,
        )

    # -- what the parts above ask for -----------------------------------------

    @property
    def _deployments(self) -> track.Deployments:
        return track.Deployments(
            ledger=self.ledger,
            platform=self.platform,
            clock=self.clock,
            environment=self.policy.environment,
        )

    @property
    def _watches(self) -> Watches:
        return Watches(
            deployments=self._deployments,
            sources=self.sources,
            errors=self.errors,
            policy=self.policy,
            notice=self.notice,
        )

    async def _moves(self, target: str) -> tuple[str, ...]:
        """The platform's dry run: good to know, and no reason to stay if it fails."""
        try:
            return await self.platform.moves(target)
        except Unreachable as error:
            self.notice(f"which hosts would move is not known: {error.message}")
            return ()

    async def _record_passing(self, deployment_id: str) -> None:
        """A ledger that is lost meanwhile does not make a good release bad."""
        try:
            await self._deployments.set_health(deployment_id, HealthStatus.PASSING)
        except LedgerUnreachable as error:
            self.notice(f"it was not recorded as passing: {error.message}")

    async def _health(self, deployment: PlatformDeployment) -> Health:
        return await verify.health_of(
            self.site, deployment.url, clock=self.clock, protected=True
        )

    async def _both(
        self, one: PlatformDeployment, other: PlatformDeployment
    ) -> tuple[Health, Health]:
        """Both looked at in the same moment, so that they can be compared."""
        seen: dict[str, Health] = {}
        problems: list[RollbackError] = []

        async def look(deployment: PlatformDeployment) -> None:
            try:
                seen[deployment.id] = await self._health(deployment)
            except RollbackError as error:
                problems.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(look, one)
            group.start_soon(look, other)
        if problems:
            raise problems[0]
        return seen[one.id], seen[other.id]
