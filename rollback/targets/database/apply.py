"""The rollback itself: one transaction that commits only if all is as planned."""

from collections.abc import Callable
from secrets import SystemRandom

from rollback.ports import Clock, Notice
from rollback.schema import Backup, Receipt, SchemaPlan
from rollback.transactions import Database

__all__ = ["apply"]


async def apply(
    database: Database,
    plan: SchemaPlan,
    backup: Backup,
    *,
    incident: str,
    lock_timeout_ms: int,
    attempts: int,
    schemas: tuple[str, ...],
    notice: Notice,
    clock: Clock,
    jitter: Callable[[], float] = SystemRandom().random,
) -> Receipt:
    """Do what was planned, whole or not at all.

    Raises:
        LockNotTaken, SchemaBusy, NotAsPlanned, SchemaRefused: nothing was changed.
        DatabaseUnreachable: its message says what is known.

    """
    raise NotImplementedError
