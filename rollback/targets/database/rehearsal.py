"""The rehearsal: this very rollback, done to the restored backup."""

from anyio import current_time

from rollback.errors import NotAsPlanned, SchemaRefused, StepFailed
from rollback.ports import Clock, Notice
from rollback.schema import Backup, Receipt, SchemaPlan
from rollback.transactions import Database

from .apply import apply
from .backup import Backups
from .complaints import speaking
from .programs import Programs
from .restore import restore
from .scratch import scratch
from .standins import Outside, fill, make_stand_ins, put_aside, read_outside
from .surroundings import ensure_extensions, surroundings
from .writes import ROWS

__all__ = ["rehearse"]

INCIDENT = "rehearsal"
SECONDS = 3600.0
# Nobody else is in a scratch database: one attempt has every lock.
LOCK_MILLISECONDS = 5000


async def rehearse(
    backups: Backups,
    backup: Backup,
    plan: SchemaPlan,
    *,
    source_url: str,
    scratch_url: str,
    programs: Programs,
    schemas: tuple[str, ...],
    notice: Notice,
    clock: Clock,
) -> Receipt:
    """Restore the backup, do there what was planned, and compare.

    Raises:
        NotAsPlanned: it did not come to what was planned; production is untouched.
        BackupFailed: the backup is damaged, or cannot be restored.

    """
    async with backups.fetched(backup) as folder, scratch(scratch_url) as url:
        notice(f"rehearsing: restoring {backup.name} into a scratch database")
        began = current_time()
        database = Database(url, statement_timeout_seconds=SECONDS)
        outside = await _stand_ins(source_url, database, backup)
        await restore(folder, backup, url, programs=programs, jobs=backups.jobs)
        with speaking(database):
            await database.transaction(lambda c: fill(c, outside))
        restored = current_time()
        try:
            with speaking(database, SchemaRefused):
                receipt = await apply(
                    database,
                    plan,
                    backup,
                    incident=INCIDENT,
                    lock_timeout_ms=LOCK_MILLISECONDS,
                    attempts=1,
                    schemas=schemas,
                    notice=lambda text: notice(f"rehearsing: {text}"),
                    clock=clock,
                )
        except (SchemaRefused, StepFailed) as error:
            raise NotAsPlanned(
                f"The rehearsal failed, and production is untouched: {error.message}",
                mend=error.mend,
            ) from error
        _compare(plan, receipt)
        notice(
            f"rehearsed: restored in {restored - began:.1f} s, rolled back to "
            f"{plan.to_version} in {receipt.total:.1f} s; writers would have waited "
            f"{receipt.stalled:.2f} s"
        )
        return receipt


async def _stand_ins(source_url: str, target: Database, backup: Backup) -> Outside:
    """What the backup leads to and does not hold, as production has it now."""
    source = Database(source_url, statement_timeout_seconds=SECONDS)
    with speaking(source):
        around = await source.transaction(lambda c: surroundings(c, backup.schemas))
        outside = await source.transaction(lambda c: read_outside(c, backup.schemas))
    with speaking(target):
        await target.transaction(lambda c: ensure_extensions(c, around))
        await target.transaction(lambda c: make_stand_ins(c, outside))
        await target.transaction(lambda c: put_aside(c, outside))
    return outside


def _compare(plan: SchemaPlan, receipt: Receipt) -> None:
    """The objects, and the schema; rows have come and gone since they were counted.

    A statement that may write rows and hits none destroys nothing.
    """
    wanted = {(item.version, item.kind, item.object) for item in plan.destroys}
    done = {(item.version, item.kind, item.object) for item in receipt.destroyed}
    missing = {one for one in wanted - done if one[1] not in ROWS.values()}
    if other := missing | (done - wanted):
        names = sorted(f"{kind} {name}" for _, kind, name in other)
        raise NotAsPlanned(
            "The rehearsal destroyed other things than the plan says: "
            f"{', '.join(names)}."
        )
    if plan.fingerprint and plan.fingerprint.sha256 != receipt.fingerprint_sha256:
        raise NotAsPlanned(
            f"After the rehearsal the schema is not as recorded at {plan.to_version}."
        )
