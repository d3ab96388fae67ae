"""What the platform holds: which deployment each host leads to, and what moves it."""

import secrets
import string
import time
from collections import deque
from dataclasses import replace
from typing import Any

from stack.platform.cache import Cache
from stack.platform.config import Config, Deployment
from stack.platform.errors import ApiError
from stack.platform.faults import Faults
from stack.platform.jobs import Job, Kind, past, request
from stack.platform.rolling import Rolling

CALLS_KEPT = 1000
BUILD_S = 0.5  # how long a build takes that is asked for
LETTERS = string.ascii_letters + string.digits
BUILT_MS = 61_000  # from its creation until its aliases are assigned
RETENTION = {
    "expirationDays": 180,
    "expirationDaysProduction": 365,
    "expirationDaysCanceled": 30,
    "expirationDaysErrored": 90,
    "deploymentsToKeep": 10,
}


class World:
    """One project, its deployments, its hosts.

    Nothing runs in the background: what a job has moved by now is worked out whenever
    somebody asks.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.cache = Cache()
        self._job: Job | None = None
        self.rolling: Rolling | None = None
        self.started_at = int(time.time() * 1000)
        self.reset()

    def reset(self) -> None:
        """Go back to the state after start."""
        self.deployments = {each.id: each for each in self.config.deployments}
        self._deployed_at: dict[str, int] = {}
        self._building: dict[str, float] = {}
        self.faults = Faults()
        self.retention = dict(RETENTION)
        self.deleted: set[str] = set()
        self.cache.entries.clear()
        self.calls: deque[dict[str, Any]] = deque(maxlen=CALLS_KEPT)
        self._hosts: dict[str, str] = {}
        self._job = None
        self.promoted = {
            each.id for each in self.config.deployments if each.substate == "PROMOTED"
        }
        self.put_live(self.config.live)

    def put_live(self, deployment_id: str) -> None:
        """Point every domain of the project there at once; forget former requests.

        Raises:
            ApiError: 404, there is no such deployment.

        """
        self.live = self.deployment(deployment_id).id
        self._hosts.update(dict.fromkeys(self.config.domains, self.live))
        self.promoted.add(self.live)
        self._job = self.rolling = None
        self._arrived: set[str] = set()
        self.auto_assign = True
        self.rollback_description: dict[str, Any] | None = None

    def deploy(self, deployment_id: str) -> None:
        """Take in a build that was not there at start, as the newest.

        It goes live, unless a rollback has switched that off.

        Raises:
            ApiError: 404, there is no such build.

        """
        for build in self.config.later:
            if build.id == deployment_id:
                self.deployments[build.id] = build
                self._deployed_at[build.id] = int(time.time() * 1000) - BUILT_MS
                if self.auto_assign:
                    self.put_live(build.id)
                return
        raise ApiError(404, f"There is no build to deploy: {deployment_id}")

    def redeploy(self, source: Deployment, meta: dict[str, str]) -> Deployment:
        """Build a deployment's sources again: a new one, which is ready in a while.

        The process and the address of the one that it is built from serve it too.
        """
        number = "".join(secrets.choice(LETTERS) for _ in range(28))
        built = replace(
            source,
            id=f"dpl_{number}",
            state="BUILDING",
            substate="STAGED",
            meta=tuple(sorted(meta.items())),
        )
        self.deployments[built.id] = built
        self._deployed_at[built.id] = int(time.time() * 1000)
        self._building[built.id] = time.monotonic() + BUILD_S
        return built

    def delete(self, deployment_ids: list[str]) -> None:
        """Let retention delete these, and no others.

        Raises:
            ApiError: 404, there is no such deployment.

        """
        self.deleted = {self.deployment(name).id for name in deployment_ids}

    @property
    def hosts(self) -> dict[str, str]:
        """Where each domain and custom alias leads now: host to deployment id."""
        self._settle()
        return self._hosts

    @property
    def job(self) -> Job | None:
        """The last request to move the project's domains."""
        self._settle()
        return self._job

    def created_at(self, deployment: Deployment) -> int:
        """Give its age as the platform tells it, in ms: an hour between the first."""
        if deployment.id in self._deployed_at:
            return self._deployed_at[deployment.id]
        newer = self.config.deployments[::-1].index(deployment)
        return self.started_at - (newer + 1) * 3_600_000

    def deployment(self, name: str) -> Deployment:
        """Find a deployment by its id, its own host, or a host that leads to it.

        Raises:
            ApiError: 404.

        """
        found = self.find(name)
        if found is None:
            raise ApiError(404, f"Could not find the deployment: {name}")
        return found

    def newest_first(self) -> list[Deployment]:
        """Give every deployment as it is now."""
        self._settle()
        return list(reversed(self.deployments.values()))

    def find(self, name: str) -> Deployment | None:
        """Find a deployment as above, or None."""
        direct = self.deployments.get(self.hosts.get(name, name))
        own = (each for each in self.deployments.values() if each.url == name)
        return direct or next(own, None)

    def serving(self, host: str) -> Deployment | None:
        """Find what the next visit of this host sees: maybe a rolling release's."""
        found = self.find(host)
        rolling = self.rolling
        if rolling and host in self.config.domains and found == rolling.base:
            return rolling.parted()
        return found

    def set_up(self, wanted: dict[str, Any]) -> None:
        """Let the faults that are a state of the project become so.

        Raises:
            ApiError: 404, there is no such deployment.

        """
        if "older_job" in wanted:
            asked = wanted["older_job"]
            self._job = asked and past(
                asked, domains=self.config.domains, live=self.live
            )
            self._arrived = set(self.config.domains)
        if "rolling" in wanted:
            asked = wanted["rolling"]
            self.rolling = asked and Rolling(
                id="rr_1",
                base=self.deployments[self.live],
                canary=self.deployment(asked["canary"]),
                percentage=asked["percentage"],
            )

    def predecessor(self) -> str | None:
        """Give the production deployment before the one that is live."""
        production = [
            each.id for each in self.deployments.values() if each.target == "production"
        ]
        place = production.index(self.live) if self.live in production else 0
        return production[place - 1] if place else None

    def assign(self, host: str, deployment: Deployment) -> str | None:
        """Point one host there, now; give where it led before."""
        before = self.hosts.get(host)
        self._hosts[host] = deployment.id
        return before

    def move(self, kind: Kind, deployment: Deployment) -> None:
        """Begin to move the project's domains there. Other hosts stay where they are.

        Raises:
            ApiError: 409, it is the production deployment already.

        """
        running = self.job is not None and self.job.running
        rolling, self.rolling = self.rolling, None
        if not rolling and self.live == deployment.id and not running:
            message = f"{deployment.id} is already the current production deployment"
            raise ApiError(409, message)
        self.auto_assign = kind == "promote"
        self.rollback_description = None
        self._job = request(
            kind,
            came_from=rolling.canary.id if rolling else self.live,
            goes_to=deployment.id,
            domains=self.config.domains,
            faults=self.faults.table,
            rolling=rolling.id if rolling else None,
        )
        self.faults.table.pop("rolling", None)
        self._arrived = set()

    def state(self) -> dict[str, Any]:
        """Give everything that is held, for tests to look at.

        ``calls`` are the last requests to the API; one whose reply was lost has the
        status 102, one that the stand-in does not know has no ``endpoint``.
        """
        hosts = self.hosts
        domains = {host: hosts[host] for host in self.config.domains}
        return {
            "live": self.live,
            "domains": domains,
            "custom_aliases": {
                host: goal for host, goal in hosts.items() if host not in domains
            },
            "deployments": [
                {"id": each.id, "name": each.name, "url": each.url}
                for each in self.deployments.values()
            ],
            "auto_assign_custom_domains": self.auto_assign,
            "last_alias_request": self.job.answer() if self.job else None,
            "rollback_description": self.rollback_description,
            "faults": self.faults.table,
            "cache": self.cache.state(),
            "calls": list(self.calls),
        }

    def _end_builds(self) -> None:
        """Let builds end whose time has come: live at once, where that is so set."""
        now = time.monotonic()
        for name in [each for each, ends in self._building.items() if ends <= now]:
            del self._building[name]
            failed = bool(self.faults.table.get("build_fails"))
            state = "ERROR" if failed else "READY"
            self.deployments[name] = replace(self.deployments[name], state=state)
            if self.auto_assign and not failed:
                self.put_live(name)

    def _settle(self) -> None:
        self._end_builds()
        job = self._job
        if job is None:
            return
        for host in set(job.moved()) - self._arrived:
            self._hosts[host] = job.goes_to
            self._arrived.add(host)
        if job.status == "succeeded" and job.moved() and self.live != job.goes_to:
            self.live = job.goes_to
            self.promoted.add(job.goes_to)
