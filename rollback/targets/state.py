"""What state recovery does to the state: restore, caches. One target each.

A step names in `to_deployment` what it is about: a backup, or the prefix of keys.
"""

from dataclasses import dataclass, field

from rollback.errors import (
    BackupFailed,
    DatabaseUnreachable,
    RollbackError,
    SettingsInvalid,
    StepFailed,
)
from rollback.model import Step
from rollback.ports import Cache, Keys, Notice, Restores
from rollback.schema import Backup

from .database.target import Backing

__all__ = [
    "Emptied",
    "Purged",
    "Restored",
    "require_prefixes",
]

# What is no cache, though it is in Redis beside them.
KEYS = ("feature_flags", "feature_rollbacks")
PREFIXES = ("requests:",)


def require_prefixes(prefixes: tuple[str, ...]) -> None:
    """Refuse (`SettingsInvalid`) a prefix that flags or counters begin with."""
    for prefix in prefixes:
        kept = [key for key in KEYS if key.startswith(prefix)]
        kept += [
            f"{known}*"
            for known in PREFIXES
            if known.startswith(prefix) or prefix.startswith(known)
        ]
        if kept:
            raise SettingsInvalid(
                f'The prefix "{prefix}" would take {", ".join(kept)} along, '
                "which is no cache.",
                mend="Name the caches' own prefixes in ROLLBACK_CACHE_PREFIXES.",
            )


@dataclass(slots=True, kw_only=True)
class Restored:
    """A backup put back, once, whoever is killed: `token` is marked in the database."""

    restores: Restores
    backup: Backup
    backing: Backing
    token: str
    swap: bool
    notice: Notice
    name: str = "restore"
    _said: str = field(default="", init=False)

    async def check(self, step: Step) -> bool:  # noqa: ARG002 - the port's
        """Whether this recovery has restored before; not known is no."""
        try:
            return await self.restores.restored(self.token) is not None
        except DatabaseUnreachable as error:
            self.notice(error.message)
            return False

    async def apply(self, step: Step, *, reason: str) -> str:
        """Restore; it may have been committed though the answer was lost."""
        del reason
        await self._require_safe()
        try:
            self._said = await self.restores.restore(
                self.backup, token=self.token, swap=self.swap, notice=self.notice
            )
        except RollbackError as error:
            if not await self.check(step):
                raise
            self._said = f"{self.backup.name} is restored, though {error.message}"
        return self._said

    async def _require_safe(self) -> None:
        if not self.backing.ended.is_set():
            self.notice("waiting for the backup of what is there now")
        try:
            await self.backing.verified()
        except BackupFailed as error:
            raise BackupFailed(
                "What is there now could not be backed up: nothing is restored over "
                f"it. {error.message}"
            ) from error

    async def verify(self, step: Step) -> str:
        """The mark was set in the same transaction."""
        if not await self.check(step):
            raise StepFailed(f"{self.backup.name} was restored, and is not there.")
        return self._said


@dataclass(slots=True)
class Emptied:
    """Keys removed by their prefix."""

    keys: Keys
    notice: Notice
    name: str = "caches"
    _removed: int = field(default=0, init=False)

    async def check(self, step: Step) -> bool:
        """Whether there is none of them."""
        return await self.keys.count(step.to_deployment) == 0

    async def apply(self, step: Step, *, reason: str) -> str:  # noqa: ARG002 - the port's
        """Remove what is there now."""
        self._removed = await self.keys.remove(step.to_deployment, notice=self.notice)
        return f"{self._removed} keys are removed"

    async def verify(self, step: Step) -> str:
        """Count again: what is there was written since, by the release that is live."""
        left = await self.keys.count(step.to_deployment)
        since = f"; {left} were written since" if left else ""
        return f"{self._removed} keys of {step.to_deployment} removed{since}"


@dataclass(slots=True)
class Purged:
    """What the edge and the platform's own caches keep, by tags."""

    cache: Cache
    tags: tuple[str, ...]
    name: str = "edge"

    async def check(self, step: Step) -> bool:  # noqa: ARG002 - the port's
        """Never: nobody can see what the edge keeps elsewhere."""
        return False

    async def apply(self, step: Step, *, reason: str) -> str:  # noqa: ARG002 - the port's
        """Purge; twice is once."""
        await self.cache.purge(self.tags)
        return "the platform has taken it"

    async def verify(self, step: Step) -> str:  # noqa: ARG002 - the port's
        """What the platform said."""
        return f"the platform has purged {', '.join(self.tags)}"
