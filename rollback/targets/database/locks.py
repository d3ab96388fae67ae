"""Who may take a schema back, and the locks of all its tables at once.

A lock that is waited for stops every reader that comes after it: so all locks together
may take `lock_timeout_ms`, and what was had is let go of again.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import LiteralString

from psycopg import sql

from rollback.errors import SchemaBusy
from rollback.schema import Holder
from rollback.transactions import Connection

from .names import Relation, describe
from .store import CLAIM

__all__ = [
    "EXCLUSIVE",
    "LOCKS_OF_WRITERS",
    "claim",
    "claim_session",
    "holders",
    "mode",
    "ordered",
    "take",
]

EXCLUSIVE = "ACCESS EXCLUSIVE"
LOCKS_OF_WRITERS = "SHARE ROW EXCLUSIVE"
# The weakest first. What is weaker stops nobody, and is had when it is needed.
_MODES = (
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    LOCKS_OF_WRITERS,
    "EXCLUSIVE",
    EXCLUSIVE,
)
# LOCK TABLE would lock a view's tables too; this changes nothing, and locks it alone.
_ALTERED = {"v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}

_CLAIM = "SELECT pg_catalog.pg_try_advisory_xact_lock(%s) AS had"
_CLAIM_SESSION = "SELECT pg_catalog.pg_try_advisory_lock(%s) AS had"
_CLAIMED = """
SELECT a.pid, a.application_name AS application,
       coalesce(a.xact_start, a.backend_start) AS since
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_catalog.pg_database
                      WHERE datname = pg_catalog.current_database())
   AND l.classid::int8 = %(high)s AND l.objid::int8 = %(low)s
"""
_HOLDERS = """
SELECT coalesce(l.pid, 0) AS pid, coalesce(a.application_name, '') AS application,
       coalesce(a.usename, '') AS user,
       coalesce(a.state, a.backend_type, 'prepared transaction') AS state,
       coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start), 0)
         ::float8 AS seconds
  FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.locktype = 'relation' AND l.granted
   AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_catalog.pg_database
                      WHERE datname = pg_catalog.current_database())
   AND l.relation = ANY (SELECT pg_catalog.to_regclass(name)
                           FROM pg_catalog.unnest(%(tables)s::text[]) name)
 ORDER BY a.xact_start NULLS LAST, pid
"""
# The time that is left is set before each lock; the error names the table.
_TAKE = """
DECLARE
  item text[];
  ends timestamptz := pg_catalog.clock_timestamp() + {limit} * interval '1 ms';
BEGIN
  FOREACH item SLICE 1 IN ARRAY {items}::text[] LOOP
    PERFORM pg_catalog.set_config('lock_timeout', greatest(1, ceil(1000 *
      extract(epoch FROM ends - pg_catalog.clock_timestamp())))::text || 'ms', true);
    EXECUTE item[2];
  END LOOP;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM, TABLE = item[1];
END
"""


async def claim(connection: Connection) -> None:
    """Be the only one who takes this database's schema back, until the commit.

    Raises:
        SchemaBusy: another session is.

    """
    await _claim(connection, _CLAIM)


async def claim_session(connection: Connection) -> None:
    """The same until the connection ends, for what cannot be in a transaction."""
    await _claim(connection, _CLAIM_SESSION)


async def _claim(connection: Connection, query: LiteralString) -> None:
    found = await (await connection.execute(query, [CLAIM])).fetchone()
    if found and found["had"]:
        return
    key = {"high": CLAIM >> 32, "low": CLAIM & 0xFFFFFFFF}
    holder = await (await connection.execute(_CLAIMED, key)).fetchone()
    raise busy(holder)


def busy(holder: Mapping[str, object] | None) -> SchemaBusy:
    """The error that names the session which has the claim."""
    if holder is None:
        return SchemaBusy("Somebody else was rolling this schema back just now.")
    since = holder["since"]
    shown = since.astimezone(UTC).strftime("%H:%M:%S UTC") if since else "a while ago"  # type: ignore[attr-defined]
    return SchemaBusy(
        f"Session {holder['pid']} ({holder['application'] or 'unnamed'}) is rolling "
        f"this schema back, since {shown}."
    )


def mode(name: str) -> str:
    """A lock's mode as LOCK TABLE calls it, from that or from pg_locks' name of it."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Lock"))
    return words.upper().removesuffix(" MODE")


async def take(
    connection: Connection, wanted: Iterable[tuple[str, str]], *, lock_timeout_ms: int
) -> None:
    """Lock these tables, each in its strongest mode, all within the time."""
    found = await ordered(connection, wanted)
    items = [[r.qualified, text] for r, m in found if (text := _statement(r, m))]
    await _take(connection, items, lock_timeout_ms)


async def ordered(
    connection: Connection, wanted: Iterable[tuple[str, str]]
) -> Sequence[tuple[Relation, str]]:
    """What is there, in the order in which it is locked: views first, then by name.

    Whoever reads a view locks it before its tables.
    """
    modes: dict[str, str] = {}
    for name, wish in wanted:
        if (strength := mode(wish)) in _MODES:
            modes[name] = max(modes.get(name, strength), strength, key=_MODES.index)
    strongest: dict[str, tuple[Relation, str]] = {}
    for given, relation in (await describe(connection, tuple(modes))).items():
        known = strongest.get(relation.qualified, (relation, modes[given]))[1]
        better = max(known, modes[given], key=_MODES.index)
        strongest[relation.qualified] = relation, better
    return sorted(strongest.values(), key=_place)


async def _take(
    connection: Connection, items: Sequence[Sequence[str]], lock_timeout_ms: int
) -> None:
    if items:
        body = sql.SQL(_TAKE).format(
            limit=sql.Literal(lock_timeout_ms), items=sql.Literal(items)
        )
        await connection.execute(
            sql.SQL("DO {}").format(sql.Literal(body.as_string(connection)))
        )
    await connection.execute(
        "SELECT pg_catalog.set_config('lock_timeout', %s, true)",
        [f"{lock_timeout_ms}ms"],
    )


def _place(item: tuple[Relation, str]) -> tuple[bool, int, str]:
    """A view on a view is the younger one, and is locked by its readers first."""
    relation = item[0]
    view = relation.kind in _ALTERED
    return not view, -relation.oid if view else 0, relation.qualified


def _statement(relation: Relation, strength: str) -> str | None:
    if relation.kind in "rp":
        return f"LOCK TABLE {relation.qualified} IN {strength} MODE"
    if relation.kind in _ALTERED and strength == EXCLUSIVE:
        owner = sql.Identifier(relation.owner).as_string()
        return f"ALTER {_ALTERED[relation.kind]} {relation.qualified} OWNER TO {owner}"
    return None


async def holders(connection: Connection, tables: Sequence[str]) -> tuple[Holder, ...]:
    """Other sessions that hold a lock on one of these tables, the oldest first."""
    cursor = await connection.execute(_HOLDERS, {"tables": list(tables)})
    return tuple(Holder(**row) for row in await cursor.fetchall())
