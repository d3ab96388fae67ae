"""The ledger's tables: whether they are there, and how they come to be."""

from importlib.resources import files

from psycopg.errors import InsufficientPrivilege

from rollback.errors import LedgerOutdated
from rollback.transactions import Connection

from . import queries

__all__ = ["create"]


async def create(connection: Connection) -> None:
    """Create what is missing. Under a lock: IF NOT EXISTS alone may collide.

    Who may not create goes on where nothing but an index is missing; otherwise raises
    `LedgerOutdated`, as the database is up, and waiting for it changes nothing.
    """
    found = await (await connection.execute(queries.CREATED)).fetchone()
    if found and found["enough"] and found["quick"]:
        return
    schema = files(__package__).joinpath("schema.sql").read_text("utf-8")
    try:
        async with connection.transaction():
            await connection.execute(queries.LOCK, ["rollback/schema"])
            await connection.execute(schema.encode())
    except InsufficientPrivilege as error:
        if not found or not found["enough"]:
            raise LedgerOutdated from error
