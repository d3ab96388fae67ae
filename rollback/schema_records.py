"""What is recorded of the schema: the hashes of its scripts, and its fingerprint.

A rollback runs only the script that was there when its version was deployed, and ends
only with the schema that was there at the version that it goes back to.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .ports import Database, Ledger
from .schema import Fingerprint, SchemaRecord

__all__ = ["Recorded", "SchemaBook", "script_hash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What came of it, by version. `changed`: the script is not the recorded one.

    `new` are those of which something was not recorded yet; `fingerprint` that of the
    schema at `current`, where it is to be recorded.
    """

    versions: tuple[str, ...]
    current: str | None
    fingerprint: Fingerprint | None = None
    new: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    known: Fingerprint | None = None

    @property
    def same_schema(self) -> bool:
        """Whether the schema's fingerprint is on record, as it is now."""
        if self.fingerprint is None or self.known is None:
            return False
        return self.fingerprint.sha256 == self.known.sha256


def script_hash(folder: Path, version: str) -> str | None:
    """SHA-256 of the version's script, to the byte; None where there is none."""
    try:
        content = (folder / f"rollback_{version}.sql").read_bytes()
    except OSError:
        return None
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaBook:
    """Records versions of the schema. `history` gives those applied, oldest first."""

    ledger: Ledger
    database: Database
    history: Callable[[], Awaitable[tuple[str, ...]]]
    folder: Path
    environment: str

    async def look(self, *, upto: str | None = None) -> Recorded:
        """What there is, and what is on record of it; changes nothing.

        Versions above `upto` are left out, and with them the fingerprint of a schema
        that has gone further.
        """
        applied = await self.history()
        current = applied[-1] if applied else None
        versions = _upto(applied, upto)
        known = await self.ledger.schemas(self.environment)
        hashes = {each: script_hash(self.folder, each) for each in versions}
        here = current in versions and upto in (None, current)
        fingerprint = await self.database.fingerprint() if here else None
        record = known.get(current or "")
        return Recorded(
            versions=versions,
            current=current,
            fingerprint=fingerprint,
            known=record.fingerprint if record else None,
            missing=tuple(each for each in versions if hashes[each] is None),
            new=tuple(
                each
                for each in versions
                if each not in known
                or (known[each].script_sha256 is None and hashes[each])
            ),
            changed=tuple(
                each
                for each in versions
                if hashes[each] and _hash(known.get(each)) not in (None, hashes[each])
            ),
        )

    async def record(
        self, seen: Recorded, *, at: datetime, renew: bool, fingerprint: bool
    ) -> None:
        """Record what was seen; a script that is another one only when renewed."""
        kept = seen.fingerprint if fingerprint else None
        await self.ledger.record_schemas(
            [
                SchemaRecord(
                    environment=self.environment,
                    version=version,
                    recorded_at=at,
                    script_sha256=script_hash(self.folder, version),
                    fingerprint=kept if version == seen.current else None,
                )
                for version in seen.versions
            ],
            renew=renew,
        )


def _upto(applied: tuple[str, ...], upto: str | None) -> tuple[str, ...]:
    if upto is None or upto not in applied:
        return applied
    return applied[: applied.index(upto) + 1]


def _hash(record: SchemaRecord | None) -> str | None:
    return record.script_sha256 if record else None
