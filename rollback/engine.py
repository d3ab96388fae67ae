"""The stages in order. This file is the table of contents; it names no vendor.

record -> observe -> decide -> plan -> execute -> verify -> announce -> document
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Unpack

import anyio

from . import announce, incident, prepare, track
from .compatibility import Compatibility
from .errors import (
    AlreadyRollingBack,
    LedgerUnreachable,
    NoSuchPart,
    Refused,
    RollbackError,
    UnknownDeployment,
    Unreachable,
)
from .model import (
    DeploymentVersion,
    EnvironmentVariable,
    Health,
    HealthStatus,
    Incident,
    Judgement,
    Outcome,
    Plan,
    Verdict,
)
from .plan import as_agreed
from .ports import (
    Channel,
    Clock,
    Database,
    ErrorSource,
    Ledger,
    MetricSource,
    Platform,
    Site,
    Target,
    Tokens,
)
from .prepare import Chosen, Preparation, Wish, Wishes
from .response import Notice, Policy, Response
from .targets.database.target import PART as DATABASE
from .undo import Undo
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
    """Everything that can be asked of one environment, through the ports.

    `platform` has the project of the part that it is asked of, `api` that of the API,
    where there is one: what is asked of a deployment is asked of its own part. `beside`
    are those of the parts that this engine leaves alone.
    """

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
    part: str = "application"
    api: Platform | None = None
    database: Database | None = None
    beside: Mapping[str, Platform] = field(default_factory=dict)

    # -- the parts ------------------------------------------------------------

    def alone(self, part: str) -> "Engine":
        """The engine of this part alone."""
        if part == self.part:
            beside = {"api": self.api} if self.api else {}
            return replace(self, api=None, beside={**self.beside, **beside})
        if part != "api" or self.api is None:
            raise NoSuchPart(part)
        policy = replace(self.policy, site_url=self.policy.api_url)
        beside = {**self.beside, self.part: self.platform}
        return replace(
            self,
            part=part,
            platform=self.api,
            api=None,
            policy=policy,
            beside=beside,
        )

    async def of(self, deployment_id: str) -> "Engine":
        """The engine of the part that this deployment is of, as the platform says."""
        if self.api is None:
            return self
        for part in self._parts:
            if await part.knows(deployment_id):
                return self.alone(part.deployments.part)
        raise UnknownDeployment(deployment_id, where="on the platform")

    # -- record ---------------------------------------------------------------

    async def record(
        self,
        deployment_id: str,
        *,
        git_sha: str,
        migration: str,
        variables: tuple[EnvironmentVariable, ...] = (),
        backward_compatible: bool | None = None,
    ) -> DeploymentVersion:
        """Record a deployment that has gone out; the platform must know it."""
        if self.api:
            part = await self.of(deployment_id)
            return await part.record(
                deployment_id,
                git_sha=git_sha,
                migration=migration,
                variables=variables,
                backward_compatible=backward_compatible,
            )
        await self._deployments.on_platform(deployment_id)
        recorded = track.version(
            deployment_id=deployment_id,
            environment=self.policy.environment,
            at=self.clock.now(),
            git_sha=git_sha,
            migration=migration,
            part=self.part,
            variables=variables,
            backward_compatible=backward_compatible,
        )
        await self.ledger.record(recorded)
        return recorded

    async def health(self, deployment_id: str) -> Health:
        """Probe a recorded deployment at its own address and record its status."""
        await self._deployments.recorded(deployment_id)
        part = await self.of(deployment_id)
        seen = await part.preparation.look(deployment_id)
        status = HealthStatus.PASSING if seen.healthy else HealthStatus.FAILING
        await self._deployments.set_health(deployment_id, status)
        return seen

    async def stable(self) -> DeploymentVersion:
        """What a rollback of what is live now would go back to."""
        return await self._deployments.stable(candidate=await self._deployments.live())

    # -- observe, decide ------------------------------------------------------

    async def check(self, deployment_id: str, *, probe_seconds: float) -> Verdict:
        """One look back over the window, after probing for a moment."""
        if self.api:
            part = await self.of(deployment_id)
            return await part.check(deployment_id, probe_seconds=probe_seconds)
        watch = await self.watches.of(deployment_id)
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
        if self.api:
            part = await self.of(deployment_id)
            return await part.gate(
                deployment_id, act=act, seconds=seconds, progress=progress
            )
        watch = await self.watches.of(deployment_id)
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
        parts = [await self.of(name) for name in deployments]
        watches = [
            await part.watches.of(name)
            for part, name in zip(parts, deployments, strict=True)
        ]
        rulings: dict[str, Ruling] = {}
        problems: list[RollbackError] = []

        async def see_through(part: Engine, watch: Watch) -> None:
            name = watch.candidate.id
            try:
                rulings[name] = await part.see_through(
                    watch, ends, act=act, progress=progress
                )
            except RollbackError as error:  # the others are seen through all the same
                self.notice(f"{name}: {error.message}")
                problems.append(error)

        async with anyio.create_task_group() as group:
            for part, watch in zip(parts, watches, strict=True):
                group.start_soon(see_through, part, watch)
        if problems:
            raise problems[0]
        return tuple(rulings[watch.candidate.id] for watch in watches)

    async def see_through(
        self, watch: Watch, ends: float, *, act: bool, progress: Progress | None
    ) -> Ruling:
        """One watch of a deployment of this part, to its end."""
        started = self.clock.now()
        stable = await self._way_back(watch.candidate.id) if act else None
        verdict = await watch.until(ends, progress=progress)
        return await self._act(verdict, started, stable)

    async def _watch_live(
        self, ends: float, *, act: bool, progress: Progress | None
    ) -> Ruling:
        """Watch what is live; when something else goes live, watch that."""
        watch = await self.watches.of(await self._deployments.live())
        while True:
            started = self.clock.now()
            stable = await self._way_back(watch.candidate.id) if act else None
            verdict = await self.watches.while_live(watch, ends, progress=progress)
            if verdict:
                return await self._act(verdict, started, stable)
            watch = await self.watches.of_next_live(ends)

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
        try:
            known = await self.ledger.incidents(
                self.policy.environment, limit=track.KEPT
            )
        except LedgerUnreachable as error:
            # It may be what a rollback went back to: that is never undone unasked.
            self.notice(f"trouble is told, and not undone: {error.message}")
            return None
        latest = [one for one in known if one.part == self.part]
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
        only: Sequence[str] = (),
        accept: frozenset[str] = frozenset(),
        **wish: Unpack[Wishes],
    ) -> Plan | None:
        """What a rollback would do now; None when there is nothing to do.

        Of the parts in `only`, or of the part that is named by a deployment, or of the
        application and, where what is live of it has not passed, the API, and the
        schema where they do not run on it. `accept` is what a person has consented to.
        Raises a `Refused` when it cannot be done safely.
        """
        chosen = await self._choose(Wish(**wish), only)
        return await self._planned(chosen, only, accept)

    async def roll_back(
        self,
        *,
        only: Sequence[str] = (),
        accept: frozenset[str] = frozenset(),
        shown: Plan | None = None,
        **asked: Unpack[Wishes],
    ) -> Incident:
        """Undo a deployment and make sure; the incident says how it ended.

        Raises `AlreadyRollingBack` when somebody else is at it, and `NotAsPlanned`
        where it would not be what was `shown` to the person who asks. With a verdict,
        whatever keeps it from being planned ends in an incident and a call for help;
        a person who asks by hand is told by the error itself.
        """
        decided_at = self.clock.now()
        self.notice(f"rolling back, because of {asked['reason']}")
        chosen = await self._choose(Wish(**asked), only)
        first, wish = chosen[0]
        opened = Incident(
            id=incident.new_id(decided_at, self.tokens.new()),
            environment=self.policy.environment,
            from_deployment=str(wish.candidate),
            to_deployment=wish.goal,
            reason=wish.reason,
            opened_at=decided_at,
            verdict=wish.verdict,
            part=first.deployments.part,
        )
        try:
            planned = await self._planned(chosen, only, accept)
        except RollbackError as error:
            if wish.verdict is None and not isinstance(error, Refused):
                raise
            return await self._response.give_up(opened, error)
        if planned is None:
            said = "is live already" if wish.candidate == wish.target else "is not live"
            return replace(
                opened,
                id="",
                outcome=Outcome.NOTHING_TO_DO,
                detail=f"{wish.candidate} {said}",
            )
        if shown:
            planned = as_agreed(shown, planned)
        return await self._response.carry_out(planned, incident.of(planned, opened))

    async def _choose(self, wish: Wish, only: Sequence[str]) -> Chosen:
        """Which parts are meant; the schema goes with the application's."""
        if DATABASE in only and self.database is None:
            raise NoSuchPart(DATABASE)
        parts = [part for part in only if part != DATABASE]
        alone = ["application"] if only and not parts else parts
        return await prepare.choose(self._parts, wish, alone)

    async def _planned(
        self, chosen: Chosen, only: Sequence[str], accept: frozenset[str]
    ) -> Plan | None:
        if tuple(only) == (DATABASE,):
            first, wish = chosen[0]
            planned: Plan | None = await first.nowhere(wish)
        else:
            planned = await prepare.planned(chosen)
        if planned is None or self.database is None:
            return planned
        way = Compatibility(
            database=self.database,
            ledger=self.ledger,
            environment=self.policy.environment,
            site=self.policy.site_url or await self.platform.site_url(),
            live=self._live_everywhere,
            notice=self.notice,
        )
        whole = await way.with_schema(
            planned,
            asked=DATABASE in only,
            accept=accept,
            may=chosen[0][1].verdict is None or self.policy.schema_unattended,
        )
        return whole if whole.steps else None

    async def _live_everywhere(self) -> Sequence[tuple[str, str]]:
        """What serves production, of this engine's parts and of those beside it."""
        own = {part.deployments.part: part.deployments.platform for part in self._parts}
        return [
            (part, deployment)
            for part, platform in {**own, **self.beside}.items()
            for deployment in set((await platform.live()).values())
        ]

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
            platforms={
                part.deployments.part: part.deployments.platform for part in self._parts
            },
            database=self.database,
        )

    @property
    def forward(self) -> Undo:
        """What goes forward again: it undoes a rollback."""
        return Undo(parts=self._parts, response=self._response, tokens=self.tokens)

    # -- what the parts above ask for -----------------------------------------

    @property
    def _deployments(self) -> track.Deployments:
        return track.Deployments(
            ledger=self.ledger,
            platform=self.platform,
            clock=self.clock,
            environment=self.policy.environment,
            part=self.part,
            notice=self.notice,
        )

    @property
    def preparation(self) -> Preparation:
        """What plans for this part."""
        return Preparation(
            deployments=self._deployments,
            site=self.site,
            site_url=self.policy.site_url,
            notice=self.notice,
        )

    @property
    def _parts(self) -> tuple[Preparation, ...]:
        """In the order in which they are rolled back."""
        others = (self.alone("api"),) if self.api else ()
        return tuple(engine.preparation for engine in (self, *others))

    @property
    def watches(self) -> Watches:
        """What watches deployments of this part."""
        return Watches(
            deployments=self._deployments,
            sources=self.sources,
            errors=self.errors,
            policy=self.policy,
            notice=self.notice,
        )

    async def _record_passing(self, deployment_id: str) -> None:
        """A ledger that is lost meanwhile does not make a good release bad."""
        try:
            await self._deployments.set_health(deployment_id, HealthStatus.PASSING)
        except LedgerUnreachable as error:
            self.notice(f"it was not recorded as passing: {error.message}")
