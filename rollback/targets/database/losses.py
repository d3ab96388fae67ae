"""What scripts destroyed on the copy, and what of production that is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .catalogue import Catalogue, Fact, destroyed
from .survey import Wanted
from .trial import Effect, Trial

__all__ = ["Loss", "Places", "losses", "outsiders"]

_GENERATED = re.compile(r" (stored|virtual) as \(")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One thing destroyed: as it is named then, and what it is on production now.

    `now` is None for what a script of the same rollback had made, or its like;
    `wanted` is what there is to count.
    """

    version: str
    kind: str
    object: str
    now: Fact | None = None
    wanted: Wanted | None = None


@dataclass(slots=True)
class Places:
    """What is what on production: there and on the copy the identities are others."""

    first: Catalogue
    production: Catalogue
    parts: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part, whole in self.production.partitions.items():
            self.parts.setdefault(whole, []).append(part)

    def now(self, identity: str) -> Fact | None:
        """Production's own fact for one of the copy, whatever it was renamed to."""
        fact = self.first.by_identity.get(identity)
        known = self.production.by_name
        return known.get((fact.kind, fact.object)) if fact else None

    @property
    def tables(self) -> tuple[str, ...]:
        """All that hold rows on production, by identity."""
        kinds = {"table", "materialized view"}
        facts = self.production.facts
        return tuple(fact.identity for fact in facts if fact.kind in kinds)

    def files(self, table: Fact | None) -> tuple[str, ...]:
        """What holds a table's rows: itself, or its partitions; by identity."""
        found, waiting = [], [table.identity] if table else []
        while waiting:
            found.append(waiting.pop())
            waiting.extend(self.parts.get(found[-1], ()))
        return tuple(found)


def losses(trial: Trial, places: Places) -> Iterator[Loss]:
    """Objects and rows, script by script."""
    for effect in trial.effects:
        for kind, name in destroyed(effect.before, effect.after):
            fact = effect.before.by_name.get((kind, name))
            now = places.now(fact.identity) if fact else None
            wanted = _wanted(now, places.production) if now else None
            yield _loss(effect, kind, name, now, wanted)
        for one in effect.written:
            fact = effect.before.by_identity.get(one.identity)
            if fact is None:
                continue
            now = places.now(one.identity)
            # How many rows are updated or deleted is known only when it is done.
            counted = now if one.how == "truncated" else None
            wanted = _wanted(counted, places.production) if counted else None
            yield _loss(effect, one.how, fact.object, now, wanted)


def outsiders(effect: Effect, first: Catalogue) -> Iterator[str]:
    """What of other schemas, for which the copy has stand-ins, the script changed."""
    known = {fact.identity: fact for fact in first.facts if fact.elsewhere}
    for identity, fact in known.items():
        now = effect.after.by_identity.get(identity)
        if now is None or (now.object, now.shape) != (fact.object, fact.shape):
            yield fact.object
    for fact in effect.after.facts:
        if fact.elsewhere and fact.identity not in known and fact.parent in known:
            yield fact.object
    for one in effect.written:
        if one.identity in known:
            yield known[one.identity].object


def _loss(
    effect: Effect, kind: str, name: str, now: Fact | None, wanted: Wanted | None
) -> Loss:
    return Loss(
        version=effect.script.version, kind=kind, object=name, now=now, wanted=wanted
    )


def _wanted(fact: Fact, catalogue: Catalogue) -> Wanted | None:
    """Rows of a table, or values of a column that holds its own."""
    table = fact if fact.kind == "table" else catalogue.parent(fact)
    if fact.kind not in {"table", "column"} or table is None:
        return None
    if _GENERATED.search(fact.detail):
        return None
    own = fact.object.removeprefix(f"{table.object}.")
    return Wanted(
        table=table.object,
        column=None if table is fact else own,
        partitioned="partitioned by" in table.detail,
    )
