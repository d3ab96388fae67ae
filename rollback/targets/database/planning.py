"""The plan of a rollback of the schema: everything that is known before it is begun."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from rollback.schema import SchemaPlan, SchemaRecord

__all__ = ["Copies", "Planning", "make_plan"]

Copies = Callable[[], AbstractAsyncContextManager[str]]
"""Makes a schema-only copy with the history's rows; its address while it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What a plan is made from. `folder` has the migrations and their rollbacks."""

    url: str
    copies: Copies
    folder: Path
    schemas: tuple[str, ...] = ("public",)
    timeout_seconds: float = 300
    stall_limit_seconds: float = 5


async def make_plan(
    planning: Planning,
    to: str,
    *,
    records: Mapping[str, SchemaRecord],
    accept: frozenset[str] = frozenset(),
) -> SchemaPlan | None:
    """How to go back to the version `to`; None where that is the schema's already.

    Raises:
        UnknownVersion: it was never applied.
        NeedsConsent: a person has to accept something first.
        SchemaRefused: it cannot be done safely.
        DatabaseUnreachable: the database does not answer.

    """
    raise NotImplementedError
