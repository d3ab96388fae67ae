"""Whether a row was written since its migration was applied again."""

from collections.abc import Sequence

from psycopg import sql

from rollback.errors import SchemaRefused
from rollback.transactions import Connection

from .history import read_history

__all__ = ["applied_by", "untouched"]

# A number of a transaction begins anew after 2^32 of them: so each is told by how many
# there were since. What a pg_upgrade has frozen is old.
_UNTOUCHED = """
(xmin::text::int8 < 3 OR xmin IN (SELECT r.xmin FROM rollback.refills r)
 OR ({now} - xmin::text::int8 + 4294967296) % 4294967296
   >= ({now} - {applied} + 4294967296) % 4294967296)
"""
_NOW = "(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8 % 4294967296)"


def untouched(applied: int) -> sql.Composable:
    """Whether a row was not written since its migration was applied again."""
    return sql.SQL(_UNTOUCHED).format(now=sql.SQL(_NOW), applied=sql.Literal(applied))


async def applied_by(
    connection: Connection, version: str, schemas: Sequence[str]
) -> int:
    """The transaction that wrote the version's line into the history."""
    history = await read_history(connection, schemas)
    if version not in history.versions:
        raise SchemaRefused(
            f"The version {version} is not applied, so its tables and columns are not "
            f"there: the database is at {history.current}.",
            mend="Apply the migration again first.",
        )
    cursor = await connection.execute(
        sql.SQL(
            "SELECT xmin::text::int8 AS applied FROM {} WHERE version::text = %s"
        ).format(history.identifier),
        [version],
    )
    row = await cursor.fetchone()
    return int(row["applied"]) if row else 0
