"""What is watched on the copy while scripts run there: rows, locks and files."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rollback.transactions import Connection

__all__ = [
    "MODES",
    "Relations",
    "Written",
    "read_relations",
    "read_server",
    "set_probe",
    "take_locks",
    "take_shared",
    "take_written",
]

# A trigger for each statement fires on an empty table too. It fires always, so that
# `session_replication_role` does not silence it. A publication FOR ALL TABLES takes no
# DELETE from a table whose rows it cannot name.
_PROBE = b"""
CREATE SCHEMA IF NOT EXISTS rollback;
CREATE TABLE rollback.written (relation oid, operation text);
ALTER TABLE rollback.written REPLICA IDENTITY FULL;
CREATE FUNCTION rollback.note_write() RETURNS trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog AS $note$
BEGIN
  INSERT INTO rollback.written VALUES (TG_RELID, TG_OP);
  RETURN NULL;
END $note$;
DO $probe$
DECLARE one text;
BEGIN
  FOR one IN
    SELECT format('%I.%I', nspname, relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
     WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_'
       AND nspname NOT IN ('information_schema', 'rollback')
  LOOP
    EXECUTE format('CREATE TRIGGER rollback_written BEFORE UPDATE OR DELETE OR TRUNCATE'
      ' ON %s FOR EACH STATEMENT EXECUTE FUNCTION rollback.note_write()', one);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER rollback_written', one);
  END LOOP;
END $probe$
"""
_TABLES = b"""
SELECT 'pg_class:' || c.oid AS identity, relkind, relfilenode::int8 AS file,
       ARRAY(SELECT 'pg_class:' || inhrelid FROM pg_inherits
              WHERE inhparent = c.oid) AS children
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind IN ('r', 'p', 'm') AND nspname !~ '^pg_'
   AND nspname NOT IN ('information_schema', 'rollback')
"""
_KEYS = b"""
SELECT 'pg_class:' || confrelid AS parent, 'pg_class:' || conrelid AS child,
       confdeltype::text AS deleted, confupdtype::text AS updated
  FROM pg_constraint WHERE contype = 'f' AND conparentid = 0
"""
_LOCKS = b"""
SELECT 'pg_class:' || relation AS identity, replace(mode, 'Lock', '') AS mode
  FROM pg_locks
 WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# What all databases of the server share; `pg_shdepend` is written by any GRANT.
_SHARED = b"""
SELECT DISTINCT relation::regclass::text AS name
  FROM pg_locks
 WHERE pid = pg_backend_pid() AND locktype = 'relation' AND database = 0
   AND mode NOT IN ('AccessShareLock', 'RowShareLock')
   AND relation::regclass::text IN ('pg_authid', 'pg_auth_members', 'pg_database',
       'pg_db_role_setting', 'pg_tablespace', 'pg_parameter_acl', 'pg_subscription')
 ORDER BY 1
"""
_SERVER = b"SELECT extract(epoch FROM pg_postmaster_start_time())::text AS server"

MODES = {
    "AccessShare": "ACCESS SHARE",
    "RowShare": "ROW SHARE",
    "RowExclusive": "ROW EXCLUSIVE",
    "ShareUpdateExclusive": "SHARE UPDATE EXCLUSIVE",
    "Share": "SHARE",
    "ShareRowExclusive": "SHARE ROW EXCLUSIVE",
    "Exclusive": "EXCLUSIVE",
    "AccessExclusive": "ACCESS EXCLUSIVE",
}
"""The modes of a table's lock, the weakest first."""

_HOW = {"UPDATE": "updated", "DELETE": "deleted", "TRUNCATE": "truncated"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The rows of a table (its identity) are `updated`, `deleted` or `truncated`."""

    identity: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """Tables by identity: the file, the children, and what foreign keys hand on."""

    files: Mapping[str, int]
    children: Mapping[str, tuple[str, ...]]
    partitioned: frozenset[str]
    handed: Mapping[Written, tuple[Written, ...]]

    def rewritten(self, after: "Relations") -> tuple[str, ...]:
        """The tables that have another file now."""
        return tuple(
            identity
            for identity, file in self.files.items()
            if file and after.files.get(identity, file) != file
        )

    def reached(self, written: Iterable[Written]) -> tuple[Written, ...]:
        """With what inherits from those tables, and what foreign keys hand on.

        A partition goes with the partitioned table where that is written itself.
        """
        waiting, found = deque(written), dict[Written, None]()
        while waiting:
            one = waiting.popleft()
            if one in found:
                continue
            found[one] = None
            waiting.extend(self.handed.get(one, ()))
            if one.identity not in self.partitioned:
                waiting.extend(self._below(one))
        along = {
            below
            for one in found
            if one.identity in self.partitioned
            for below in self._below(one)
        }
        return tuple(one for one in found if one not in along)

    def _below(self, one: Written) -> Iterator[Written]:
        for child in self.children.get(one.identity, ()):
            below = Written(identity=child, how=one.how)
            yield below
            yield from self._below(below)


async def set_probe(connection: Connection) -> None:
    """Watch every table of the copy."""
    await connection.execute(_PROBE)


async def read_relations(connection: Connection) -> Relations:
    """Read what tables there are, and how rows of one reach another."""
    tables = await (await connection.execute(_TABLES)).fetchall()
    keys = await (await connection.execute(_KEYS)).fetchall()
    handed: dict[Written, tuple[Written, ...]] = {}
    for key in keys:
        for cause, effect in _hands_on(key):
            handed[cause] = (*handed.get(cause, ()), effect)
    return Relations(
        files={row["identity"]: row["file"] for row in tables},
        children={row["identity"]: tuple(row["children"]) for row in tables},
        partitioned=frozenset(
            row["identity"] for row in tables if row["relkind"] == "p"
        ),
        handed=handed,
    )


async def read_server(connection: Connection) -> str:
    """The same for all databases of one server, and for those of no other."""
    cursor = await connection.execute(_SERVER)
    row = await cursor.fetchone()
    return str(row["server"]) if row else ""


async def take_written(connection: Connection) -> tuple[Written, ...]:
    """Whose rows were written since the last time this was asked."""
    cursor = await connection.execute(
        b"DELETE FROM rollback.written"
        b" RETURNING 'pg_class:' || relation AS identity, operation"
    )
    found = {(row["identity"], row["operation"]) for row in await cursor.fetchall()}
    return tuple(Written(identity=one, how=_HOW[how]) for one, how in sorted(found))


async def take_locks(connection: Connection) -> dict[str, str]:
    """The strongest lock of this transaction on each relation, by identity."""
    found: dict[str, str] = {}
    order = list(MODES)
    for row in await (await connection.execute(_LOCKS)).fetchall():
        known = found.get(row["identity"], order[0])
        found[row["identity"]] = max(known, row["mode"], key=order.index)
    return found


async def take_shared(connection: Connection) -> tuple[str, ...]:
    """What this transaction changes for all databases of the server: roles, mostly."""
    rows = await (await connection.execute(_SHARED)).fetchall()
    return tuple(row["name"] for row in rows)


def _hands_on(key: dict[str, str]) -> Iterator[tuple[Written, Written]]:
    """ON DELETE and ON UPDATE: CASCADE, SET NULL, SET DEFAULT."""
    for event in ("deleted", "updated"):
        if key[event] not in {"c", "n", "d"}:
            continue
        cascades = event == "deleted" and key[event] == "c"
        yield (
            Written(identity=key["parent"], how=event),
            Written(identity=key["child"], how="deleted" if cascades else "updated"),
        )
