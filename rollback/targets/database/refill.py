"""Archived values put back, once their migration is applied again."""

from rollback.ports import Notice
from rollback.schema import Refilled
from rollback.transactions import Database

__all__ = ["refill"]

LOCK_TIMEOUT_MS = 2000


async def refill(
    database: Database,
    version: str,
    *,
    notice: Notice,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
) -> Refilled:
    """Put back what was archived of a version; nothing newer is overwritten.

    Raises:
        NothingArchived: there is no archive of this version.
        SchemaRefused: the version is not applied.
        LockNotTaken: nothing was changed.

    """
    raise NotImplementedError
