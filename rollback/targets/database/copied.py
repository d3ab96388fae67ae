"""A script's statements on the copy, and in words what fails there."""

from psycopg import Error

from rollback.errors import SchemaRefused
from rollback.schema import Script
from rollback.transactions import Connection

from .probe import take_shared
from .scripts import Statement, encoded, statements

__all__ = ["as_a_whole", "execute", "keep_to_the_copy", "run_statements"]


async def keep_to_the_copy(connection: Connection, script: Script) -> None:
    """Raises where the transaction has changed what the whole server shares."""
    if shared := await take_shared(connection):
        raise SchemaRefused(
            f"{script.path.name} changes {', '.join(shared)}, which the whole server "
            "shares: that cannot be tried without a transaction around all scripts.",
            mend="Take that out of the script, and do it by hand.",
        )


def as_a_whole(script: Script, error: Exception) -> SchemaRefused:
    """Where none of its statements fails by itself."""
    cause = error.__cause__
    said = cause.diag.message_primary if isinstance(cause, Error) else None
    return SchemaRefused(
        f"{script.path.name} fails on a copy of the schema when it is run whole, as "
        f"a rollback runs it: {said or error}.",
        mend="Mend the script; production was not touched.",
    )


async def run_statements(connection: Connection, script: Script) -> None:
    """Statement by statement, so that one that fails can be named by its line."""
    for statement in statements(script.text):
        await execute(connection, script, statement)


async def execute(connection: Connection, script: Script, statement: Statement) -> None:
    """One statement; raises `SchemaRefused` with the line where it fails."""
    try:
        await connection.execute(encoded(statement.text, connection))
    except UnicodeEncodeError as error:
        raise SchemaRefused(
            f"{script.path.name}:{statement.line} holds what the database's encoding "
            f"has no letter for: {error.object[error.start]!r}."
        ) from error
    except Error as error:
        if connection.closed:
            raise
        raise _failed(script, statement, error) from error


def _failed(script: Script, statement: Statement, error: Error) -> SchemaRefused:
    line, place = statement.line, error.diag.statement_position
    if place is not None:
        line += statement.text.count("\n", 0, int(place) - 1)
    said = error.diag.message_primary or str(error).strip().partition("\n")[0]
    return SchemaRefused(
        f"{script.path.name}:{line} fails on a copy of the schema: {said}.",
        mend="Mend the script; production was not touched.",
    )
