"""The frozen values of backups and of rollbacks of the database's schema."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

__all__ = [
    "Archived",
    "Backup",
    "BackupFile",
    "Destroyed",
    "Fingerprint",
    "Holder",
    "LeftOver",
    "Receipt",
    "Refilled",
    "RefilledObject",
    "SchemaPlan",
    "SchemaRecord",
    "Script",
    "TableLock",
    "TableRows",
    "digest",
]


def digest(value: object) -> str:
    """SHA-256 of a value as canonical JSON; dates and paths as their text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """A schema as sorted lines, one for each fact of its normalised catalogue.

    Column order is no part of it: taking a column back and adding it again moves it.
    """

    lines: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """One value for all lines."""
        return digest(self.lines)

    def differences(self, other: "Fingerprint") -> tuple[str, ...]:
        """What this one lacks (`- line`) and has over (`+ line`) beside the other."""
        mine, others = set(self.lines), set(other.lines)
        lacking = (f"- {line}" for line in sorted(others - mine))
        return (*lacking, *(f"+ {line}" for line in sorted(mine - others)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRecord:
    """What was recorded of one version of the schema when it was deployed.

    `script_sha256` is that of its `rollback_<version>.sql`; `fingerprint` that of the
    schema at this version. None where it could not be known.
    """

    environment: str
    version: str
    recorded_at: datetime
    script_sha256: str | None = None
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One `rollback_<version>.sql`; not `transactional` where it says so itself."""

    version: str
    path: Path
    text: str
    sha256: str
    transactional: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroyed:
    """One thing that a rollback destroys, by the script of which version.

    `object` is qualified: `public.submissions.wedding_date` is a column. `kind` is what
    the catalogue calls it (table, column, index, view, function, type, constraint,
    trigger, policy, grant, …), or `updated`, `deleted`, `truncated` for rows of the
    table `object`. `rows`: how many rows of a table, values of a column that are not
    null, or rows written; None for what holds no values.
    """

    object: str
    kind: str
    version: str
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A session that holds a lock; its query is not shown, as it may hold values."""

    pid: int
    application: str
    user: str
    state: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLock:
    """A lock that the rollback takes on a table, and who is in its way just now."""

    table: str
    mode: str
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaPlan:
    """A rollback of the schema: which scripts in which order, and what it destroys.

    `versions` from the newest on, those above `to_version`. `fingerprint` is what was
    recorded at `to_version`. `written` are the tables whose rows the scripts change.
    `stall_seconds` is an estimate of how long writers will wait. `notes` are sentences
    for the person who decides.
    """

    from_version: str
    to_version: str
    scripts: tuple[Script, ...]
    destroys: tuple[Destroyed, ...] = ()
    written: tuple[str, ...] = ()
    locks: tuple[TableLock, ...] = ()
    stall_seconds: float = 0.0
    fingerprint: Fingerprint | None = None
    notes: tuple[str, ...] = ()

    @property
    def versions(self) -> tuple[str, ...]:
        """In the order in which they are taken back."""
        return tuple(script.version for script in self.scripts)

    @property
    def sha256(self) -> str:
        """The same for the same scripts, from and to; what is counted is left out."""
        scripts = [(script.version, script.sha256) for script in self.scripts]
        destroys = sorted((d.version, d.kind, d.object) for d in self.destroys)
        return digest([self.from_version, self.to_version, scripts, destroys])


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRows:
    """How many rows a table had in the backup's snapshot."""

    table: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFile:
    """A file of a backup, its path relative to the backup's folder."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup's manifest. `path` is where it lies: a folder, or an fsspec address.

    `version` is the schema's when it was taken; None without a history. `apart` are
    the tables of the schema `rollback`, in a dump of their own. `notes` are sentences
    about what is not in it.
    """

    name: str
    path: str
    label: str
    database: str
    version: str | None
    taken_at: datetime
    seconds: float
    server: str
    client: str
    schemas: tuple[str, ...]
    tables: tuple[TableRows, ...]
    files: tuple[BackupFile, ...]
    verified: bool
    apart: tuple[TableRows, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the manifest's list of files, which holds theirs."""
        return digest([asdict(file) for file in self.files])

    @property
    def bytes(self) -> int:
        """The size of all its files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What was kept of something destroyed: `table` in the schema `rollback` has it."""

    object: str
    kind: str
    version: str
    rows: int
    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a rollback of the schema did, for people and programs.

    Seconds: `waited` for locks in all attempts, `stalled` from the first lock of the
    attempt that succeeded until its commit, `total` for everything but the backup.
    `apart`: versions whose scripts could not be in a transaction, committed statement
    by statement; what is before and after them was committed by itself.
    """

    incident: str
    from_version: str
    to_version: str
    versions: tuple[str, ...]
    plan_sha256: str
    backup_sha256: str
    fingerprint_sha256: str
    fingerprint_compared: bool
    destroyed: tuple[Destroyed, ...]
    archived: tuple[Archived, ...]
    attempts: int
    waited: float
    stalled: float
    total: float
    committed_at: datetime
    apart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOver:
    """Archived values that could not go back, why, and up to 20 of their keys."""

    reason: str
    rows: int
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefilledObject:
    """What became of the archived values of one object.

    `put_back` now, `already` there with the same value, `newer_kept` where the
    application has written another one since.
    """

    object: str
    kind: str
    put_back: int
    already: int = 0
    newer_kept: int = 0
    left: tuple[LeftOver, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refilled:
    """What a refill put back, object by object; `notes` for people."""

    version: str
    objects: tuple[RefilledObject, ...]
    notes: tuple[str, ...] = ()
