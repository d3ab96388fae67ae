"""The scripts of a rollback, read and held against what may not be in them.

What is found here is found by reading. A COMMIT in the body of a procedure or of a DO
block is not: PostgreSQL refuses that when it runs inside a transaction, on the copy.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rollback.errors import SchemaRefused
from rollback.schema import Script
from rollback.transactions import Connection

from .history import in_order
from .lexer import Statement, Unclosed, statements, words

__all__ = [
    "Statement",
    "encoded",
    "forward",
    "load",
    "needs_no_transaction",
    "no_return",
    "statements",
]

_DECLARED = re.compile(r"\s*--[ \t]*rollback:[ \t]*no-transaction[ \t]*(?:[\r\n]|\Z)")
_NO_RETURN = re.compile(r"\s*--[ \t]*rollback:[ \t]*none\b[ \t:,.-]*(.*)")
_VERSION = re.compile(r"\w[\w.\-]*", re.ASCII)
_MIGRATION = re.compile(r"(\d+)(?:_.*)?\.sql", re.ASCII)

_CONTROL = (
    "BEGIN",
    "START TRANSACTION",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
    "PREPARE TRANSACTION",
    "SET TRANSACTION",
    "SET LOCAL TRANSACTION",
    "SET SESSION CHARACTERISTICS",
)
# Not transactional, and of more than this database: no copy can show what they do.
_NEVER = (
    "ALTER SYSTEM",
    "CREATE DATABASE",
    "DROP DATABASE",
    "CREATE TABLESPACE",
    "DROP TABLESPACE",
    "CREATE SUBSCRIPTION",
    "DROP SUBSCRIPTION",
    "DISCARD ALL",
)
# What acts on other sessions, other servers or files at once: a trial would do it too.
_ACTING = re.compile(
    r"PG_(TERMINATE|CANCEL)_BACKEND|PG_RELOAD_CONF|PG_ROTATE_LOGFILE|PG_PROMOTE"
    r"|PG_SWITCH_WAL|PG_FILE_\w+|LO_IMPORT|LO_EXPORT|DBLINK(_\w+)?"
)
# Here a function is named, or what calls it is kept for later.
_NAMING = re.compile(
    r"(CREATE|DROP|ALTER|COMMENT|GRANT|REVOKE) (\S+ ){0,4}?"
    r"(FUNCTION|PROCEDURE|ROUTINE|EXTENSION|VIEW|RULE|POLICY|TRIGGER)\b"
)
_PROGRAM = re.compile(r"\bCOPY\b.*\b(FROM|TO) PROGRAM\b")
_NEVER_IN_A_TRANSACTION = (
    "VACUUM",
    "REINDEX DATABASE",
    "REINDEX SCHEMA",
    "REINDEX SYSTEM",
)
_CONCURRENTLY = re.compile(
    r"(CREATE (UNIQUE )?INDEX|DROP INDEX) CONCURRENTLY\b"
    r"|REINDEX\b.* CONCURRENTLY\b"
    r"|ALTER TABLE\b.* DETACH PARTITION\b.* CONCURRENTLY\b"
)


def load(folder: Path, versions: Sequence[str]) -> tuple[Script, ...]:
    """Read `rollback_<version>.sql` of each version, in the order given.

    Raises:
        SchemaRefused: with every problem of every script, each by its name.

    """
    scripts: list[Script] = []
    problems: list[str] = []
    for version in versions:
        found, script = _read(folder, version)
        problems.extend(found)
        if script is not None:
            scripts.append(script)
    if problems:
        raise SchemaRefused(
            f"The rollback scripts in {folder} cannot be run: {'; '.join(problems)}.",
            mend="Mend each script that is named; the rollback needs all of them.",
        )
    return tuple(scripts)


def forward(folder: Path) -> dict[str, Path]:
    """The migrations of a folder by version, oldest first: NNN.sql and NNN_name.sql.

    Raises:
        SchemaRefused: two files are of one version.

    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _MIGRATION.fullmatch(path.name)
        if match is None:
            continue
        if (other := found.get(match[1])) is not None:
            raise SchemaRefused(
                f"Two migrations are of the version {match[1]}: "
                f"{other.name} and {path.name}.",
                mend="Give each migration a version of its own.",
            )
        found[match[1]] = path
    return {version: found[version] for version in in_order(found)}


