from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime

from anyio.lowlevel import checkpoint

from rollback.errors import SourceDown
from rollback.model import Counts, CriticalError, PlatformDeployment

__all__ = ["MemoryErrors", "MemorySource"]


class MemorySource:
    """Counts that a test puts in (port `MetricSource`, passive).

    While `down` is set, `counts` raises `SourceDown` with it.
    """

    def __init__(self, name: str = "memory", *, lag_seconds: int = 0) -> None:
        self.name, self.lag_seconds = name, lag_seconds
        self.down: str | None = None
        self._seen: dict[str, dict[int, Counts]] = {}

    def add(self, deployment_id: str, counts: Counts) -> None:
        """Count; what is of one second adds up."""
        seen = self._seen.setdefault(deployment_id, {})
        known = seen.get(counts.second)
        seen[counts.second] = known + counts if known else counts

    def watching(
        self,
        deployment: PlatformDeployment,  # noqa: ARG002 - the port's; nothing to do
    ) -> AbstractAsyncContextManager[None]:
        """Do nothing: the test counts."""
        return nullcontext()

    async def counts(
        self, deployment: PlatformDeployment, *, since: int, until: int
    ) -> tuple[Counts, ...]:
        """The counts of the seconds in [since, until), in order."""
        await checkpoint()
        if self.down:
            raise SourceDown(self.down)
        seen = self._seen.get(deployment.id, {})
        return tuple(seen[second] for second in sorted(seen) if since <= second < until)


class MemoryErrors:
    """Critical errors that a test puts in (port `ErrorSource`).

    While `down` is set, `critical_errors` raises `SourceDown` with it.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.down: str | None = None
        self._seen: list[tuple[str, str, str, datetime]] = []

    def add(
        self, git_sha: str, code: str, at: datetime, *, environment: str = "production"
    ) -> None:
        """One error of a release."""
        self._seen.append((git_sha, environment, code, at))

    async def critical_errors(
        self,
        deployment: PlatformDeployment,
        *,
        codes: Sequence[str],
        environment: str,
        since: datetime,
    ) -> tuple[CriticalError, ...]:
        """The codes seen since then, in the order of the codes; see the port."""
        await checkpoint()
        if self.down:
            raise SourceDown(self.down)
        if not deployment.git_sha:
            raise SourceDown(f"The git sha of {deployment.id} is not known.")
        seen: dict[str, list[datetime]] = {}
        for git_sha, where, code, at in self._seen:
            if (git_sha, where) == (deployment.git_sha, environment) and at >= since:
                seen.setdefault(code, []).append(at)
        return tuple(
            CriticalError(code=code, count=len(seen[code]), first_seen=min(seen[code]))
            for code in codes
            if code in seen
        )
