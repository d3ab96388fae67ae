"""What a rollback of one part would do, worked out from what is live: nothing changes.

A part is the application or the API, each a project of its own on the platform.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Required, TypedDict, TypeVar

import anyio

from . import plan, track, verify
from .errors import (
    NoSuchPart,
    NotATarget,
    RollbackError,
    UnknownDeployment,
    Unreachable,
)
from .model import (
    DeploymentVersion,
    Health,
    HealthStatus,
    Plan,
    PlatformDeployment,
    Verdict,
)
from .ports import Site

__all__ = ["Chosen", "Preparation", "Wish", "Wishes", "choose", "planned"]

PASSING = HealthStatus.PASSING
T = TypeVar("T")


class Wishes(TypedDict, total=False):
    """The fields of a `Wish`, by name."""

    reason: Required[str]
    candidate: str | None
    target: str | None
    stable: DeploymentVersion | None
    verdict: Verdict | None
    override: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be undone, and why: `candidate`, or what is live.

    Back to `stable`, found before, or to `target`, or to the last stable one.
    """

    reason: str
    candidate: str | None = None
    target: str | None = None
    stable: DeploymentVersion | None = None
    verdict: Verdict | None = None
    override: bool = False

    @property
    def goal(self) -> str | None:
        """The deployment to go back to, where it is known already."""
        return self.stable.deployment_id if self.stable else self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Looks at one part, and plans. `site_url` is where it is reached, if not given."""

    deployments: track.Deployments
    site: Site
    site_url: str | None
    notice: Callable[[str], None]

    async def plan(self, wish: Wish) -> Plan | None:
        """What the rollback would do now; None when there is nothing to do.

        Raises a `Refused` when it cannot be done safely.
        """
        known = self.deployments
        bad = await known.on_platform(wish.candidate or await known.live())
        live = await known.platform.live()
        rolling = await self._known(known.platform.rolling_release(), "what rolls out")
        if not plan.is_live(live, bad.id, rolling) or bad.id == wish.target:
            return None
        good = await self._offered(
            await known.on_platform(await self._goal(wish, bad.id))
        )
        passed = wish.override or await self._passed(wish, good.id)
        bad_health, good_health = await self._both(bad, good)
        if not passed:
            track.require_healthy(good_health, good.id)
        return plan.make_plan(
            environment=known.environment,
            candidate=bad,
            candidate_health=bad_health,
            target=good,
            target_health=good_health,
            reason=wish.reason,
            verdict=wish.verdict,
            moves=await self._moves(good.id),
            by_hand=await self._by_hand(bad.id),
            auto_assign=await self._known(
                known.platform.auto_assigns(), "whether new builds go live"
            ),
            override=wish.override,
            part=known.part,
            site=self.site_url or await known.platform.site_url(),
        )

    async def nowhere(self, wish: Wish) -> Plan:
        """No step of this part: where it is, and what the schema goes back for."""
        known = self.deployments
        bad = wish.candidate or await known.live()
        return Plan(
            environment=known.environment,
            from_deployment=bad,
            to_deployment=await self._goal(wish, bad),
            reason=wish.reason,
            steps=(),
            part=known.part,
        )

    async def _passed(self, wish: Wish, target: str) -> bool:
        """Whether it is known to have passed; the ledger alone knows that.

        What had passed when a watch began may have been rolled back from since; where
        the ledger is lost meanwhile it is believed.
        """
        before = wish.stable is not None and wish.stable.health_check_status is PASSING
        return await self.deployments.passed(target) or before

    async def look(self, deployment_id: str) -> Health:
        """One look at a deployment that the platform must know."""
        return await self.health(await self.deployments.on_platform(deployment_id))

    async def health(self, deployment: PlatformDeployment) -> Health:
        """One look at its own address."""
        return await verify.health_of(
            self.site, deployment.url, clock=self.deployments.clock, protected=True
        )

    async def knows(self, deployment_id: str | None) -> bool:
        """Whether it is a deployment of this part."""
        platform = self.deployments.platform
        if deployment_id is None:
            return False
        return await platform.deployment(deployment_id) is not None

    async def suspicious(self) -> bool:
        """Whether what is live was recorded and has not passed; not known is no."""
        known = self.deployments
        try:
            live = await known.ledger.find(await known.live(), known.environment)
        except RollbackError as error:
            self.notice(f"the {known.part} is left as it is: {error.message}")
            return False
        return live is not None and live.health_check_status is not PASSING

    async def _goal(self, wish: Wish, candidate: str) -> str:
        if wish.goal:
            return wish.goal
        stable = await self.deployments.stable(candidate=candidate)
        return stable.deployment_id

    async def _moves(self, target: str) -> tuple[str, ...]:
        """The platform's dry run: good to know, and no reason to stay if it fails."""
        try:
            return await self.deployments.platform.moves(target)
        except Unreachable as error:
            self.notice(f"which hosts would move is not known: {error.message}")
            return ()

    async def _by_hand(self, candidate: str) -> tuple[str, ...]:
        """Hosts that a person pointed at the candidate: the platform leaves them."""
        hosts = self.deployments.platform.other_hosts(candidate)
        return await self._known(hosts, "which hosts were pointed by hand") or ()

    async def _offered(self, target: PlatformDeployment) -> PlatformDeployment:
        """As the platform's own list has it, which alone knows what it offers."""
        offered = self.deployments.platform.candidates()
        found = await self._known(offered, "what the platform offers")
        if found is None:
            return target
        listed = target.id in {each.id for each in found}
        return replace(target, candidate=target.candidate and listed)

    async def _known(self, question: Awaitable[T], what: str) -> T | None:
        """What is good to know; that it cannot be known is no reason to stay."""
        try:
            return await question
        except (Unreachable, NotATarget) as error:
            self.notice(f"{what} is not known: {error.message}")
            return None

    async def _both(
        self, one: PlatformDeployment, other: PlatformDeployment
    ) -> tuple[Health, Health]:
        """Both looked at in the same moment, so that they can be compared."""
        seen: dict[str, Health] = {}
        problems: list[RollbackError] = []

        async def look(deployment: PlatformDeployment) -> None:
            try:
                seen[deployment.id] = await self.health(deployment)
            except RollbackError as error:
                problems.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(look, one)
            group.start_soon(look, other)
        if problems:
            raise problems[0]
        return seen[one.id], seen[other.id]