def no_return(text: str) -> str | None:
    """The reason that a script gives for being no way back, where it says so.

    It begins with the comment `-- rollback: none` and the reason.
    """
    match = _NO_RETURN.match(text)
    return (match[1].strip() or "no reason is given") if match else None


def needs_no_transaction(statement: Statement) -> bool:
    """Whether PostgreSQL is known to refuse it inside a transaction."""
    said = " ".join(statement.words)
    return _begins(said, _NEVER_IN_A_TRANSACTION) is not None or bool(
        _CONCURRENTLY.match(said)
    )


def encoded(text: str, connection: Connection) -> bytes:
    """A statement as the connection's encoding has it: bytes are sent as they are."""
    known = connection.info.encoding
    # SQL_ASCII takes any bytes.
    return text.encode("utf-8" if known == "ascii" else known)


def _read(folder: Path, version: str) -> tuple[list[str], Script | None]:
    path = folder / f"rollback_{version}.sql"
    if _VERSION.fullmatch(version) is None:
        return [f"the version {version!r} cannot be a file's name"], None
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        return [f"{path.name} is missing"], None
    except OSError as error:
        return [f"{path.name} cannot be read ({error.strerror})"], None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return [f"{path.name}:{line} is not UTF-8"], None
    script = Script(
        version=version,
        path=path,
        text=text,
        sha256=hashlib.sha256(content).hexdigest(),
        transactional=_DECLARED.match(text) is None,
    )
    return list(_problems(script)), script


def _problems(script: Script) -> Iterator[str]:
    name = script.path.name
    if "\0" in script.text:
        line = script.text.count("\n", 0, script.text.index("\0")) + 1
        yield f"{name}:{line} holds a NUL byte"
    if reason := no_return(script.text):
        yield f"{name} says that there is no way back ({reason})"
        return
    try:
        found = statements(script.text)
    except Unclosed as error:
        yield f"{name}:{error.line} opens a quote or a comment that is not closed"
        return
    if not found:
        yield f"{name} is empty"
    for statement in found:
        for line, problem in _of_statement(statement, script):
            yield f"{name}:{line} {problem}"


def _of_statement(statement: Statement, script: Script) -> Iterator[tuple[int, str]]:
    said, line = " ".join(statement.words), statement.line
    if statement.backslash is not None:
        yield statement.backslash, "holds a command of psql (a backslash)"
    if control := _begins(said, _CONTROL):
        yield line, f"holds {control}: the transaction is the rollback's own"
    if re.match(r"COPY\b.* FROM STDIN\b", said):
        yield line, "copies from STDIN, which nobody sends"
    if never := _begins(said, _NEVER):
        yield line, f"holds {never}, which reaches beyond this database's schema"
    for place, acting in _acting(statement):
        problem = f"holds {acting}, which acts outside of this database at once"
        yield place, f"{problem}: also when it is only tried"
    if script.transactional and needs_no_transaction(statement):
        shown = " ".join(statement.words[:3])
        problem = (
            f"holds {shown}, which cannot run inside a transaction (a script that "
            "begins with the comment `-- rollback: no-transaction` may)"
        )
        yield line, problem


def _acting(statement: Statement) -> Iterator[tuple[int, str]]:
    """In a DO block too, whose body is run with it; dynamic SQL is not read."""
    if _NAMING.match(" ".join(statement.words)):
        return
    try:
        found = list(words(statement.text))
    except Unclosed:  # in a body of another language
        return
    for word in found:
        if word.called and _ACTING.fullmatch(word.text):
            line = statement.line + statement.text.count("\n", 0, word.at)
            yield line, word.text.lower()
    if _PROGRAM.search(" ".join(word.text for word in found)):
        yield statement.line, "COPY with a PROGRAM"


def _begins(said: str, beginnings: Sequence[str]) -> str | None:
    return next(
        (known for known in beginnings if f"{said} ".startswith(f"{known} ")), None
    )
