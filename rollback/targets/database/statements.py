"""A script that cannot be in a transaction: journaled, statement by statement.

A statement that can be in a transaction is in one with its line of the journal. One
that cannot is written down before and after: where only the first is there, whether it
was done is looked up or found out, and the script goes on.
"""

import re
from dataclasses import dataclass

from psycopg import Error, sql
from psycopg.errors import (
    DuplicateObject,
    DuplicateTable,
    UndefinedObject,
    UndefinedTable,
)

from rollback.errors import NotAsPlanned, SchemaRefused, StepFailed
from rollback.schema import Receipt, Script
from rollback.transactions import Connection, Database, shielded

from . import receipts
from .archive import HOLDERS
from .catalogue import read_catalogue
from .destruction import differences, measure
from .history import read_history, remove
from .lexer import Statement, statements
from .locks import claim_session
from .names import parts
from .running import failed, lost
from .scripts import encoded, needs_no_transaction
from .store import ensure
from .transaction import Order, check, receipt_of
from .writes import ROWS

__all__ = ["refuse_destroying", "run_apart"]

# What else there is may write rows, or call what does: nothing could be kept of them.
_PLAIN = frozenset(
    {"ALTER", "ANALYZE", "CLUSTER", "COMMENT", "CREATE", "DROP", "GRANT", "IMPORT"}
    | {"REASSIGN", "REFRESH", "REINDEX", "RESET", "REVOKE", "SECURITY", "SET", "VACUUM"}
)
DONE_ALREADY = (DuplicateObject, DuplicateTable, UndefinedObject, UndefinedTable)
_NAME = r'(?:"(?:[^"]|"")*"|[\w$]+)'
_INDEX = re.compile(
    rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"({_NAME})\s+ON\s+(?:ONLY\s+)?({_NAME}(?:\.{_NAME})?)",
    re.IGNORECASE,
)
_KNOWN = """
SELECT number, ended_at IS NOT NULL AS ended FROM rollback.statements
 WHERE version = %s AND script_sha256 = %s
"""
_BEGIN = """
INSERT INTO rollback.statements (version, script_sha256, number, statement, incident)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_END = """
UPDATE rollback.statements SET ended_at = pg_catalog.clock_timestamp()
 WHERE version = %s AND script_sha256 = %s AND number = %s
"""
_FORGET = "DELETE FROM rollback.statements WHERE version = %s AND script_sha256 = %s"
_BUILT = """
SELECT i.indisvalid AS valid, n.nspname AS schema, c.relname AS name
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE i.indrelid = pg_catalog.to_regclass(%s) AND c.relname = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Journal:
    """The statements of one script that were begun, and those that ended."""

    connection: Connection
    order: Order
    script: Script
    begun: frozenset[int]
    ended: frozenset[int]

    async def begin(self, number: int, statement: Statement) -> None:
        """Write that it begins."""
        place = self.script.version, self.script.sha256, number
        await self.connection.execute(
            _BEGIN, [*place, statement.text, self.order.incident]
        )

    async def end(self, number: int) -> None:
        """Write that it was done."""
        place = self.script.version, self.script.sha256, number
        await self.connection.execute(_END, place)


def refuse_destroying(order: Order) -> None:
    """What holds values goes only in the transaction that keeps them.

    Raises:
        SchemaRefused: a script that cannot be in one destroys such, or holds a
            statement of which that cannot be known.

    """
    for script in order.plan.scripts:
        if not script.transactional:
            _refuse_writing(script)
    apart = {s.version for s in order.plan.scripts if not s.transactional}
    kinds = (*HOLDERS, *ROWS.values())
    for one in order.plan.destroys:
        if one.version in apart and one.kind in kinds:
            raise SchemaRefused(
                f"The script of {one.version} cannot be in a transaction and destroys "
                f"the {one.kind} {one.object}: its values could not be kept.",
                mend="Make two migrations of it, one for what needs no transaction.",
            )


def _refuse_writing(script: Script) -> None:
    """A loop over rows does nothing on an empty copy; a SELECT may call anything."""
    for statement in statements(script.text):
        first = statement.words[0] if statement.words else statement.text[:20]
        if first not in _PLAIN:
            raise SchemaRefused(
                f"{script.path.name}, line {statement.line} holds {first}, in a script "
                "that runs in no transaction: what rows it changes, or calls a "
                "function to change, could not be kept.",
                mend="Make two migrations of it, one for what needs no transaction.",
            )


async def run_apart(database: Database, order: Order) -> Receipt:
    """Run the one script of this order, from where an earlier run stopped.

    Raises:
        SchemaBusy, SchemaRefused: nothing was changed.
        StepFailed: a statement failed; those before it are done.

    """
    async with database.session() as connection:
        count = len(statements(order.plan.scripts[0].text))
        return await shielded(
            connection,
            lambda: _run(connection, order, database.statement_seconds),
            seconds=database.statement_seconds * (count + 2),
        )


