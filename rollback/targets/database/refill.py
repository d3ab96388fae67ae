"""Archived values put back, once their migration is applied again.

Nothing newer is overwritten. Triggers of the application stay silent meanwhile, as they
did when the values went: what goes back is not written again, it comes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg import Error, sql

from rollback.errors import (
    DatabaseUnreachable,
    LockNotTaken,
    NothingArchived,
    SchemaRefused,
)
from rollback.ports import Notice
from rollback.schema import LeftOver, Refilled, RefilledObject
from rollback.transactions import Connection, Database

from .complaints import speaking
from .conversion import WRITTEN
from .locks import LOCKS_OF_WRITERS, claim, take
from .names import Relation, describe
from .ordering import parents_first
from .parting import Archive, source
from .putting import Outcome, put_back
from .running import AGAIN, lost
from .sequences import go_on, move_sequences
from .silence import muted
from .since import applied_by
from .store import EXACT, ensure

__all__ = ["archived", "refill"]

LOCK_TIMEOUT_MS = 2000
_THERE = "SELECT to_regclass('rollback.archives') IS NOT NULL AS there"
_ARCHIVES = """
SELECT number, incident, version, object, kind, table_name, key_columns, columns, types,
       rows, left_over, refilled_at IS NOT NULL AS refilled
  FROM rollback.archives WHERE version = %s
 ORDER BY max(number) OVER (PARTITION BY incident) DESC, number
"""
_MARK = """
UPDATE rollback.archives
   SET refilled_at = pg_catalog.clock_timestamp(), left_over = %s WHERE number = %s
"""
_WRITTEN = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute
   WHERE attrelid = pg_catalog.to_regclass(%s) AND attname = %s) AS written
"""


@dataclass(slots=True)
class _Refill:
    """The archives, the tables that they belong to, and what became of them."""

    archives: tuple[Archive, ...]
    applied: int
    targets: dict[str, Relation] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


async def refill(
    database: Database,
    version: str,
    *,
    notice: Notice,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    schemas: Sequence[str] = ("public",),
) -> Refilled:
    """Put back what was archived of a version; nothing newer is overwritten.

    Raises:
        NothingArchived: there is no archive of this version.
        SchemaRefused: the version is not applied.
        LockNotTaken: nothing was changed.

    """

    async def work(connection: Connection) -> Refilled:
        await claim(connection)
        archives = await _archives(connection, version)
        applied = await applied_by(connection, version, schemas)
        await ensure(connection)
        await connection.execute(EXACT.encode())
        what = _Refill(archives=archives, applied=applied)
        return await _refill(connection, what, notice, lock_timeout_ms)

    try:
        return await database.transaction(work)
    except AGAIN as error:
        table = error.diag.table_name or "a table"
        raise LockNotTaken(
            f"The lock on {table} was not to be had within {lock_timeout_ms} ms. "
            "Nothing was changed."
        ) from error
    except (Error, OSError, TimeoutError) as error:
        reason = f"{database.name}: {database.explain(error)}."
        if lost(error):
            raise DatabaseUnreachable(
                f"{reason} A refill is done whole or not at all."
            ) from error
        raise SchemaRefused(f"{reason} Nothing was changed.") from error


async def archived(database: Database, version: str) -> tuple[Archive, ...]:
    """What there is to put back; raises `NothingArchived`."""
    with speaking(database, SchemaRefused):
        return await database.transaction(lambda c: _archives(c, version))


async def _archives(connection: Connection, version: str) -> tuple[Archive, ...]:
    there = await (await connection.execute(_THERE)).fetchone()
    rows = []
    if there and there["there"]:
        rows = await (await connection.execute(_ARCHIVES, [version])).fetchall()
    if not rows:
        raise NothingArchived(f"Nothing is archived of the version {version}.")
    return tuple(Archive(**row) for row in rows)


