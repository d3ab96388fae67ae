"""What PostgreSQL and its programs complain of, in two sentences."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg import Error

from rollback.errors import BackupFailed, DatabaseUnreachable, RollbackError
from rollback.transactions import Database

__all__ = ["WAITED", "alone", "in_words", "speaking"]

# Classes of SQLSTATE: connection, sign-in, no such database, resources, shut down.
UNREACHABLE = ("08", "28", "3D", "53", "57")
CANCELLED = "57014"
WAITED = "waited too long for a lock"

Words = Callable[[re.Match[str]], tuple[str, str]]

DIRECT = "Give a direct or session address in DATABASE_DIRECT_URL."


def in_words(
    program: str, code: int, text: str, failure: type[RollbackError]
) -> RollbackError:
    """The error for a program that ended with `code` and said `text`."""
    for pattern, words in KNOWN:
        if match := re.search(pattern, text):
            message, mend = words(match)
            return failure(message, mend=mend)
    if "connection to server" in text or "server closed the connection" in text:
        return DatabaseUnreachable(f"The database cannot be reached: {last_line(text)}")
    how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
    return failure(f"{program} {how}: {last_line(text) or 'it said nothing'}")


@contextmanager
def speaking(
    database: Database, failure: type[RollbackError] = BackupFailed
) -> Iterator[None]:
    """Raise `failure` or DatabaseUnreachable for what PostgreSQL's client raises."""
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise _unreachable(database, error) from error
    except Error as error:
        text = database.explain(error)
        for pattern, words in KNOWN:
            if match := re.search(pattern, text):
                message, mend = words(match)
                raise failure(message, mend=mend) from error
        state = error.sqlstate or UNREACHABLE[0]
        if state.startswith(UNREACHABLE) and state != CANCELLED:
            raise _unreachable(database, error) from error
        raise failure(f"The database refused: {text}.") from error


@contextmanager
def alone() -> Iterator[None]:
    """Raise the first error of a task group as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group


def _unreachable(database: Database, error: Exception) -> DatabaseUnreachable:
    return DatabaseUnreachable(
        f"The database {database.name} cannot be reached: {database.explain(error)}."
    )


def last_line(text: str) -> str:
    """The line that says what is wrong, without the program's name."""
    lines = [line for line in text.splitlines() if "error:" in line]
    line = (lines or text.splitlines() or [""])[0]
    return re.sub(r"^\S+: (error: )?", "", line).strip()


def _disk_full(match: re.Match[str]) -> tuple[str, str]:
    return (
        f"There is no room for the backup: {match[1].lower()}.",
        "Free room there, or name another place in ROLLBACK_BACKUPS.",
    )


def _row_security(match: re.Match[str]) -> tuple[str, str]:
    return (
        f"Row level security keeps the database's user from rows of {match[1]}.",
        "Give it BYPASSRLS, or the owner's address in DATABASE_DIRECT_URL.",
    )


def _denied(match: re.Match[str]) -> tuple[str, str]:
    return (
        f"The database's user lacks a right: {match[1]}.",
        "Grant it, or give the owner's address in DATABASE_DIRECT_URL.",
    )


def _versions(match: re.Match[str]) -> tuple[str, str]:
    return (
        f"pg_dump is {match[2]} and the server {match[1]}: it cannot read it.",
        "Name the folder of the server's version in ROLLBACK_POSTGRES_PROGRAMS.",
    )


def _lock(_: re.Match[str]) -> tuple[str, str]:
    return (
        f"pg_dump {WAITED} on a table.",
        "Wait for the session that holds it, or end it; then run it again.",
    )


def _snapshot(_: re.Match[str]) -> tuple[str, str]:
    return "pg_dump found no snapshot: its connection led to another server.", DIRECT


KNOWN: tuple[tuple[str, Words], ...] = (
    (r"(No space left on device|File too large|Disk quota exceeded)", _disk_full),
    (r"row-level security policy for table \"?([^\"\n]+)\"?", _row_security),
    (r"(permission denied [^\n]+|must be (?:owner|superuser)[^\n]*)", _denied),
    (r"(failed to get data for sequence [^;]+); user may lack", _denied),
    (r"server version: (\S+); pg_dump version: (\S+)", _versions),
    (r"due to lock timeout|could not obtain lock", _lock),
    (r"invalid snapshot identifier|could not import the requested", _snapshot),
)
