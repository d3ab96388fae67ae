"""A schema as facts: what it is made of, in words that are the same on every server.

Left out: what extensions own, the schema `rollback` and triggers that call into it,
owners, positions of columns. A fingerprint holds within one major version of
PostgreSQL, which puts some definitions into other words from version to version.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from rollback.schema import Fingerprint
from rollback.transactions import Connection

from .facts import BEGINNING, RELATIONS
from .more_facts import OTHERS, SETS

__all__ = ["Catalogue", "Fact", "changed", "destroyed", "moved", "read_catalogue"]

# Objects are qualified, and constants written, the same whatever the session has set.
_SETTINGS = {
    "search_path": "pg_catalog, pg_temp",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "quote_all_identifiers": "off",
    # It plans for longer than it runs: that is done once where it is read repeatedly.
    "plan_cache_mode": "force_generic_plan",
}
_COLUMNS = "kind, object, detail, identity, parent, shape, elsewhere"
_PARTS = " UNION ALL ".join((*RELATIONS, *OTHERS))
_FACTS = f", facts ({_COLUMNS}) AS ({_PARTS})"
_QUERY = f"{BEGINNING}{SETS}{_FACTS}TABLE facts".encode()

# What loses values when it goes, though another one of the same name may be there then.
_HOLDERS = frozenset({"table", "column", "sequence"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact: that a thing of this kind is there, and how it is made.

    `identity` follows it through a renaming, within one database. `parent` is the
    identity of what it goes with. `shape` is of what holds values: where it changes,
    the values are converted. None of the three is part of the fingerprint, nor is what
    is `elsewhere`, in a schema that is not asked for.
    """

    kind: str
    object: str
    detail: str = ""
    identity: str
    parent: str | None = None
    shape: str | None = None
    elsewhere: bool = False

    @property
    def line(self) -> str:
        """The fact in one line."""
        return f"{self.kind} {self.object}: {self.detail}".removesuffix(": ")


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The facts of some schemas; of the others, which tables and columns there are.

    `partitions`: of each partition what it is one of, both by identity.
    """

    facts: tuple[Fact, ...]
    partitions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The facts as sorted lines."""
        lines = (fact.line for fact in self.facts if not fact.elsewhere)
        return Fingerprint(lines=tuple(sorted(lines)))

    @cached_property
    def by_identity(self) -> Mapping[str, Fact]:
        """Facts by what follows them through a renaming."""
        return {fact.identity: fact for fact in self.facts}

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], Fact]:
        """Facts by kind and object."""
        return {(fact.kind, fact.object): fact for fact in self.facts}

    def parent(self, fact: Fact) -> Fact | None:
        """What it goes with."""
        return self.by_identity.get(fact.parent) if fact.parent else None

    def whole(self, fact: Fact) -> Fact | None:
        """The partitioned table, or its column, that this one is a part of."""
        if fact.kind == "table":
            return self.by_identity.get(self.partitions.get(fact.identity, ""))
        table = self.parent(fact)
        if fact.kind != "column" or table is None:
            return None
        whole = self.by_identity.get(self.partitions.get(table.identity, ""))
        name = fact.object.removeprefix(table.object)
        return self.by_name.get(("column", f"{whole.object}{name}")) if whole else None


async def read_catalogue(
    connection: Connection, schemas: Sequence[str], *, prepare: bool = False
) -> Catalogue:
    """Read the catalogue inside of a transaction; it changes and locks nothing.

    The session's settings are as before when this returns. `prepare` makes it cheaper
    to read repeatedly on this connection, which then must not be a pooler's.
    """
    before = await _set(connection, _SETTINGS)
    threshold = connection.prepare_threshold
    connection.prepare_threshold = 0 if prepare else threshold
    cursor = await connection.execute(_QUERY, {"schemas": list(schemas)})
    connection.prepare_threshold = threshold
    facts = [Fact(**row) for row in await cursor.fetchall()]
    await _set(connection, before)
    known = {fact.identity: fact for fact in facts if fact.kind != "part"}
    return Catalogue(
        facts=tuple(_with_comments(facts, known)),
        partitions={
            fact.identity: fact.parent
            for fact in facts
            if fact.kind == "part" and fact.parent
        },
    )


def destroyed(before: Catalogue, after: Catalogue) -> tuple[tuple[str, str], ...]:
    """Kind and object of what was removed or narrowed, sorted.

    Destroyed is a table, column or sequence that is gone, even if another one of its
    name is there; a column whose values were converted to another type; a right, or a
    value of an enumerated type, that is gone; and any other object of which no object
    of its kind has the name now. What is only renamed is not. What went with something
    that is named (columns and indexes of a table, its partitions) is not named itself.
    """
    found = {
        (fact.kind, name)
        for fact in before.facts
        for name in _narrowed(fact, after)
        if not _goes_along(fact, before, after)
    }
    return tuple(sorted(found))


