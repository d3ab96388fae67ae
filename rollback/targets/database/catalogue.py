"""A schema as facts: what it is made of, in words that are the same on every server."""

from collections.abc import Sequence
from dataclasses import dataclass

from rollback.schema import Fingerprint
from rollback.transactions import Connection

__all__ = ["Catalogue", "Fact", "changed", "destroyed", "moved", "read_catalogue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact: that a thing of this kind is there, and how it is made.

    `identity` follows it through a renaming, within one database. `parent` is the
    identity of what it goes with. `shape` is of what holds values: where it changes,
    the values are converted. None of the three is part of the fingerprint.
    """

    kind: str
    object: str
    detail: str = ""
    identity: str
    parent: str | None = None
    shape: str | None = None
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The facts of some schemas, and in brief those of the database's other ones."""

    facts: tuple[Fact, ...]
    orders: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def fingerprint(self) -> Fingerprint:
        """The facts as sorted lines; column order is no part of them."""
        return Fingerprint(
            lines=tuple(
                sorted(
                    f"{fact.kind} {fact.object}: {fact.detail}".removesuffix(": ")
                    for fact in self.facts
                    if not fact.elsewhere
                )
            )
        )


async def read_catalogue(connection: Connection, schemas: Sequence[str]) -> Catalogue:
    """Read the catalogue inside of a transaction; quick, and it locks nothing."""
    raise NotImplementedError


def destroyed(before: Catalogue, after: Catalogue) -> tuple[tuple[str, str], ...]:
    """Kind and object of what was removed or narrowed, without what went with it."""
    raise NotImplementedError


def changed(before: Catalogue, after: Catalogue) -> tuple[str, ...]:
    """What is still there and made differently: a sentence for each."""
    raise NotImplementedError


def moved(before: Catalogue, after: Catalogue) -> tuple[str, ...]:
    """The tables whose columns stand in another order: a warning, no difference."""
    raise NotImplementedError
