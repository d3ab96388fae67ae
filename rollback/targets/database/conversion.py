"""What became of values whose column a script converted to another type."""

from collections.abc import Iterable

from psycopg import sql

from rollback.transactions import Connection

from .archive import Kept
from .store import EXACT, shown

__all__ = ["WRITTEN", "note_conversions"]

WRITTEN = "rollback_written"
_NOW = """
SELECT a.attname AS name, n.nspname AS schema, c.relname AS table,
       (SELECT array_agg(k.attname::text) FROM pg_catalog.pg_attribute k
         WHERE k.attrelid = c.oid AND k.attnum > 0 AND NOT k.attisdropped) AS columns
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE a.attrelid = %(oid)s AND a.attnum = %(place)s AND NOT a.attisdropped
"""


async def note_conversions(connection: Connection, kept: Iterable[Kept]) -> None:
    """Keep, beside each old value, the one that the script made of it.

    Only so can a refill tell that the application has written another one since.
    """
    first = True
    for one in kept:
        if one.place is None or one.archived is None or not one.relation.keys:
            continue
        facts = {"oid": one.relation.oid, "place": one.place}
        now = await (await connection.execute(_NOW, facts)).fetchone()
        if now is None or not set(one.key) <= set(now["columns"]):
            continue
        if first:
            await connection.execute(EXACT.encode())
            first = False
        await _note(connection, one, now)


async def _note(connection: Connection, one: Kept, now: dict[str, str]) -> None:
    archive = sql.Identifier("rollback", one.archived.table if one.archived else "")
    same = sql.SQL(" AND ").join(
        sql.SQL("archive.{} = {}").format(
            sql.Identifier(name), shown(sql.Identifier("now", name))
        )
        for name in one.key
    )
    # It has no key: where all tables are published, none of its rows could be updated.
    await connection.execute(
        sql.SQL("ALTER TABLE {} ADD COLUMN {} text, REPLICA IDENTITY FULL").format(
            archive, sql.Identifier(WRITTEN)
        )
    )
    await connection.execute(
        sql.SQL(
            "UPDATE {archive} archive SET {written} = {column}"
            " FROM {table} now WHERE {same}"
        ).format(
            archive=archive,
            written=sql.Identifier(WRITTEN),
            column=shown(sql.Identifier("now", now["name"])),
            table=sql.Identifier(now["schema"], now["table"]),
            same=same,
        )
    )