async def _refill(
    connection: Connection,
    what: _Refill,
    notice: Notice,
    lock_timeout_ms: int,
) -> Refilled:
    names = sorted({archive.table_name for archive in what.archives})
    what.targets = await describe(connection, names)
    order = await parents_first(connection, what.archives, what.targets)
    waiting = [each for each in order if not each.refilled or each.left_over]
    async with muted(connection, what.targets.values(), lock=LOCKS_OF_WRITERS) as (
        locks,
        mute,
    ):
        await take(
            connection,
            (*((name, "ROW EXCLUSIVE") for name in what.targets), *locks),
            lock_timeout_ms=lock_timeout_ms,
        )
        await mute()
        # What was put off until the commit fails at its row.
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await _rounds(connection, what, waiting, notice)
    for archive in waiting:
        outcome = what.outcomes[archive.number]
        await connection.execute(_MARK, [outcome.left_over, archive.number])
    return _report(what)


async def _rounds(
    connection: Connection,
    what: _Refill,
    waiting: Sequence[Archive],
    notice: Notice,
) -> None:
    """Again while rows go back: what was left may have needed them."""
    while waiting:
        put = 0
        for archive in waiting:
            notice(f"putting back {archive.object}")
            outcome = await _one(connection, what, archive)
            put += outcome.put_back
            if before := what.outcomes.get(archive.number):
                outcome.put_back += before.put_back
                outcome.already = before.already
            what.outcomes[archive.number] = outcome
        left = [each for each in waiting if what.outcomes[each.number].left_over]
        waiting = left if put else ()


async def _one(connection: Connection, what: _Refill, archive: Archive) -> Outcome:
    target = what.targets.get(archive.table_name)
    if target is None:
        return _nothing(archive, f"{archive.table_name} is not there")
    if archive.kind == "materialized view":
        return _nothing(archive, "it is a view that its own query fills")
    if archive.kind == "sequence":
        return await go_on(connection, archive)
    if archive.kind == "rows":
        outcome = await _statements(connection, what, archive, target)
    else:
        missing = [name for name in archive.columns if not target.column(name)]
        if missing and archive.kind == "column":
            return _nothing(archive, f"{archive.object} is not there")
        if missing:
            what.notes.append(
                f"{archive.table_name} has no column {', '.join(missing)} now: "
                f"those values stay in rollback.archive_{archive.number}"
            )
        row = await (
            await connection.execute(
                _WRITTEN, [f"rollback.archive_{archive.number}", WRITTEN]
            )
        ).fetchone()
        written = bool(row and row["written"])
        part = source(archive, target, written=written, applied=what.applied)
        outcome = await put_back(connection, part)
    await move_sequences(connection, target)
    return outcome


def _newer(archive: Archive, rows: int) -> str:
    return (
        f"{rows} rows of {archive.table_name} were written since {archive.version} was "
        f"applied again, or others stand in their place: what {archive.object} was in "
        f"them stays in rollback.archive_{archive.number}"
    )


def _nothing(archive: Archive, reason: str) -> Outcome:
    return Outcome(left=[LeftOver(reason=reason, rows=archive.rows)])


async def _statements(
    connection: Connection, what: _Refill, archive: Archive, target: Relation
) -> Outcome:
    """What a script wrote is taken back statement by statement, the last one first."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT DISTINCT statement, operation, columns FROM {} ORDER BY 1 DESC"
        ).format(archive.identifier)
    )
    outcome = Outcome()
    for row in await cursor.fetchall():
        part = source(
            archive,
            target,
            written=False,
            applied=what.applied,
            statement=row["statement"],
            operation=row["operation"],
            layout=row["columns"],
        )
        outcome.add(await put_back(connection, part))
    return outcome


def _report(what: _Refill) -> Refilled:
    objects = []
    for archive in what.archives:
        outcome = what.outcomes.get(archive.number) or Outcome(already=archive.rows)
        if outcome.newer:
            what.notes.append(_newer(archive, outcome.newer))
        objects.append(
            RefilledObject(
                object=archive.object,
                kind=archive.kind,
                put_back=outcome.put_back,
                already=outcome.already,
                newer_kept=outcome.newer,
                left=tuple(outcome.left),
            )
        )
    return Refilled(
        version=what.archives[0].version,
        objects=tuple(objects),
        notes=tuple(dict.fromkeys(what.notes)),
    )
