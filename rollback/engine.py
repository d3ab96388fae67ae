"""The stages in order. This file is the table of contents; it names no vendor.

record -> observe -> decide -> plan -> execute -> verify -> announce -> document
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import anyio

from . import announce, decide, incident, observe, plan, track, verify
from .errors import (
    AlreadyRollingBack,
    LedgerUnreachable,
    Refused,
    RollbackError,
    UnknownDeployment,
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

__all__ = ["Engine", "Policy", "Ruling"]

Progress = Callable[[Verdict, float], None]
"""Called after every look: the verdict so far, and the seconds that are left."""


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
        await self._on_platform(deployment_id)
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
        await self._recorded(deployment_id)
        seen = await self._health(await self._on_platform(deployment_id))
        status = HealthStatus.PASSING if seen.healthy else HealthStatus.FAILING
        await self._set_health(deployment_id, status)
        return seen

    async def stable(self) -> DeploymentVersion:
        """What a rollback of what is live now would go back to."""
        return await self._stable(await self._live())

    # -- observe, decide ------------------------------------------------------

    async def check(self, deployment_id: str, *, probe_seconds: float) -> Verdict:
        """One look back over the window, after probing for a moment."""
        back = int(self.policy.limits.window_seconds - probe_seconds)
        observer = await self._observer(deployment_id, back_seconds=max(back, 0))
        async with observer.watching():
            await anyio.sleep(probe_seconds)
            seen = await observer.look()
        return decide.Monitor(self.policy.limits).take(seen, complete=True)

    async def gate(
        self, deployment_id: str, *, act: bool, progress: Progress | None = None
    ) -> Ruling:
        """Watch a deployment for the window; when it is bad and `act`, roll it back."""
        observer = await self._observer(deployment_id)
        stable = await self._stable(deployment_id) if act else None
        started = self.clock.now()
        verdict = await self._watch(observer, progress)
        ruling = Ruling(
            verdict=verdict, started_at=started, decided_at=self.clock.now()
        )
        if verdict.judgement is Judgement.HEALTHY:
            await self._record_passing(deployment_id)
        if verdict.judgement is not Judgement.ROLL_BACK:
            return ruling
        if stable is None:
            message = announce.alarm(verdict, self.policy.environment)
            await announce.announce(self.channels, message, clock=self.clock)
            return ruling
        try:
            undone = await self.roll_back(
                candidate=deployment_id,
                stable=stable,
                reason=verdict.reason,
                verdict=verdict,
            )
        except AlreadyRollingBack as refusal:
            return replace(ruling, refusal=refusal)
        return replace(ruling, incident=undone)

    async def _watch(
        self, observer: observe.Observer, progress: Progress | None
    ) -> Verdict:
        monitor = decide.Monitor(self.policy.limits)
        ends = anyio.current_time() + self.policy.limits.window_seconds
        async with observer.watching():
            while True:
                await anyio.sleep(self.policy.look_every_seconds)
                seen = await observer.look()
                left = ends - anyio.current_time()
                verdict = monitor.take(seen, complete=left <= 0)
                if progress:
                    progress(verdict, max(left, 0.0))
                if left <= 0 or verdict.judgement is Judgement.ROLL_BACK:
                    return verdict

    # -- plan, execute, verify, announce, document ----------------------------

    async def plan(
        self,
        *,
        reason: str,
        candidate: str | None = None,
        target: str | None = None,
        stable: DeploymentVersion | None = None,
        override: bool = False,
    ) -> Plan | None:
        """What a rollback would do now; None when there is nothing to do.

        Back to `stable`, found before, or to `target`, or to the last stable one.
        Raises a `Refused` when it cannot be done safely.
        """
        candidate = candidate or await self._live()
        bad = await self._on_platform(candidate)
        live = await self.platform.live()
        if not plan.is_live(live, candidate) or candidate == target:
            return None
        if stable is None and target is None:
            stable = await self._stable(candidate)
        good = await self._on_platform(stable.deployment_id if stable else str(target))
        if stable is None and not override:
            recorded = await self.ledger.find(good.id, self.policy.environment)
            track.require_passing(recorded, good.id)
        bad_health, good_health = await self._both(bad, good)
        return plan.make_plan(
            environment=self.policy.environment,
            candidate=bad,
            candidate_health=bad_health,
            target=good,
            target_health=good_health,
            reason=reason,
            moves=await self._moves(good.id),
            override=override,
        )

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
        candidate = candidate or await self._live()
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

    async def _live(self) -> str:
        """The deployment that is live; raises `Refused` when hosts differ."""
        live = set((await self.platform.live()).values())
        if len(live) != 1:
            raise Refused(
                f"The production hosts serve {len(live)} deployments: "
                f"{', '.join(sorted(live)) or 'none'}.",
                mend="Name the bad one with --from.",
            )
        return live.pop()

    async def _recorded(self, deployment_id: str) -> DeploymentVersion:
        recorded = await self.ledger.find(deployment_id, self.policy.environment)
        if recorded is None:
            raise UnknownDeployment(deployment_id, where="to the ledger")
        return recorded

    async def _on_platform(self, deployment_id: str) -> PlatformDeployment:
        deployment = await self.platform.deployment(deployment_id)
        if deployment is None:
            raise UnknownDeployment(deployment_id, where="on the platform")
        return deployment

    async def _moves(self, target: str) -> tuple[str, ...]:
        """The platform's dry run: good to know, and no reason to stay if it fails."""
        try:
            return await self.platform.moves(target)
        except Unreachable as error:
            self.notice(f"which hosts would move is not known: {error.message}")
            return ()

    async def _release(self, recorded: DeploymentVersion) -> PlatformDeployment:
        """As on the platform; its commit as recorded, which the platform may lack."""
        deployment = await self._on_platform(recorded.deployment_id)
        return replace(deployment, git_sha=recorded.git_sha)

    async def _stable(self, candidate: str) -> DeploymentVersion:
        return await track.last_stable(
            self.ledger, self.platform, self.policy.environment, candidate=candidate
        )

    async def _set_health(self, deployment_id: str, status: HealthStatus) -> None:
        with suppress(UnknownDeployment):
            await self.ledger.set_health(
                deployment_id, self.policy.environment, status, self.clock.now()
            )

    async def _record_passing(self, deployment_id: str) -> None:
        """A ledger that is lost meanwhile does not make a good release bad."""
        try:
            await self._set_health(deployment_id, HealthStatus.PASSING)
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

    async def _observer(
        self, deployment_id: str, *, back_seconds: int = 0
    ) -> observe.Observer:
        recorded = await self._recorded(deployment_id)
        candidate = await self._release(recorded)
        window = timedelta(seconds=self.policy.limits.window_seconds)
        return observe.Observer(
            candidate,
            await self._baseline(deployment_id),
            sources=self.sources,
            errors=self.errors,
            clock=self.clock,
            environment=self.policy.environment,
            codes=self.policy.limits.critical_errors,
            since=max(recorded.timestamp, self.clock.now() - window),
            back_seconds=back_seconds,
            window_seconds=self.policy.limits.window_seconds,
            silence_seconds=self.policy.silence_seconds,
            error_poll_seconds=self.policy.error_poll_seconds,
        )

    async def _baseline(self, deployment_id: str) -> PlatformDeployment | None:
        """The stable deployment, to tell the candidate's errors from everybody's."""
        with suppress(Refused):
            return await self._release(await self._stable(deployment_id))
        return None
