"""The one transaction of a rollback: all of it is as planned, or none of it is done."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from anyio import current_time

from rollback.errors import NotAsPlanned, SchemaRefused
from rollback.ports import Clock, Notice
from rollback.schema import (
    Archived,
    Backup,
    Destroyed,
    Fingerprint,
    Receipt,
    SchemaPlan,
    Script,
)
from rollback.transactions import Connection

from . import receipts
from .archive import HOLDERS, Kept, archive
from .catalogue import Catalogue, destroyed, read_catalogue
from .conversion import note_conversions
from .destruction import Snapshot, differences, measure
from .history import History, read_history, remove
from .limit import within
from .locks import claim, take
from .needed import needed, told
from .running import Footing, afresh, footing, run
from .store import close_to_others, ensure
from .writes import ROWS, Watched, collect, watch

__all__ = ["Done", "Order", "Progress", "check", "receipt_of", "roll_back"]

SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done in one transaction."""

    plan: SchemaPlan
    backup: Backup
    incident: str
    lock_timeout_ms: int
    schemas: tuple[str, ...]
    notice: Notice
    clock: Clock
    stall_seconds: float


@dataclass(slots=True)
class Progress:
    """How far one attempt came. `receipt` is there once only the commit is missing."""

    began: float = field(default_factory=current_time)
    locking: float | None = None
    locked: float | None = None
    receipt: Receipt | None = None


@dataclass(slots=True)
class Done:
    """What the scripts destroyed, and what was kept of it."""

    kept: list[Kept] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    rows: list[Archived] = field(default_factory=list)

    @property
    def archived(self) -> tuple[Archived, ...]:
        """All archives."""
        return (*(one.archived for one in self.kept if one.archived), *self.rows)


async def roll_back(
    connection: Connection, order: Order, progress: Progress
) -> Receipt:
    """Everything up to the commit; any doubt raises, and nothing was changed."""
    await claim(connection)
    history = await read_history(connection, order.schemas)
    if done := await _already(connection, order, history):
        return done
    check(history, order.plan)
    wanted = await needed(connection, order.plan, history)
    told(order.plan, wanted, order.notice)
    progress.locking = current_time()
    await take(connection, wanted, lock_timeout_ms=order.lock_timeout_ms)
    progress.locked = current_time()
    progress.receipt = await within(
        connection, order.stall_seconds, lambda: _locked(connection, order)
    )
    return progress.receipt


async def _already(
    connection: Connection, order: Order, history: History
) -> Receipt | None:
    """The receipt, where this very rollback has committed and nobody was told."""
    if history.current == order.plan.from_version:
        return None
    return await receipts.find(connection, order.incident, order.plan.sha256)


def check(history: History, plan: SchemaPlan) -> None:
    """Raises `SchemaRefused` where the history is not what the plan was made from."""
    count = len(plan.versions)
    *below, to = (plan.to_version, *history.versions)[: -count or None]
    newest = tuple(reversed(history.versions[len(history.versions) - count :]))
    if not count or newest != plan.versions or (below and to != plan.to_version):
        raise SchemaRefused(
            f"The plan was to go from {plan.from_version} back to {plan.to_version}, "
            f"and the database is at {history.current} now: "
            "its history has changed since it was planned.",
            mend="Look again with `rollback db --plan`; nothing was changed.",
        )


async def _locked(connection: Connection, order: Order) -> Receipt:
    ground = await footing(
        connection, lock_timeout_ms=order.lock_timeout_ms, seconds=order.stall_seconds
    )
    # Who had the locks until now may have been a migration.
    history = await read_history(connection, order.schemas)
    check(history, order.plan)
    number = await _number(connection, history)
    await ensure(connection)
    before = await measure(connection)
    facts = await read_catalogue(connection, order.schemas)
    done = Done()
    for script in order.plan.scripts:
        await _one(connection, order, script, ground, done)
    await afresh(connection, ground)
    # What was put off until the commit fails here, while it can still be told.
    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    after = await measure(connection)
    gone = await _went_along(connection, order.plan, history)
    if not gone:
        await _same(connection, history, number)
        await remove(connection, history, order.plan.versions)
    now = await read_catalogue(connection, order.schemas)
    await _same(connection, history, None if gone else number)
    _as_planned(order.plan, (before, after), (facts, now), done)
    receipt = receipt_of(order, now.fingerprint, done)
    await receipts.save(connection, receipt)
    await _same(connection, history, None if gone else number)
    return receipt