Chosen = tuple[tuple[Preparation, Wish], ...]
"""The parts that are to go back, in their order, and what is wished of each."""


async def choose(
    parts: Sequence[Preparation], wish: Wish, only: Sequence[str]
) -> Chosen:
    """Which parts are meant: those in `only`, or the one that a deployment names.

    Where nothing is named: the first one, and each other one of which something is
    live that has not passed. What passed is left alone until somebody names it.
    """
    asked = [p for p in parts if not only or p.deployments.part in only]
    if not asked:
        raise NoSuchPart(", ".join(only))
    if len(parts) == 1:
        chosen = [(asked[0], wish)]
    else:
        chosen = [(part, await _own(part, wish)) for part in asked]
        _refuse_unknown(chosen, wish)
        if not only:
            chosen = await _meant(chosen, wish)
    return tuple([(part, await _found(part, own)) for part, own in chosen])


async def planned(chosen: Chosen) -> Plan | None:
    """One plan of all; None when there is nothing to do in any part."""
    plans = [await part.plan(wish) for part, wish in chosen]
    return plan.joined([one for one in plans if one])


async def _own(part: Preparation, wish: Wish) -> Wish:
    """The wish with the deployments of this part alone."""
    return replace(
        wish,
        candidate=wish.candidate if await part.knows(wish.candidate) else None,
        target=wish.target if await part.knows(wish.target) else None,
    )


async def _found(part: Preparation, wish: Wish) -> Wish:
    return replace(wish, candidate=wish.candidate or await part.deployments.live())


def _refuse_unknown(chosen: Sequence[tuple[Preparation, Wish]], wish: Wish) -> None:
    known = {name for _, own in chosen for name in (own.candidate, own.target)}
    for name in (wish.candidate, wish.target):
        if name not in known:
            raise UnknownDeployment(str(name), where="on the platform")


async def _meant(
    chosen: Sequence[tuple[Preparation, Wish]], wish: Wish
) -> list[tuple[Preparation, Wish]]:
    if wish.candidate or wish.target:
        named = [(part, own) for part, own in chosen if own.candidate or own.target]
        if len(named) > 1:
            raise NotATarget(
                f"{wish.target} is a deployment of another part than {wish.candidate}."
            )
        return named
    first, *others = chosen
    return [first, *[other for other in others if await other[0].suspicious()]]
