"""How people and programs are told what became of the database: receipts, backups."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .incident import timestamp
from .model import Incident
from .render import Screen
from .schema import Backup, Receipt, Refilled
from .targets.database.parting import Archive
from .targets.database.stairway import Stair

__all__ = [
    "backup_document",
    "show_archived",
    "show_backups",
    "show_change",
    "show_refilled",
    "show_stairs",
    "size",
]

KIB = 1024


# -- how it ended ------------------------------------------------------------------


def backup_document(backup: Backup) -> dict[str, Any]:
    """A backup's manifest in short."""
    return {
        "name": backup.name,
        "path": backup.path,
        "label": backup.label,
        "taken_at": timestamp(backup.taken_at),
        "seconds": round(backup.seconds, 3),
        "bytes": backup.bytes,
        "version": backup.version,
        "server": backup.server,
        "client": backup.client,
        "schemas": list(backup.schemas),
        "tables": len(backup.tables),
        "rows": sum(table.rows for table in backup.tables),
        "sha256": backup.sha256,
        "verified": backup.verified,
    }


def show_change(screen: Screen, ended: Incident) -> None:
    """The incident, with its backup and its receipt."""
    screen.incident(ended)
    if ended.backup and ended.backup.path:
        screen.say(f"the backup is {ended.backup.path}")
    if ended.receipt:
        _show_receipt(screen, ended.receipt)


def _show_receipt(screen: Screen, receipt: Receipt) -> None:
    screen.table(
        ("", "kind", "object", "rows or values", "in"),
        [
            ("archived", each.kind, each.object, str(each.rows), each.table)
            for each in receipt.archived
        ],
    )
    compared = "as recorded" if receipt.fingerprint_compared else "not compared"
    screen.say(
        f"writers waited {receipt.stalled:.2f} s, locks were had at attempt "
        f"{receipt.attempts}; the schema's fingerprint: {compared}"
    )
    if receipt.archived:
        last = receipt.versions[-1]
        screen.say(
            "once a migration is applied again, its values come back with "
            f"`rollback db refill {last}`"
        )


# -- a refill -----------------------------------------------------------------------


def show_archived(
    screen: Screen, archives: Sequence[Archive], *, as_result: bool
) -> None:
    """What there is to be put back, the newest rollback's first."""
    if as_result:
        screen.data(
            [
                {
                    "object": each.object,
                    "kind": each.kind,
                    "rows": each.rows,
                    "incident": each.incident,
                    "refilled": each.refilled,
                }
                for each in archives
            ]
        )
    screen.table(
        ("", "kind", "object", "rows or values", "by", ""),
        [
            (
                "archived",
                each.kind,
                each.object,
                str(each.rows),
                each.incident,
                "put back already" if each.refilled else "",
            )
            for each in archives
        ],
    )


def show_refilled(screen: Screen, refilled: Refilled) -> None:
    """What went back, what did not, and why."""
    screen.data(asdict(refilled))
    screen.table(
        ("", "kind", "object", "put back", "there already", "newer kept"),
        [
            (
                "refilled",
                each.kind,
                each.object,
                str(each.put_back),
                str(each.already),
                str(each.newer_kept),
            )
            for each in refilled.objects
        ],
    )
    screen.table(
        ("", "object", "rows or values", "because", "such as"),
        [
            ("left", each.object, str(left.rows), left.reason, ", ".join(left.keys))
            for each in refilled.objects
            for left in each.left
        ],
    )
    for note in refilled.notes:
        screen.say(f"note: {note}", "yellow")


# -- the stairway -------------------------------------------------------------------


def show_stairs(screen: Screen, stairs: Sequence[Stair]) -> None:
    """Every version, and what is wrong with it."""
    screen.data([asdict(stair) | {"ok": stair.ok} for stair in stairs])
    screen.table(
        ("version", "reversible", "tables", "values compared", "from the archive"),
        [
            (
                stair.version,
                _reversible(stair),
                str(stair.tables),
                str(stair.values),
                str(stair.archived),
            )
            for stair in stairs
        ],
    )
    for stair in stairs:
        for finding in stair.findings:
            screen.say(f"{stair.version}: {finding.sentence}", "red")
            for line in finding.lines:
                screen.say(f"  {line}")
        for warning in stair.warnings:
            screen.say(f"{stair.version}: {warning}", "yellow")


def _reversible(stair: Stair) -> str:
    if stair.no_return is not None:
        return f"no way back: {stair.no_return}"
    return "done" if stair.ok else "failed"


# -- backups ------------------------------------------------------------------------


def show_backups(screen: Screen, known: Sequence[Backup]) -> None:
    """All of them, newest first."""
    screen.data([backup_document(backup) for backup in known])
    screen.table(
        ("backup", "taken at", "took", "size", "schema at", "verified"),
        [
            (
                backup.name,
                str(timestamp(backup.taken_at)),
                f"{backup.seconds:.1f} s",
                size(backup.bytes),
                backup.version or "-",
                "verified" if backup.verified else "not verified",
            )
            for backup in known
        ],
    )


def size(number: int) -> str:
    """Bytes, for people."""
    amount, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= KIB and len(units) > 1:
        amount, units = amount / KIB, units[1:]
    return f"{amount:.0f} {units[0]}" if units[0] == "B" else f"{amount:.1f} {units[0]}"