async def _same(connection: Connection, history: History, number: int | None) -> None:
    """A lock on a table keeps nobody from renaming its schema."""
    if await _number(connection, history) != number:
        raise NotAsPlanned(
            f"{history.name} is another table now than when it was locked: somebody "
            "restored the database, or moved its schema, meanwhile.",
            mend="See who is at it, and look again with `rollback db --plan`.",
        )


async def _number(connection: Connection, history: History) -> int | None:
    """Which table has the history's name."""
    cursor = await connection.execute(
        "SELECT pg_catalog.to_regclass(%s)::oid::int8 AS number",
        [history.identifier.as_string(connection)],
    )
    row = await cursor.fetchone()
    return row["number"] if row else None


async def _one(
    connection: Connection,
    order: Order,
    script: Script,
    ground: Footing,
    done: Done,
) -> None:
    """Keep what the script destroys, run it, and see what it left."""
    order.notice(f"rolling back {script.version}")
    planned = [one for one in order.plan.destroys if one.version == script.version]
    kept = await archive(connection, script, planned, incident=order.incident)
    watched = await watch(connection, script, planned, incident=order.incident)
    await run(connection, script, ground)
    rows = await collect(connection, script, watched)
    await note_conversions(connection, kept)
    done.kept.extend(kept)
    done.watched.extend(watched)
    done.rows.extend(rows)
    await close_to_others(connection, {one.table for one in done.archived})


async def _went_along(
    connection: Connection, plan: SchemaPlan, history: History
) -> bool:
    """Whether the first migration's script dropped the history, and may have."""
    if len(history.versions) > len(plan.versions):
        return False
    return await _number(connection, history) is None


def _as_planned(
    plan: SchemaPlan,
    snapshots: tuple[Snapshot, Snapshot],
    catalogues: tuple[Catalogue, Catalogue],
    done: Done,
) -> None:
    found = [
        *differences(*snapshots, done.kept, done.watched, done.rows),
        *_unplanned(plan, *catalogues),
    ]
    if plan.fingerprint is not None:
        now = catalogues[1].fingerprint
        found.extend(
            f"the schema is not as recorded: {line}"
            for line in now.differences(plan.fingerprint)
        )
    if found:
        more = len(found) - SHOWN
        shown = "; ".join(found[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise NotAsPlanned(f"The scripts did not do what was planned: {shown}.")


def _unplanned(plan: SchemaPlan, before: Catalogue, after: Catalogue) -> Iterable[str]:
    """What holds no rows; tables and columns are followed by their numbers.

    The plan names what was dropped as it was named then: a script before may have
    renamed it.
    """
    planned = {(one.kind, one.object) for one in plan.destroys}
    found = {each for each in destroyed(before, after) if each[0] not in HOLDERS}
    renamed = Counter(
        kind for kind, name in planned - found if (kind, name) not in before.by_name
    )
    for kind, name in sorted(found - planned):
        renamed[kind] -= 1
        if renamed[kind] < 0:
            yield f"the {kind} {name} was dropped, which was not planned"


def receipt_of(
    order: Order,
    fingerprint: Fingerprint,
    done: Done | None = None,
    apart: tuple[str, ...] = (),
) -> Receipt:
    """Durations are filled in when they are known, after the commit."""
    return Receipt(
        incident=order.incident,
        from_version=order.plan.from_version,
        to_version=order.plan.to_version,
        versions=order.plan.versions,
        plan_sha256=order.plan.sha256,
        backup_sha256=order.backup.sha256,
        fingerprint_sha256=fingerprint.sha256,
        fingerprint_compared=order.plan.fingerprint is not None,
        destroyed=tuple(_measured(order.plan.destroys, done or Done())),
        archived=done.archived if done else (),
        attempts=1,
        waited=0.0,
        stalled=0.0,
        total=0.0,
        committed_at=order.clock.now(),
        apart=apart,
    )


def _measured(planned: Iterable[Destroyed], done: Done) -> Iterable[Destroyed]:
    """The plan's objects with the values that they had when they were destroyed."""
    values = {
        (one.relation.oid, one.place): one.archived.rows if one.archived else 0
        for one in done.kept
    }
    kept = {one.object: values[one.relation.oid, one.place] for one in done.kept}
    for one in planned:
        if one.kind not in ROWS.values():
            holds = one.kind in HOLDERS
            yield replace(one, rows=kept.get(one.object) if holds else None)
    for changed in done.rows:
        yield Destroyed(
            object=changed.object,
            kind=changed.kind,
            version=changed.version,
            rows=changed.rows,
        )
