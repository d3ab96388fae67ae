"""Which backups stay: more than the newest few, as those may all hold the damage."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from rollback.schema import Backup
from rollback.transactions import Connection

__all__ = ["DAYS", "HOURS", "RECEIPT_DAYS", "named", "staying"]

HOURS, DAYS, RECEIPT_DAYS = 24, 7, 30

THERE = "SELECT to_regclass('rollback.receipts') IS NOT NULL AS there"
NAMED = """
SELECT DISTINCT document->>'backup_sha256' AS sha256 FROM rollback.receipts
WHERE committed_at > %(since)s
"""


async def named(connection: Connection, now: datetime) -> frozenset[str]:
    """The hashes of the backups that the latest rollbacks of the schema began with."""
    row = await (await connection.execute(THERE)).fetchone()
    if row is None or not row["there"]:
        return frozenset()
    since = now - timedelta(days=RECEIPT_DAYS)
    found = await connection.execute(NAMED, {"since": since})
    return frozenset([each["sha256"] for each in await found.fetchall()])


def staying(
    backups: Sequence[Backup], *, kept: int, now: datetime, pinned: Collection[str]
) -> tuple[Backup, ...]:
    """Of one database's backups, newest first, those that are not to be removed.

    The newest `kept`; all of the last 24 hours, so that no row of rollbacks pushes out
    what was backed up before the incident; the first of each of the last seven days (in
    UTC); and those `pinned` by their hash.
    """
    newest = {backup.name for backup in backups[:kept]}
    # Newest first: the last one that is put under a day is the first of it.
    first = {backup.taken_at.astimezone(UTC).date(): backup.name for backup in backups}

    def stays(backup: Backup) -> bool:
        age = now - backup.taken_at
        day = backup.taken_at.astimezone(UTC).date()
        return (
            backup.name in newest
            or age <= timedelta(hours=HOURS)
            or (age <= timedelta(days=DAYS) and first[day] == backup.name)
            or backup.sha256 in pinned
        )

    return tuple(backup for backup in backups if stays(backup))