async def _run(connection: Connection, order: Order, seconds: float) -> Receipt:
    await connection.execute(
        "SELECT pg_catalog.set_config('statement_timeout', %s, false)",
        [f"{int(seconds * 1000)}ms"],
    )
    await claim_session(connection)
    check(await read_history(connection, order.schemas), order.plan)
    async with connection.transaction():
        await ensure(connection)
    journal = await _journal(connection, order)
    for number, statement in enumerate(statements(journal.script.text), 1):
        if number not in journal.ended:
            await _one(journal, number, statement)
    async with connection.transaction():
        return await _finish(journal)


async def _journal(connection: Connection, order: Order) -> _Journal:
    (script,) = order.plan.scripts
    cursor = await connection.execute(_KNOWN, [script.version, script.sha256])
    rows = await cursor.fetchall()
    return _Journal(
        connection=connection,
        order=order,
        script=script,
        begun=frozenset([row["number"] for row in rows]),
        ended=frozenset([row["number"] for row in rows if row["ended"]]),
    )


async def _one(journal: _Journal, number: int, statement: Statement) -> None:
    journal.order.notice(
        f"rolling back {journal.script.version}, line {statement.line}"
    )
    try:
        if needs_no_transaction(statement):
            await _outside(journal, number, statement)
        else:
            async with journal.connection.transaction():
                await _limit(journal.connection, journal.order)
                await journal.begin(number, statement)
                await _measured(journal.connection, statement)
                await journal.end(number)
    except (Error, NotAsPlanned) as error:
        if lost(error):
            raise
        reason = _reason(journal.script, error)
        raise StepFailed(
            f"{reason} It stopped at line {statement.line}; the statements before it "
            "are done.",
            mend="Mend what kept it, and run it again: it goes on with this one.",
        ) from error


def _reason(script: Script, error: Error | NotAsPlanned) -> str:
    if isinstance(error, NotAsPlanned):
        return error.message
    return failed(script, error).message.removesuffix(" Nothing was committed.")


async def _limit(connection: Connection, order: Order) -> None:
    """No lock is waited for, or held, for longer than was agreed to."""
    await connection.execute(
        "SELECT pg_catalog.set_config('lock_timeout', %s, true),"
        " pg_catalog.set_config('statement_timeout', least(s.setting::float8, %s)"
        "::int8 || 'ms', true)"
        " FROM pg_catalog.pg_settings s WHERE s.name = 'statement_timeout'",
        [f"{order.lock_timeout_ms}ms", max(1.0, order.stall_seconds * 1000)],
    )


async def _measured(connection: Connection, statement: Statement) -> None:
    """What it destroys was planned nowhere, so nothing of it was kept."""
    before = await measure(connection)
    await _execute(connection, statement)
    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    if found := differences(before, await measure(connection), (), (), ()):
        raise NotAsPlanned(f"It was taken back: {'; '.join(found)}.")


async def _outside(journal: _Journal, number: int, statement: Statement) -> None:
    """Once more after an attempt of which the end is not known."""
    await journal.begin(number, statement)
    again = number in journal.begun
    if not (again and await _built(journal, statement)):
        try:
            await _execute(journal.connection, statement)
        except DONE_ALREADY as error:
            if not again:
                raise
            said = error.diag.message_primary
            journal.order.notice(f"line {statement.line} was done already: {said}")
    await journal.end(number)


async def _built(journal: _Journal, statement: Statement) -> bool:
    """Whether the index is there; the invalid one of a failed attempt is dropped."""
    match = _INDEX.search(statement.text)
    if match is None:
        return False
    (name,) = parts(match[1] if match[1].startswith('"') else match[1].lower())
    cursor = await journal.connection.execute(_BUILT, [match[2], name])
    row = await cursor.fetchone()
    if row is None or row["valid"]:
        return row is not None
    journal.order.notice(f"dropping {name}: an attempt that failed left it invalid")
    await journal.connection.execute(
        sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(
            sql.Identifier(row["schema"], row["name"])
        )
    )
    return False


async def _execute(connection: Connection, statement: Statement) -> None:
    await connection.execute(encoded(statement.text, connection))


async def _finish(journal: _Journal) -> Receipt:
    """The history's row goes last: until then a second run goes on with the script."""
    connection, order = journal.connection, journal.order
    history = await read_history(connection, order.schemas)
    check(history, order.plan)
    await remove(connection, history, order.plan.versions)
    script = journal.script
    # Applied and taken back again, it begins anew.
    await connection.execute(_FORGET, [script.version, script.sha256])
    now = await read_catalogue(connection, order.schemas)
    receipt = receipt_of(order, now.fingerprint, apart=order.plan.versions)
    await receipts.save(connection, receipt)
    return receipt
