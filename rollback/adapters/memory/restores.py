from collections.abc import Callable
from datetime import datetime

from anyio.lowlevel import checkpoint

from rollback.errors import BackupFailed, DatabaseUnreachable
from rollback.ports import Clock, Notice
from rollback.schema import Backup, TableRows

__all__ = ["MemoryRestores"]


class MemoryRestores:
    """Backups and what was restored of them, in memory (port `Restores`).

    `known` are the backups, newest first, and `now` the tables as they are. While
    `down` is set, what concerns the database raises `DatabaseUnreachable` with it.
    Backups named in `damaged` do not check; `refusal` is what keeps any from being
    restored, and `breaks` what a restore breaks off with. `done` has what was restored,
    in order, and `marks` when, by token; `on_restore` is called with each.
    """

    def __init__(self, *, clock: Clock) -> None:
        self.clock = clock
        self.known: list[Backup] = []
        self.now: tuple[TableRows, ...] = ()
        self.down: str | None = None
        self.damaged: set[str] = set()
        self.refusal: str | None = None
        self.breaks: str | None = None
        self.done: list[str] = []
        self.marks: dict[str, datetime] = {}
        self.on_restore: Callable[[Backup], None] = lambda _: None

    async def backups(self) -> tuple[Backup, ...]:
        """The backups, newest first."""
        await checkpoint()
        return tuple(self.known)

    async def check(self, backup: Backup) -> None:
        """Whether it is damaged."""
        await checkpoint()
        if backup.name in self.damaged:
            raise BackupFailed(f"{backup.name} is damaged.")

    async def rows(self, backup: Backup) -> tuple[TableRows, ...]:
        """The tables as they are, whatever the backup holds."""
        await self._reach()
        del backup
        return self.now

    async def obstacle(
        self,
        backup: Backup,  # noqa: ARG002 - the port's
        *,
        swap: bool,  # noqa: ARG002 - the port's
        another: bool,  # noqa: ARG002 - the port's
    ) -> str | None:
        """What refuses everything, or nothing."""
        await self._reach()
        return self.refusal

    async def restored(self, token: str) -> datetime | None:
        """When this recovery has restored."""
        await self._reach()
        return self.marks.get(token)

    async def restore(
        self, backup: Backup, *, token: str, swap: bool, notice: Notice
    ) -> str:
        """Have the backup's tables, once for each token."""
        await self._reach()
        notice(f"restoring {backup.name}")
        if self.breaks:
            raise BackupFailed(self.breaks)
        if token in self.marks:
            raise BackupFailed(f"{token} has restored already.")
        self.marks[token] = self.clock.now()
        self.done.append(backup.name)
        self.now = backup.tables
        self.on_restore(backup)
        return f"{backup.name} is restored{' by a swap' if swap else ''}"

    async def _reach(self) -> None:
        await checkpoint()
        if self.down:
            raise DatabaseUnreachable(self.down)
