"""The application's own triggers stay silent while values come back."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from psycopg import sql

from rollback.transactions import Connection

from .names import Relation

__all__ = ["muted"]

_TRIGGERS = """
SELECT n.nspname AS schema, c.relname AS table, t.tgname AS name,
       t.tgenabled::text AS enabled,
       pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS qualified
  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgparentid = 0
   AND (t.tgrelid = ANY (%(oids)s::oid[]) OR t.tgrelid IN (
     SELECT p.relid FROM pg_catalog.unnest(%(oids)s::oid[]) o (oid)
      CROSS JOIN LATERAL pg_catalog.pg_partition_tree(o.oid) p))
 ORDER BY 1, 2, 3
"""
_AGAIN = {"O": "ENABLE", "A": "ENABLE ALWAYS"}

Locks = Sequence[tuple[str, str]]


@asynccontextmanager
async def muted(
    connection: Connection, tables: Iterable[Relation], *, lock: str
) -> AsyncIterator[tuple[Locks, Callable[[], Awaitable[None]]]]:
    """The locks that it needs, and what silences them; they speak again at the end."""
    oids = [table.oid for table in tables]
    cursor = await connection.execute(_TRIGGERS, {"oids": oids})
    triggers = await cursor.fetchall()

    async def mute() -> None:
        for trigger in triggers:
            await _alter(connection, trigger, "DISABLE")

    yield [(trigger["qualified"], lock) for trigger in triggers], mute
    for trigger in triggers:
        await _alter(connection, trigger, _AGAIN[trigger["enabled"]])


async def _alter(connection: Connection, trigger: dict[str, str], how: str) -> None:
    await connection.execute(
        sql.SQL("ALTER TABLE {table} {how} TRIGGER {name}").format(
            table=sql.Identifier(trigger["schema"], trigger["table"]),
            how=sql.SQL(how),
            name=sql.Identifier(trigger["name"]),
        )
    )
