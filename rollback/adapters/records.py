"""What every ledger does with incidents, wherever it keeps them."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from rollback.errors import AlreadyRollingBack
from rollback.model import Incident, JournalEntry, Outcome

__all__ = [
    "already_rolling_back",
    "as_saved",
    "from_document",
    "merged",
    "missing",
    "taken_over",
    "to_document",
]

_INCIDENT = TypeAdapter(Incident)
# PostgreSQL holds no NUL in text; a vendor's answer quoted in a detail may.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def to_document(incident: Incident) -> str:
    """The incident as JSON, without its journal."""
    document = _INCIDENT.dump_json(replace(incident, journal=())).decode()
    return _NUL.sub(r"\1", document)


def from_document(document: Any, journal: Iterable[JournalEntry] = ()) -> Incident:
    """The incident that `to_document` wrote, with this journal."""
    incident: Incident = _INCIDENT.validate_python(document)
    return replace(incident, journal=tuple(journal))


def missing(
    stored: Iterable[JournalEntry], incident: Incident
) -> tuple[JournalEntry, ...]:
    """The entries of the incident's own journal that are not stored yet."""
    return tuple((Counter(incident.journal) - Counter(stored)).elements())


def merged(
    stored: Iterable[JournalEntry], incident: Incident
) -> tuple[JournalEntry, ...]:
    """The stored entries with the incident's own, each once, in order of time."""
    stored = tuple(stored)
    return tuple(sorted((*stored, *missing(stored, incident)), key=lambda e: e.at))


def as_saved(stored: Incident | None, incident: Incident) -> Incident:
    """What a save leaves behind: an incident that was closed stays closed.

    So a rollback that comes to life after its lease was taken over cannot open its
    incident again, and a note from its beginning that arrives after its end takes
    nothing away. What it tells of the journal is added.
    """
    if stored is None or stored.outcome is None or incident.outcome is not None:
        return incident
    return replace(stored, journal=incident.journal)


def taken_over(old: Incident, new: Incident) -> Incident:
    """How an incident ends whose lease ran out and whose candidate was claimed."""
    detail = f"Its lease ran out; incident {new.id} took the candidate over."
    return replace(
        old, outcome=Outcome.ESCALATED, detail=f"{old.detail} {detail}".strip()
    )


def already_rolling_back(incident: Incident, other: str) -> AlreadyRollingBack:
    """The refusal that names the incident which holds the candidate."""
    return AlreadyRollingBack(
        f"{incident.from_deployment} is being rolled back already, "
        f"by incident {other}.",
        mend=f"Follow it with `rollback incidents show {other}`.",
    )
