"""Sequences, moved behind what came back."""

from psycopg import sql

from rollback.transactions import Connection

from .names import Relation
from .parting import Archive
from .putting import Outcome

__all__ = ["go_on", "move_sequences"]

_SEQUENCES = """
SELECT pg_catalog.setval(s.name::regclass, s.top) FROM (
  SELECT {name} AS name, max({column}) AS top FROM {table}) s
 WHERE s.top > (SELECT coalesce(last_value, 0) FROM {sequence})
"""


async def go_on(connection: Connection, archive: Archive) -> Outcome:
    """It goes on where it was, unless it is further already."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT pg_catalog.setval({name}, a.last_value::bigint,"
            " a.is_called::bool) FROM {archive} a, {sequence} s"
            " WHERE a.last_value::bigint > s.last_value"
        ).format(
            name=sql.Literal(archive.table_name),
            archive=archive.identifier,
            sequence=sql.SQL(archive.table_name),
        )
    )
    return Outcome(put_back=cursor.rowcount, already=1 - cursor.rowcount)


async def move_sequences(connection: Connection, target: Relation) -> None:
    """The next value that a column gives itself is behind those that came back."""
    for column in target.columns:
        cursor = await connection.execute(
            "SELECT pg_catalog.pg_get_serial_sequence(%s, %s) AS name",
            [target.qualified, column.name],
        )
        row = await cursor.fetchone()
        if row and row["name"]:
            await connection.execute(
                sql.SQL(_SEQUENCES).format(
                    name=sql.Literal(row["name"]),
                    column=sql.Identifier(column.name),
                    table=target.identifier,
                    sequence=sql.SQL(row["name"]),
                )
            )
