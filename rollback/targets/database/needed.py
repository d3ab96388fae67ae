"""Which locks a rollback takes, before it does anything: none is raised later."""

from collections.abc import Sequence

from rollback.ports import Notice
from rollback.schema import SchemaPlan
from rollback.transactions import Connection

from .archive import TABLES
from .history import History
from .locks import EXCLUSIVE, LOCKS_OF_WRITERS, mode
from .names import describe, table_of
from .writes import ROWS, Write, with_cascades

__all__ = ["needed", "told"]


async def needed(
    connection: Connection, plan: SchemaPlan, history: History
) -> Sequence[tuple[str, str]]:
    """The plan's locks, those of what is kept, and of what a foreign key takes along.

    Where rows are kept a trigger is put on the table, and taken away at the end: that
    needs the strongest lock, and to raise one is to wait for whoever came between.
    """
    writes = [
        (script.text, write)
        for script in plan.scripts
        for write in writes_of(plan, script.version)
    ]
    along: set[str] = set(plan.written)
    for text in dict.fromkeys(text for text, _ in writes):
        mine = [write for other, write in writes if other == text]
        along.update(w.table for w in await with_cascades(connection, mine, text))
    tables = [one.object for one in plan.destroys if one.kind in TABLES]
    columns = [table_of(one.object)[0] for one in plan.destroys if one.kind == "column"]
    wanted = (
        *((lock.table, lock.mode) for lock in plan.locks),
        *((table, EXCLUSIVE) for table in (*sorted(along), *tables, *columns)),
        (history.identifier.as_string(connection), LOCKS_OF_WRITERS),
    )
    found = await describe(connection, [name for name, _ in wanted])
    return tuple(
        (found[name].qualified, strength) for name, strength in wanted if name in found
    )


def writes_of(plan: SchemaPlan, version: str) -> tuple[Write, ...]:
    """Whose rows the script of a version changes, and how."""
    kinds = frozenset(ROWS.values())
    return tuple(
        Write(table=one.object, how=one.kind)
        for one in plan.destroys
        if one.version == version and one.kind in kinds
    )


def told(plan: SchemaPlan, wanted: Sequence[tuple[str, str]], notice: Notice) -> None:
    """Say which locks are taken that the plan has not named."""
    named = {(lock.table, mode(lock.mode)) for lock in plan.locks}
    more = sorted({(name, mode(m)) for name, m in wanted} - named)
    if more:
        shown = ", ".join(f"{name} ({strength})" for name, strength in more)
        notice(f"locking, besides what the plan names: {shown}")