def changed(before: Catalogue, after: Catalogue) -> tuple[str, ...]:
    """What is still there and made differently now: a sentence for each."""
    found = []
    for fact in before.facts:
        now = _now(fact, after)
        if now is None or fact.elsewhere:
            continue
        parent = before.parent(fact)
        moved_along = parent is not None and _renamed(parent, after)
        if now.object != fact.object and not moved_along:
            found.append(f"{fact.kind} {fact.object} is named {now.object}")
        if now.detail != fact.detail and not moved_along:
            found.append(
                f"{fact.kind} {now.object} was [{fact.detail}] and is [{now.detail}]"
            )
    return tuple(sorted(found))


def moved(before: Catalogue, after: Catalogue) -> tuple[str, ...]:
    """The tables whose columns stand in another order: a warning, no difference."""
    old, new = _orders(before), _orders(after)
    return tuple(
        sorted(
            table
            for table in old.keys() & new.keys()
            if [name for name in old[table] if name in new[table]]
            != [name for name in new[table] if name in old[table]]
        )
    )


async def _set(
    connection: Connection, settings: Mapping[str, str]
) -> Mapping[str, str]:
    """Set for this transaction; what was set before."""
    names = list(settings)
    cursor = await connection.execute(
        "SELECT name, current_setting(name) AS was, set_config(name, value, true)"
        " FROM unnest(%(names)s::text[], %(values)s::text[]) AS s (name, value)",
        {"names": names, "values": [settings[name] for name in names]},
    )
    return {row["name"]: row["was"] for row in await cursor.fetchall()}


def _with_comments(facts: list[Fact], known: Mapping[str, Fact]) -> Iterator[Fact]:
    for fact in facts:
        if fact.kind not in {"comment", "part"}:
            yield fact
        elif fact.kind == "part":
            continue
        elif (about := known.get(fact.parent or "")) and not about.elsewhere:
            yield replace(fact, object=f"on {about.kind} {about.object}")


def _now(fact: Fact, after: Catalogue) -> Fact | None:
    return after.by_identity.get(fact.identity) or after.by_name.get(
        (fact.kind, fact.object)
    )


def _renamed(fact: Fact, after: Catalogue) -> bool:
    now = after.by_identity.get(fact.identity)
    return now is not None and now.object != fact.object


def _lost(fact: Fact, after: Catalogue) -> bool:
    if fact.identity in after.by_identity:
        return False
    return fact.kind in _HOLDERS or (fact.kind, fact.object) not in after.by_name


def _narrowed(fact: Fact, after: Catalogue) -> Iterator[str]:
    """Itself, where it is lost, or those of its rights that are."""
    if _lost(fact, after) or _converted(fact, after):
        yield fact.object
    elif fact.kind == "grant":
        yield from _revoked(fact, after)


def _goes_along(fact: Fact, before: Catalogue, after: Catalogue) -> bool:
    parent, whole = before.parent(fact), before.whole(fact)
    return (parent is not None and _gone(parent, before, after)) or (
        whole is not None and (_gone(whole, before, after) or _converted(whole, after))
    )


def _gone(fact: Fact, before: Catalogue, after: Catalogue) -> bool:
    """Itself, or with what it belongs to."""
    parent = before.parent(fact)
    return _lost(fact, after) or (parent is not None and _gone(parent, before, after))


def _converted(fact: Fact, after: Catalogue) -> bool:
    now = after.by_identity.get(fact.identity)
    return now is not None and now.shape != fact.shape


def _revoked(fact: Fact, after: Catalogue) -> Iterator[str]:
    now = _now(fact, after)
    left = set(now.detail.split(", ")) if now else set()
    for right in fact.detail.split(", "):
        if right not in left:
            yield f"{right} of {fact.object}"


def _orders(catalogue: Catalogue) -> dict[str, list[str]]:
    """The columns of each table in their order, which their identity ends with."""
    found: dict[str, list[tuple[int, str]]] = {}
    for fact in catalogue.facts:
        parent = catalogue.parent(fact)
        if fact.kind == "column" and parent is not None:
            name = fact.object.removeprefix(f"{parent.object}.")
            place = int(fact.identity.rpartition(":")[2])
            found.setdefault(parent.object, []).append((place, name))
    return {
        table: [name for _, name in sorted(columns)] for table, columns in found.items()
    }
