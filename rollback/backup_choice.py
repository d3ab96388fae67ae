"""Which backup a recovery would restore, whether it may, and what would be lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .compatibility import breaks
from .errors import BackupFailed, DatabaseUnreachable, SchemaRefused, UnknownBackup
from .model import DeploymentVersion
from .ports import Ledger, Notice, Restores
from .release_left import Left
from .schema import Backup

__all__ = ["Choice", "Loss", "Restoring", "describe"]

LOOKED_AT = 1000  # releases
NAMED = 5  # how many backups are named to somebody who has to choose
LONG_MINUTES, LONG_HOURS = 120, 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A table's rows now and in the backup; None where there is no such table."""

    table: str
    now: int | None
    backup: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """What would be restored. `rows` is None where those of now are not known.

    `why` says how it was chosen; `done_at` when an earlier run of the same recovery has
    done it already.
    """

    backup: Backup
    swap: bool
    rows: tuple[Loss, ...] | None = None
    done_at: datetime | None = None
    notes: tuple[str, ...] = ()
    why: str = ""

    @property
    def differing(self) -> tuple[Loss, ...]:
        """The tables whose numbers differ; the same number may be other rows."""
        return tuple(loss for loss in self.rows or () if loss.now != loss.backup)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Chooses the backup: the newest from before the release that is `left` went live.

    `token` names the run that is resumed, where one is; `another` tells that a backup
    of now is still to be taken. `applied` are the versions of the schema as it is,
    oldest first, where they are known.
    """

    restores: Restores
    ledger: Ledger
    environment: str
    notice: Notice
    swap: bool
    token: str | None
    another: bool
    left: Left | None
    applied: tuple[str, ...] = ()

    async def made(
        self, name: str | None, release: DeploymentVersion | None
    ) -> Restoring:
        """The one that is named, or the last good one; `release` is what will be live.

        Raises `UnknownBackup` where none can be chosen too, `BackupFailed` for one that
        is damaged or cannot be restored in this way, `SchemaRefused` where the release
        needs another schema.
        """
        backup, why = await self._chosen(name)
        notes = await self._require_version(backup, release)
        self.notice(f"reading the backup {backup.name} again, to see that it is whole")
        await self.restores.check(backup)
        rows: tuple[Loss, ...] | None = None
        done_at: datetime | None = None
        try:
            if self.token:
                done_at = await self.restores.restored(self.token)
            if done_at is None:
                await self._require_way(backup)
                rows = await self._rows(backup)
        except DatabaseUnreachable as error:
            notes = (*notes, f"{error.message} {NOT_OVER_IT}")
        return Restoring(
            backup=backup,
            swap=self.swap,
            rows=rows,
            done_at=done_at,
            notes=notes,
            why=why,
        )

    async def _chosen(self, name: str | None) -> tuple[Backup, str]:
        """With the reason. Every rollback takes a backup too, of what was wrong."""
        known = await self.restores.backups()
        if name:
            for backup in known:
                if backup.name == name:
                    return backup, ""
            raise UnknownBackup(f"There is no verified backup {name} of this database.")
        if not known:
            raise UnknownBackup("There is no verified backup of this database.")
        if self.left is None:
            raise UnknownBackup(UNKNOWN, mend=_choose(known))
        before = f"before {self.left.deployment_id} went live, {_time(self.left.since)}"
        for backup in known:
            if backup.taken_at + timedelta(seconds=backup.seconds) < self.left.since:
                return backup, f"It is the newest one from {before}."
        raise UnknownBackup(
            f"There is no verified backup from {before}.", mend=_choose(known)
        )

    async def _require_version(
        self, backup: Backup, release: DeploymentVersion | None
    ) -> tuple[str, ...]:
        """The release has to run on the schema that comes back; what is to be known."""
        wanted = release.db_migration_version if release else ""
        if release is None or not wanted or backup.version is None:
            return ("whether what is live runs on the backup's schema is not known",)
        if backup.version == wanted:
            return ()
        name = release.deployment_id
        if not self._is_after(backup.version, wanted):
            raise SchemaRefused(
                f"{backup.name} has the schema {backup.version}, and {name}, which "
                f"will be live, needs {wanted}.",
                mend="Name a backup of that schema with --backup, or go back first to "
                "a deployment that ran on the other one (`rollback run --to`).",
            )
        if await self._breaks(wanted, backup.version):
            raise SchemaRefused(
                f"{backup.name} has the schema {backup.version}, on which {name}, "
                "which will be live, does not run: it was recorded so.",
                mend=f"Name a backup of the schema {wanted} with --backup.",
            )
        newer = f"{backup.version}, newer than the {wanted} of {name}"
        return (f"the backup has the schema {newer}; no break is recorded between",)

    def _is_after(self, version: str, wanted: str) -> bool:
        """By what is applied; where that has no such version, by their numbers."""
        until = self._until(version)
        return wanted in until if until else _newer(version, wanted)

    async def _breaks(self, since: str, until: str) -> bool:
        """Whether what ran on the one is known not to run on the other."""
        releases = await self.ledger.history(self.environment, limit=LOOKED_AT)
        applied = self._until(until)
        if applied:
            return bool(breaks(releases, applied, since))
        return any(
            release.backward_compatible is False
            and _newer(release.db_migration_version, since)
            and not _newer(release.db_migration_version, until)
            for release in releases
        )

    def _until(self, version: str) -> tuple[str, ...]:
        """What is applied up to a version; nothing where that one is not."""
        if version not in self.applied:
            return ()
        return self.applied[: self.applied.index(version) + 1]

    async def _require_way(self, backup: Backup) -> None:
        obstacle = await self.restores.obstacle(
            backup, swap=self.swap, another=self.another
        )
        if obstacle:
            raise BackupFailed(
                f"It cannot be restored in this way: {obstacle}",
                mend="Mend what is named, or restore it the other way: with --swap, or "
                "in place.",
            )

    async def _rows(self, backup: Backup) -> tuple[Loss, ...]:
        now = {each.table: each.rows for each in await self.restores.rows(backup)}
        then = {each.table: each.rows for each in backup.tables}
        return tuple(
            Loss(table=table, now=now.get(table), backup=then.get(table))
            for table in sorted(now.keys() | then.keys())
        )


def describe(found: Restoring, *, now: datetime) -> tuple[str, ...]:
    """In plain words what it does, and what will not be there afterwards."""
    backup = found.backup
    if found.done_at:
        return (f"It was restored already, at {_time(found.done_at)}: not again.",)
    taken, age = _time(backup.taken_at), _age(now, backup.taken_at)
    version = f"schema {backup.version or 'without versions'}"
    return (
        f"Taken at {taken}, {age} ago, {version}; read again just now.",
        *([found.why] if found.why else ()),
        SWAPPED if found.swap else IN_PLACE,
        f"What was written since {taken} will not be there any more.",
        *_told(found),
    )


def _told(found: Restoring) -> Sequence[str]:
    if found.rows is None:
        return ("How many rows there are now is not known.",)
    same = len(found.rows) - len(found.differing)
    told = [
        f"{loss.table}: {_rows(loss.now)} now, {_rows(loss.backup)} in the backup."
        for loss in found.differing
    ]
    if same:
        also = "other " if told else ""
        told.append(
            f"The {same} {also}tables have as many rows as in the backup; "
            "what they hold may have changed."
        )
    return told


def _choose(known: Sequence[Backup]) -> str:
    newest = "; ".join(
        f"{backup.name}, taken {_time(backup.taken_at)}" for backup in known[:NAMED]
    )
    return f"Name one of a time when all was well with --backup. The newest: {newest}."


def _newer(one: str, than: str) -> bool:
    """Whether a version is known to come after another one."""
    return one.isdigit() and than.isdigit() and int(one) > int(than)


def _rows(number: int | None) -> str:
    return "no such table" if number is None else f"{number} rows"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _age(now: datetime, then: datetime) -> str:
    minutes = (now - then).total_seconds() / 60
    if minutes < LONG_MINUTES:
        return f"{minutes:.0f} minutes"
    hours = minutes / 60
    return f"{hours:.0f} hours" if hours < LONG_HOURS else f"{hours / 24:.0f} days"


UNKNOWN = (
    "Which release has spoilt the data is not known: nothing that is live is known to "
    "be bad, and no rollback of the last week is known to have led to it."
)
NOT_OVER_IT = (
    "What is there cannot be backed up meanwhile: nothing will be restored over it."
)
IN_PLACE = (
    "In one transaction: all of it or nothing. What is there now stays beside it, in "
    "schemas of the same database that are named at the end."
)
SWAPPED = (
    "Into a new database, which then takes the place of this one; this one stays, "
    "under a name that is told at the end. Everybody is disconnected for a moment."
)
