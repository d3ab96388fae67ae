from pathlib import Path

import anyio
from anyio.lowlevel import checkpoint

from rollback.errors import (
    BackupFailed,
    DatabaseUnreachable,
    RollbackError,
    SchemaRefused,
    UnknownVersion,
)
from rollback.ports import Clock, Notice
from rollback.schema import (
    Backup,
    Fingerprint,
    Receipt,
    SchemaPlan,
    Script,
    digest,
)

__all__ = ["MemoryDatabase"]


class MemoryDatabase:
    """A schema with a history in memory (port `Database`).

    While `down` is set, every call raises `DatabaseUnreachable` with it. A backup takes
    `backup_seconds`; `no_backup` and `refusal` are what keeps it, and the rollback.
    `calls` has what was asked, in order.
    """

    def __init__(self, *versions: str, clock: Clock) -> None:
        self.applied = list(versions)
        self.clock = clock
        self.down: str | None = None
        self.backup_seconds = 0.0
        self.no_backup: str | None = None
        self.refusal: RollbackError | None = None
        self.calls: list[str] = []

    async def version(self) -> str | None:
        """The last one that was applied."""
        await self._reach()
        return self.applied[-1] if self.applied else None

    async def versions(self) -> tuple[str, ...]:
        """All that were applied."""
        await self._reach()
        return tuple(self.applied)

    async def fingerprint(self) -> Fingerprint:
        """A line for each version."""
        await self._reach()
        return Fingerprint(lines=tuple(self.applied))

    async def back_up(self, label: str, *, notice: Notice) -> Backup:
        """Take a backup of nothing, in its time."""
        self.calls.append("back_up")
        await self._reach()
        at, version = self.clock.now(), await self.version()
        notice("backing up")
        await anyio.sleep(self.backup_seconds)
        if self.no_backup:
            raise BackupFailed(self.no_backup, mend="Free room there.")
        self.calls.append("backed_up")
        return Backup(
            name=label,
            path=f"memory:{label}",
            label=label,
            database="memory",
            version=version,
            taken_at=at,
            seconds=self.backup_seconds,
            server="memory",
            client="memory",
            schemas=("public",),
            tables=(),
            files=(),
            verified=True,
        )

    async def plan(
        self,
        to: str,
        *,
        accept: frozenset[str],  # noqa: ARG002 - the port's
    ) -> SchemaPlan | None:
        """The versions above that one, from the newest on."""
        await self._reach()
        if to not in self.applied:
            raise UnknownVersion(f"The version {to} was never applied.")
        above = self.applied[self.applied.index(to) + 1 :]
        if not above:
            return None
        if isinstance(self.refusal, SchemaRefused):
            raise self.refusal
        scripts = [_script(version) for version in reversed(above)]
        return SchemaPlan(from_version=above[-1], to_version=to, scripts=tuple(scripts))

    async def rehearse(
        self, plan: SchemaPlan, backup: Backup, *, notice: Notice
    ) -> None:
        """Nothing can go wrong with it."""
        await self._reach()
        notice(f"rehearsing {plan.to_version} on {backup.name}")
        self.calls.append("rehearse")

    async def roll_back(
        self, plan: SchemaPlan, backup: Backup, *, incident: str, notice: Notice
    ) -> Receipt:
        """Forget the versions above."""
        notice(f"taking back {', '.join(plan.versions)}")
        self.calls.append("roll_back")
        await self._reach()
        if self.refusal:
            raise self.refusal
        above = tuple(reversed(self.applied[-len(plan.versions) :]))
        if above != plan.versions:
            raise SchemaRefused("The history is not what it was when it was planned.")
        del self.applied[-len(plan.versions) :]
        return self._receipt(plan, backup, incident)

    def _receipt(self, plan: SchemaPlan, backup: Backup, incident: str) -> Receipt:
        return Receipt(
            incident=incident,
            from_version=plan.from_version,
            to_version=plan.to_version,
            versions=plan.versions,
            plan_sha256=plan.sha256,
            backup_sha256=backup.sha256,
            fingerprint_sha256=digest(self.applied),
            fingerprint_compared=False,
            destroyed=plan.destroys,
            archived=(),
            attempts=1,
            waited=0.0,
            stalled=0.0,
            total=0.0,
            committed_at=self.clock.now(),
        )

    async def _reach(self) -> None:
        await checkpoint()
        if self.down:
            raise DatabaseUnreachable(self.down)


def _script(version: str) -> Script:
    text = f"-- {version} taken back"
    path = Path(f"rollback_{version}.sql")
    return Script(version=version, path=path, text=text, sha256=digest(text))
