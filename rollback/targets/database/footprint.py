"""What the scripts will do to production, from what they did to its copy."""

from dataclasses import dataclass

from rollback.schema import Destroyed, TableLock
from rollback.transactions import Connection

from .losses import Places, losses
from .probe import MODES
from .remarks import remarks
from .stalls import seconds, work
from .survey import Survey, count, holders, read_sizes
from .trial import Trial

__all__ = ["Footprint", "footprint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The parts of a plan that come from trying it."""

    destroys: tuple[Destroyed, ...]
    written: tuple[str, ...]
    locks: tuple[TableLock, ...]
    stall_seconds: float
    notes: tuple[str, ...]


async def footprint(connection: Connection, trial: Trial, now: Survey) -> Footprint:
    """Count and measure on production what the scripts touched on the copy."""
    places = Places(trial.first, now.catalogue)
    lost = tuple(losses(trial, places))
    counts = await count(connection, {one.wanted for one in lost if one.wanted})
    sizes = await read_sizes(connection, places.tables)
    return Footprint(
        destroys=tuple(
            Destroyed(
                object=one.object,
                kind=one.kind,
                version=one.version,
                rows=counts[one.wanted] if one.wanted else None,
            )
            for one in lost
        ),
        written=_written(trial),
        locks=await _locks(connection, trial, places),
        stall_seconds=seconds(work(trial, places, lost, counts, sizes)),
        notes=tuple(remarks(trial, lost, counts, sizes, now)),
    )


def _written(trial: Trial) -> tuple[str, ...]:
    """By the names of before all scripts; a table that one of them makes is none."""
    identities = {one.identity for effect in trial.effects for one in effect.written}
    found = (trial.first.by_identity.get(identity) for identity in identities)
    return tuple(sorted(fact.object for fact in found if fact is not None))


async def _locks(
    connection: Connection, trial: Trial, places: Places
) -> tuple[TableLock, ...]:
    """Those that anybody could be kept waiting by, and who is in their way now."""
    modes = {
        now.identity: (now.object, MODES[mode])
        for identity, mode in trial.locks
        if mode != "AccessShare" and (now := places.now(identity)) is not None
        if now.kind.endswith(("table", "view"))
    }
    held = await holders(connection, modes)
    return tuple(
        TableLock(table=table, mode=mode, holders=held.get(identity, ()))
        for identity, (table, mode) in sorted(modes.items(), key=lambda one: one[1])
    )
