"""What is asked of production for a plan: it is read, and nothing is kept waiting."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import anyio
from psycopg import Error, sql

from rollback.schema import Holder
from rollback.transactions import Connection

from .catalogue import Catalogue, read_catalogue
from .history import History, read_history
from .standins import read_referred

__all__ = [
    "Sizes",
    "Survey",
    "Wanted",
    "count",
    "exclusive",
    "holders",
    "read_sizes",
    "survey",
]

COUNT_SECONDS = 10.0
TOTAL_SECONDS = 30.0
LOCK_SECONDS = 2

_SESSION = """
SELECT current_setting('search_path') AS search_path,
       current_setting('standard_conforming_strings') = 'on' AS standard,
       extract(epoch FROM pg_postmaster_start_time())::text AS server,
       to_regclass('rollback.statements') IS NOT NULL AS journal
"""
_JOURNAL = b"""
SELECT version, script_sha256, number, ended_at IS NOT NULL AS ended
  FROM rollback.statements
"""
_SIZES = """
SELECT 'pg_class:' || oid AS identity, pg_table_size(oid) AS bytes,
       pg_total_relation_size(oid) AS total, greatest(reltuples, 0)::int8 AS rows
  FROM pg_class WHERE relkind IN ('r', 'm')
   AND 'pg_class:' || oid = ANY (%(identities)s)
"""
_WIDTHS = """
SELECT 'pg_class:' || attrelid || ':' || attnum AS identity, s.avg_width AS width
  FROM pg_stats s JOIN pg_namespace n ON nspname = schemaname
  JOIN pg_class c ON relnamespace = n.oid AND relname = tablename
  JOIN pg_attribute a ON attrelid = c.oid AND a.attname = s.attname
 WHERE 'pg_class:' || c.oid = ANY (%(identities)s) AND NOT s.inherited
"""
_EXCLUSIVE = """
SELECT coalesce(l.pid, 0) AS pid, coalesce(a.application_name, '') AS application,
       coalesce(a.state, '') AS state, format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock'
   AND l.pid IS DISTINCT FROM pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
 ORDER BY name
"""
# A session's query is not read: it may hold values.
_HOLDERS = """
SELECT 'pg_class:' || l.relation AS identity, coalesce(l.pid, 0) AS pid,
       coalesce(nullif(a.application_name, ''), a.backend_type,
                'a prepared transaction') AS application,
       coalesce(a.usename::text, '') AS user, coalesce(a.state, '') AS state,
       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8
         AS seconds
  FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.granted
   AND l.pid IS DISTINCT FROM pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND 'pg_class:' || l.relation = ANY (%(identities)s)
 ORDER BY l.pid
"""


Place = tuple[str, str, int]
"""A statement of a script: the version, the script's hash, and its number there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A table's rows, or its column's values that are not null; names are quoted.

    A partitioned table's rows are those of its partitions.
    """

    table: str
    column: str | None = None
    partitioned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Production as it is, before anything is tried.

    `server` is the same for all databases of one server. `begun` and `ended` are the
    statements that an earlier run has begun, and those that it has done. `outside` is
    what the schemas lead to in others.
    """

    history: History
    catalogue: Catalogue
    search_path: str
    standard_strings: bool
    server: str = ""
    begun: frozenset[Place] = frozenset()
    ended: frozenset[Place] = frozenset()
    outside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes by the table's identity, with its indexes too; rows as last estimated.

    `widths` are those of a value, by the column's identity.
    """

    bytes: Mapping[str, int]
    total: Mapping[str, int]
    rows: Mapping[str, int]
    widths: Mapping[str, int]


async def survey(connection: Connection, schemas: Sequence[str]) -> Survey:
    """Read the history, the catalogue, and what scripts depend on."""
    await _read_only(connection)
    row = await (await connection.execute(_SESSION)).fetchone()
    facts = row or {}
    history = await read_history(connection, schemas)
    journal = []
    if facts["journal"]:
        journal = await (await connection.execute(_JOURNAL)).fetchall()
    return Survey(
        history=history,
        catalogue=await read_catalogue(connection, schemas),
        search_path=str(facts["search_path"]),
        standard_strings=bool(facts["standard"]),
        server=str(facts["server"]),
        begun=frozenset(_place(one) for one in journal),
        ended=frozenset(_place(one) for one in journal if one["ended"]),
        outside=await read_referred(connection, (*schemas, history.schema)),
    )


async def count(
    connection: Connection, wanted: Iterable[Wanted]
) -> dict[Wanted, int | None]:
    """How many there are; None where counting takes too long or is not allowed."""
    await _read_only(connection)
    # Rows that a policy hides are destroyed too: an error is better than their absence.
    await connection.execute("SET LOCAL row_security = off")
    until = anyio.current_time() + TOTAL_SECONDS
    found: dict[Wanted, int | None] = {}
    for one in wanted:
        left = min(COUNT_SECONDS, until - anyio.current_time())
        found[one] = await _count(connection, one, left)
    return found


async def read_sizes(connection: Connection, identities: Iterable[str]) -> Sizes:
    """Read how large these tables are."""
    given = {"identities": list(identities)}
    tables = await (await connection.execute(_SIZES, given)).fetchall()
    columns = await (await connection.execute(_WIDTHS, given)).fetchall()
    return Sizes(
        bytes={row["identity"]: row["bytes"] for row in tables},
        total={row["identity"]: row["total"] for row in tables},
        rows={row["identity"]: row["rows"] for row in tables},
        widths={row["identity"]: row["width"] for row in columns},
    )


async def holders(
    connection: Connection, identities: Iterable[str]
) -> dict[str, tuple[Holder, ...]]:
    """Who holds a lock on these tables now: each is in the way of ACCESS EXCLUSIVE."""
    found: dict[str, dict[int, Holder]] = {}
    cursor = await connection.execute(_HOLDERS, {"identities": list(identities)})
    for row in await cursor.fetchall():
        held = found.setdefault(row.pop("identity"), {})
        held[row["pid"]] = Holder(**row)
    return {identity: tuple(held.values()) for identity, held in found.items()}


async def exclusive(connection: Connection) -> tuple[str, ...]:
    """Who holds a table so that nobody can even look at it: in words."""
    rows = await (await connection.execute(_EXCLUSIVE.encode())).fetchall()
    return tuple(
        f"session {row['pid']} ({row['application'] or 'unnamed'}, {row['state']}) "
        f"holds {row['name']}"
        for row in rows
    )


def _place(row: Mapping[str, object]) -> Place:
    return str(row["version"]), str(row["script_sha256"]), int(str(row["number"]))


async def _read_only(connection: Connection) -> None:
    """The catalogue's own functions lock what they tell of, as a reader does."""
    await connection.execute("SET LOCAL transaction_read_only = on")
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'".encode())


async def _count(connection: Connection, one: Wanted, seconds: float) -> int | None:
    if seconds <= 0:
        return None
    query = sql.SQL("SELECT count({}) AS number FROM {} {}").format(
        sql.SQL(one.column or "*"),  # the server has quoted the names
        sql.SQL("" if one.partitioned else "ONLY"),
        sql.SQL(one.table),
    )
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT set_config('statement_timeout', %(limit)s, true),"
                " set_config('lock_timeout', %(limit)s, true)",
                {"limit": f"{max(1, int(seconds * 1000))}ms"},
            )
            row = await (await connection.execute(query)).fetchone()
    except Error:
        if connection.closed:
            raise
        return None
    return int(row["number"]) if row else None
