"""Moving aliases takes a while: a job, read by the clock."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["rollback", "promote"]
Status = Literal["pending", "in-progress", "succeeded", "failed", "skipped"]

STARTS_S = 0.1
"""A job is pending for this long."""
LAST_MOVE_S = 0.5
"""The last domain moves; the others at even steps before."""
ENDS_S = 0.6
"""A job that does not hang is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request to move the project's domains, as ``lastAliasRequest`` tells it.

    ``begun`` is monotonic, in seconds; ``requested_at`` is wall time, in milliseconds.
    """

    kind: Kind
    came_from: str
    goes_to: str
    domains: tuple[str, ...]
    stays_behind: frozenset[str] = frozenset()
    ending: Status = "succeeded"
    hangs: bool = False
    rolling: str | None = None
    begun: float
    requested_at: int

    @property
    def age(self) -> float:
        """Seconds since the request."""
        return time.monotonic() - self.begun

    @property
    def status(self) -> Status:
        """Where the job is now."""
        if self.age < STARTS_S:
            return "pending"
        return "in-progress" if self.hangs or self.age < ENDS_S else self.ending

    @property
    def running(self) -> bool:
        """Whether it may still move something, or says so."""
        return self.status in ("pending", "in-progress")

    def moved(self) -> list[str]:
        """The domains whose moment has come."""
        due = [(self._moment(host), host) for host in self.domains]
        return [host for moment, host in due if moment <= self.age]

    def alias_status(self, host: str) -> str:
        """Where this domain's move is: completed, in-progress, pending or failed."""
        if host in self.moved():
            return "completed"
        if not self.running:
            return "failed"
        return "pending" if self.status == "pending" else "in-progress"

    def answer(self) -> dict[str, Any]:
        """Give ``lastAliasRequest``."""
        return {
            "fromDeploymentId": self.came_from,
            "toDeploymentId": self.goes_to,
            "jobStatus": self.status,
            "requestedAt": self.requested_at,
            "type": self.kind,
            "fromRollingReleaseId": self.rolling,
        }

    def _moment(self, host: str) -> float:
        if self.hangs or self.ending == "skipped" or host in self.stays_behind:
            return float("inf")
        step = (LAST_MOVE_S - STARTS_S) / len(self.domains)
        return STARTS_S + step * (self.domains.index(host) + 1)


def request(
    kind: Kind,
    *,
    came_from: str,
    goes_to: str,
    domains: Sequence[str],
    faults: dict[str, Any],
    rolling: str | None = None,
) -> Job:
    """Begin a job now, with the faults that are in force now."""
    usual = "failed" if "failed_domains" in faults else "succeeded"
    ending = faults.get("job_status", usual)
    left = faults.get("failed_domains", domains) if ending == "failed" else ()
    return Job(
        kind=kind,
        came_from=came_from,
        goes_to=goes_to,
        domains=tuple(domains),
        stays_behind=frozenset(left),
        ending=ending,
        hangs=bool(faults.get("hang")),
        rolling=rolling,
        begun=time.monotonic(),
        requested_at=int(time.time() * 1000),
    )


def past(asked: dict[str, Any], *, domains: Sequence[str], live: str) -> Job:
    """Give what somebody else asked for a while ago; it moves nothing any more."""
    age = float(asked["age_seconds"])
    return Job(
        kind=asked["type"],
        came_from=live,
        goes_to=asked["to"],
        domains=tuple(domains),
        stays_behind=frozenset(domains),
        ending=asked["status"],
        hangs=asked["status"] == "in-progress",
        begun=time.monotonic() - age,
        requested_at=int((time.time() - age) * 1000),
    )
