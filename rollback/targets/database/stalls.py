"""How long writers will wait: an estimate from what has to be kept, moved and read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .catalogue import Fact
from .losses import Loss, Places
from .survey import Sizes, Wanted
from .trial import Trial

__all__ = ["Counts", "Work", "seconds", "work"]

# The slowest that were measured: PostgreSQL 18, a million rows of 70 and 190 bytes, two
# busy cores, a local disk. The others: archived 50 to 114 MB/s, rewritten 78, read 360
# (for an index) to 1000 (for a constraint).
AT_LEAST = 0.05
ARCHIVED_BYTES_A_SECOND = 30e6
REWRITTEN_BYTES_A_SECOND = 45e6
READ_BYTES_A_SECOND = 150e6

# A row of an archive beside the value: its header and the columns of a key.
BESIDE_A_VALUE = 60
UNKNOWN_WIDTH = 32

Counts = Mapping[Wanted, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Bytes that are archived; that get a new file; that are read for it."""

    archived: float
    rewritten: float
    read: float


def seconds(work: Work) -> float:
    """From the tables' locks to the commit."""
    return round(
        AT_LEAST
        + work.archived / ARCHIVED_BYTES_A_SECOND
        + work.rewritten / REWRITTEN_BYTES_A_SECOND
        + work.read / READ_BYTES_A_SECOND,
        2,
    )


def work(
    trial: Trial, places: Places, lost: Sequence[Loss], counts: Counts, sizes: Sizes
) -> Work:
    """What the scripts make of production's tables.

    Rows that are updated or deleted are all of the table's at most. A table is read for
    a column that goes, and for a new index, constraint or NOT NULL.
    """
    gone, whole, read = set[str](), set[str](), set[str]()
    values = 0.0
    for one in lost:
        files = _files(one, places)
        if one.kind == "column" and one.now is not None:
            values += _values(one, files, counts, sizes)
            read.update(files)
        else:
            whole.update(files)
            gone.update(files if one.kind in {"table", "truncated"} else ())
    rewritten = {now.identity for one in trial.rewritten if (now := places.now(one))}
    for identity in _scanned(trial):
        read.update(places.files(places.now(identity)))
    return Work(
        archived=values + sum(sizes.bytes.get(one, 0) for one in whole),
        rewritten=sum(sizes.total.get(one, 0) for one in rewritten - gone),
        read=sum(sizes.bytes.get(one, 0) for one in read - gone),
    )


def _files(one: Loss, places: Places) -> tuple[str, ...]:
    """The files of the table that is concerned."""
    if one.now is None or one.now.kind not in {"table", "column"}:
        return ()
    table = one.now if one.now.kind == "table" else places.production.parent(one.now)
    return places.files(table)


def _values(one: Loss, files: tuple[str, ...], counts: Counts, sizes: Sizes) -> float:
    """Bytes of a column's archive; where values were not counted, all rows have one."""
    if one.wanted is None or one.now is None:
        return 0
    number = counts.get(one.wanted)
    if number is None:
        number = sum(sizes.rows.get(file, 0) for file in files)
    width = sizes.widths.get(one.now.identity, UNKNOWN_WIDTH)
    return number * (BESIDE_A_VALUE + width)


def _scanned(trial: Trial) -> Iterator[str]:
    known = trial.first.by_identity
    for fact in trial.last.facts:
        if fact.parent is None or fact.parent not in known:
            continue
        if _asks_anew(fact, known.get(fact.identity)):
            yield fact.parent


def _asks_anew(fact: Fact, before: Fact | None) -> bool:
    """Of the rows that are there, which have to be read for it."""
    if before is None:
        return fact.kind in {"index", "constraint"}
    strict = " not null" in fact.detail and " not null" not in before.detail
    return fact.kind == "column" and strict
