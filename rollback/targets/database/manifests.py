"""A backup's manifest as a file, and how a disk's errors are told."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TypeVar

from anyio import to_thread

from rollback.errors import BackupFailed
from rollback.schema import Backup, BackupFile, TableRows

__all__ = ["MANIFEST", "from_manifest", "in_thread", "to_manifest", "writing"]

MANIFEST = "manifest.json"

T = TypeVar("T")


def to_manifest(backup: Backup) -> str:
    """As JSON, for people too."""
    facts = asdict(backup) | {"taken_at": backup.taken_at.isoformat()}
    del facts["path"]
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


def from_manifest(text: str, *, name: str, path: str) -> Backup:
    """Read one; raises ValueError, KeyError or TypeError for what is none."""
    facts = json.loads(text)
    if facts["name"] != name:
        raise ValueError(f"it is the manifest of {facts['name']}")
    facts |= {
        "path": path,
        "taken_at": datetime.fromisoformat(facts["taken_at"]),
        "schemas": tuple(facts["schemas"]),
        "tables": tuple(TableRows(**table) for table in facts["tables"]),
        "files": tuple(BackupFile(**file) for file in facts["files"]),
        "apart": tuple(TableRows(**table) for table in facts["apart"]),
        "notes": tuple(facts["notes"]),
    }
    return Backup(**facts)


async def in_thread(call: Callable[[], T]) -> T:
    """A call that waits for a disk or a network, beside the event loop."""
    return await to_thread.run_sync(call)


@contextmanager
def writing(where: str) -> Iterator[None]:
    """Raise BackupFailed for what a disk does."""
    try:
        yield
    except OSError as error:
        raise BackupFailed(
            f"Nothing can be kept in {where}: {error.strerror or error}.",
            mend="Give a folder that can be written, with room, in ROLLBACK_BACKUPS.",
        ) from error
