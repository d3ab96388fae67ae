from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import anyio
from anyio.lowlevel import checkpoint

from rollback.errors import NotATarget, PlatformUnreachable, RollbackError
from rollback.model import AliasRequest, PlatformDeployment, RollingRelease
from rollback.ports import Clock

__all__ = ["MemoryPlatform"]


@dataclass(slots=True)
class _Job:
    request: AliasRequest
    ends_at: float


class MemoryPlatform:
    """Deployments and production aliases in memory (port `Platform`).

    A rollback moves the hosts `move_seconds` after it was accepted, except those in
    `stays` (custom aliases, which the platform leaves behind). Switches, as attributes:

    - `refuse`: this error is raised by the requests that change something, or these
      errors one after the other
    - `lose_reply`: such a request is taken, and `PlatformUnreachable` raised
    - `hang`: the job goes on for ever; `fail`: it fails, and nothing has moved
    - `down`: nothing is answered, with this as the reason
    - `dark`: the production hosts in it serve no deployment, and `live` leaves them out
    - `foreign`: the hosts in it serve a deployment of another project
    - `by_hand`: hosts that were pointed by hand, and the deployment that each serves
    - `rolling`: the release that is being rolled out in stages
    - `auto_assign`: whether new builds go live by themselves
    - `build_seconds`: how long a new build takes

    `asked` holds what was requested: ("roll_back", id, description), ("promote", id,
    ""), ("assign", id, host), ("redeploy", id, token), ("auto_assign", "on" or "off",
    "").
    """

    def __init__(
        self,
        *,
        clock: Clock,
        deployments: Iterable[PlatformDeployment],
        hosts: Mapping[str, str],
        move_seconds: float = 0.0,
        stays: Collection[str] = (),
    ) -> None:
        self.refuse: RollbackError | list[RollbackError] | None = None
        self.lose_reply = self.hang = self.fail = False
        self.down: str | None = None
        self.dark: set[str] = set()
        self.foreign: set[str] = set()
        self.by_hand: dict[str, str] = {}
        self.rolling: RollingRelease | None = None
        self.auto_assign: bool | None = True
        self.asked: list[tuple[str, str, str]] = []
        self._clock = clock
        self._deployments = {d.id: d for d in deployments}
        self._hosts = dict(hosts)
        self._move_seconds, self._stays = move_seconds, frozenset(stays)
        self._job: _Job | None = None
        self.build_seconds = 0.0
        self._built: list[tuple[str, str, float]] = []

    async def deployment(self, id_or_host: str) -> PlatformDeployment | None:
        """One deployment, by id or by a host that it serves; None if unknown."""
        await self._reach()
        if id_or_host in self.foreign:
            return None
        own = {d.url.partition("://")[2]: d.id for d in self._deployments.values()}
        by_host = {**own, **self.by_hand, **self._hosts}
        return self._deployments.get(by_host.get(id_or_host, id_or_host))

    async def production_hosts(self) -> tuple[str, ...]:
        """The hosts on which production is served."""
        await self._reach()
        return tuple(self._hosts)

    async def other_hosts(self, deployment_id: str) -> tuple[str, ...]:
        """Hosts pointed by hand at this deployment."""
        await self._reach()
        return tuple(h for h, serves in self.by_hand.items() if serves == deployment_id)

    async def site_url(self) -> str:
        """The first production host, with its scheme."""
        await self._reach()
        return f"https://{next(iter(self._hosts))}"

    async def live(self) -> Mapping[str, str]:
        """Which deployment each production host serves now."""
        await self._reach()
        gone = self.dark | self.foreign
        return {h: serves for h, serves in self._hosts.items() if h not in gone}

    async def dark_hosts(self) -> tuple[str, ...]:
        """The production hosts that serve no deployment, of whichever project."""
        await self._reach()
        return tuple(host for host in self._hosts if host in self.dark)

    async def rolling_release(self) -> RollingRelease | None:
        """The release that is being rolled out in stages now, if there is one."""
        await self._reach()
        return self.rolling

    async def candidates(self) -> tuple[PlatformDeployment, ...]:
        """The latest builds that it would roll production back to, newest first."""
        await self._reach()
        fit = [d for d in self._deployments.values() if d.ready and d.candidate]
        return tuple(sorted(fit, key=lambda d: d.created_at, reverse=True))

    async def moves(self, deployment_id: str) -> tuple[str, ...]:
        """Dry run: the hosts that a rollback to this deployment would move."""
        await self._reach()
        self._suitable(deployment_id)
        return tuple(self._following(deployment_id))

    async def last_request(self) -> AliasRequest | None:
        """The last request to move the aliases, whoever made it."""
        await self._reach()
        return self._job.request if self._job else None

    async def auto_assigns(self) -> bool | None:
        """Whether a new production build goes live by itself."""
        await self._reach()
        return self.auto_assign

    async def set_auto_assign(self, *, on: bool) -> None:
        """Let new production builds go live by themselves, or not."""
        await self._ask("auto_assign", "on" if on else "off", "")
        self.auto_assign = on

    async def roll_back(self, deployment_id: str, *, description: str) -> None:
        """Ask once to move production to this deployment; see the port."""
        await self._ask("roll_back", deployment_id, description)
        self._suitable(deployment_id)
        self.rolling = None
        self._move("rollback", deployment_id)
        self._reply()

    async def promote(self, deployment_id: str) -> bool:
        """Ask once to move production forward to this deployment; see the port."""
        await self._ask("promote", deployment_id, "")
        self._suitable(deployment_id)
        if self.rolling:
            return False
        self._move("promote", deployment_id)
        self._reply()
        return True

    async def assign(self, deployment_id: str, host: str) -> None:
        """Point one host at a deployment; already so is fine."""
        await self._ask("assign", deployment_id, host)
        self._suitable(deployment_id)
        (self.by_hand if host in self.by_hand else self._hosts)[host] = deployment_id
        self.dark.discard(host)
        self.foreign.discard(host)
        self._reply()

    async def redeploy(self, deployment_id: str, *, token: str) -> None:
        """Ask once for a new build of the same sources; see the port."""
        await self._ask("redeploy", deployment_id, token)
        new = f"{deployment_id}_{len(self._built)}"
        source = self._deployments[deployment_id]
        self._deployments[new] = replace(
            source, id=new, created_at=self._clock.now(), served=False
        )
        self._built.append((token, new, anyio.current_time() + self.build_seconds))
        if self.auto_assign:
            self.taken_over(new)
        self._reply()

    async def redeployed(self, token: str) -> PlatformDeployment | None:
        """The newest that was marked with this token; see the port."""
        await self._reach()
        for mark, name, done_at in reversed(self._built):
            if mark == token:
                if self.fail:
                    raise NotATarget(f"{name} could not be built.")
                ready = anyio.current_time() >= done_at
                return replace(self._deployments[name], ready=ready, candidate=ready)
        return None

    def taken_over(self, deployment_id: str) -> None:
        """Somebody else moves every production host, at once."""
        self._hosts = dict.fromkeys(self._hosts, deployment_id)

    def note(self, request: AliasRequest) -> None:
        """The last request is this one, as it ended, whatever the hosts serve."""
        self._job = _Job(request, anyio.current_time())

    async def _reach(self) -> None:
        await checkpoint()
        if self.down:
            raise PlatformUnreachable(self.down)
        self._settle()

    async def _ask(self, verb: str, deployment_id: str, what: str) -> None:
        await self._reach()
        self.asked.append((verb, deployment_id, what))
        refusal = self.refuse
        if isinstance(refusal, list):
            refusal = refusal.pop(0) if refusal else None
        if refusal:
            raise refusal

    def _suitable(self, deployment_id: str) -> None:
        found = self._deployments.get(deployment_id)
        if found is None or not (found.ready and found.candidate):
            raise NotATarget(f"Production cannot be moved to {deployment_id}.")

    def _move(self, kind: str, deployment_id: str) -> None:
        moving = self._following(deployment_id)
        if not moving:
            return
        # As the platform does it: while production is rolled back, builds wait.
        self.auto_assign = None if self.auto_assign is None else kind == "promote"
        request = AliasRequest(
            kind=kind,
            from_deployment=self._hosts[moving[0]],
            to_deployment=deployment_id,
            status="in-progress",
            requested_at=self._clock.now(),
        )
        self._job = _Job(request, anyio.current_time() + self._move_seconds)

    def _reply(self) -> None:
        self._settle()
        if self.lose_reply:
            raise PlatformUnreachable("The answer was lost.")

    def _following(self, deployment_id: str) -> list[str]:
        """The hosts that a job moves there; custom ones stay where they are."""
        return [
            host
            for host, serves in self._hosts.items()
            if serves != deployment_id and host not in self._stays
        ]

    def _settle(self) -> None:
        """Let a job that is due end."""
        job = self._job
        if job is None or job.request.status != "in-progress" or self.hang:
            return
        if anyio.current_time() < job.ends_at:
            return
        status = "failed" if self.fail else "succeeded"
        job.request = replace(job.request, status=status)
        if not self.fail:
            target = job.request.to_deployment
            for host in self._following(target):
                self._hosts[host] = target
