"""The rows that a script changes are kept as they were, and as it leaves them.

Which rows those are is known only while it runs: so triggers keep them, statement by
statement, with the columns that the table has at that moment. They and their functions
are gone before the commit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql

from rollback.errors import NotAsPlanned, SchemaRefused
from rollback.schema import Archived, Destroyed, Script
from rollback.transactions import Connection

from .archive import record
from .names import Relation, describe
from .store import EXACT_FUNCTION

__all__ = ["ROWS", "Watched", "Write", "collect", "watch", "with_cascades"]

ROWS = {"UPDATE": "updated", "DELETE": "deleted", "TRUNCATE": "truncated"}
# What a DELETE takes along, what an UPDATE does where the script names a column of the
# key, and every table that refers to one that is truncated: it goes with it, or there
# would be an error.
_CASCADES = """
WITH RECURSIVE reached (oid, how) AS (
  SELECT pg_catalog.to_regclass(t.name)::oid, t.how
    FROM ROWS FROM (pg_catalog.unnest(%(tables)s::text[]),
                    pg_catalog.unnest(%(hows)s::text[])) t (name, how)
  UNION
  SELECT more.oid, more.how FROM reached CROSS JOIN LATERAL (
    SELECT k.conrelid AS oid,
           CASE WHEN reached.how = 'deleted' AND k.confdeltype <> 'c' THEN 'updated'
             ELSE reached.how END AS how
      FROM pg_catalog.pg_constraint k
     WHERE k.contype = 'f' AND k.confrelid = reached.oid
       AND CASE reached.how WHEN 'truncated' THEN true
             WHEN 'deleted' THEN k.confdeltype IN ('c', 'n', 'd')
             ELSE k.confupdtype IN ('c', 'n', 'd') AND EXISTS (
               SELECT FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
                  AND pg_catalog.strpos(pg_catalog.lower(%(text)s),
                        pg_catalog.lower(a.attname)) > 0) END
    UNION
    SELECT i.inhrelid, reached.how
      FROM pg_catalog.pg_inherits i WHERE i.inhparent = reached.oid
  ) more)
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS name, reached.how
  FROM reached JOIN pg_catalog.pg_class c USING (oid)
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') ORDER BY 1, 2
"""
_TABLE = """
CREATE TABLE {archive} (
    statement bigint NOT NULL, operation text NOT NULL,
    columns text[] NOT NULL, old text[] NOT NULL, new text[])
"""
# A statement touches a row once, and both transition tables have it at the same place.
_BODY = """
DECLARE
  number bigint := pg_catalog.nextval('rollback.archived_statements');
  names text[];
  shown text;
BEGIN
  SELECT pg_catalog.array_agg(a.attname ORDER BY a.attnum),
         pg_catalog.string_agg(pg_catalog.format('CASE WHEN %1$I IS DISTINCT FROM'
           ' NULL THEN pg_catalog.concat(%1$I) END', a.attname), ', '
           ORDER BY a.attnum)
    INTO names, shown
    FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND NOT a.attisdropped
     AND a.attgenerated = '';
  IF TG_OP = 'UPDATE' THEN
    EXECUTE pg_catalog.format('INSERT INTO {archive} SELECT $1, $2, $3, o.v, n.v'
      ' FROM (SELECT pg_catalog.row_number() OVER () AS i, ARRAY[%1$s] AS v'
      ' FROM old_rows) o JOIN (SELECT pg_catalog.row_number() OVER () AS i,'
      ' ARRAY[%1$s] AS v FROM new_rows) n USING (i)', shown)
      USING number, TG_OP, names;
  ELSIF TG_OP = 'DELETE' THEN
    EXECUTE pg_catalog.format('INSERT INTO {archive} SELECT $1, $2, $3, ARRAY[%s]'
      ' FROM old_rows', shown) USING number, TG_OP, names;
  ELSE
    EXECUTE pg_catalog.format('INSERT INTO {archive} SELECT $1, $2, $3, ARRAY[%s]'
      ' FROM ONLY %I.%I', shown, TG_TABLE_SCHEMA, TG_TABLE_NAME)
      USING number, TG_OP, names;
  END IF;
  RETURN NULL;
END
"""
_ON = r"""
SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = %(oid)s) AS there,
       CASE (SELECT relkind FROM pg_catalog.pg_class WHERE oid = %(oid)s)
         WHEN 'r' THEN 3 ELSE 2 END AS wanted,
       (SELECT count(*) FROM pg_catalog.pg_trigger
         WHERE tgrelid = %(oid)s AND tgenabled = 'A'
           AND tgname LIKE 'zzz\_rollback\_' || %(number)s::text || '\_%%') AS triggers
"""
_TRIGGERS = {
    "UPDATE": "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows"
    " NEW TABLE AS new_rows",
    "DELETE": "AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows",
    "TRUNCATE": "BEFORE TRUNCATE ON {table}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """The rows of a table are `updated`, `deleted` or `truncated`."""

    table: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A table with its triggers, and the number of its archive."""

    relation: Relation
    number: int


async def with_cascades(
    connection: Connection, writes: Sequence[Write], text: str
) -> tuple[Write, ...]:
    """These, and what foreign keys and partitions make change along.

    `text` is the script's. Where it sets a key that it does not name, rows change that
    are not kept: they are counted, and then it is not as planned.
    """
    if not writes:
        return ()
    facts = {
        "tables": [one.table for one in writes],
        "hows": [one.how for one in writes],
        "text": text,
    }
    cursor = await connection.execute(_CASCADES, facts)
    return tuple(
        [Write(table=row["name"], how=row["how"]) for row in await cursor.fetchall()]
    )


async def watch(
    connection: Connection,
    script: Script,
    destroys: Iterable[Destroyed],
    *,
    incident: str,
) -> tuple[Watched, ...]:
    """Put the triggers on the tables whose rows this script changes."""
    kinds = frozenset(ROWS.values())
    written = [
        Write(table=one.object, how=one.kind)
        for one in destroys
        if one.version == script.version and one.kind in kinds
    ]
    reached = await with_cascades(connection, written, script.text)
    names = tuple(dict.fromkeys(one.table for one in reached))
    found = await describe(connection, names)
    return tuple(
        [
            await _watch(connection, found[name], script.version, incident)
            for name in names
        ]
    )


async def _watch(
    connection: Connection, relation: Relation, version: str, incident: str
) -> Watched:
    if relation.inherited:
        raise SchemaRefused(
            f"Other tables inherit from {relation.qualified}, whose rows the script "
            f"of {version} changes: theirs could not be kept.",
            mend="Change the rows of each table in a migration of its own, by hand.",
        )
    number = await record(
        connection,
        incident=incident,
        version=version,
        object=relation.qualified,
        kind="rows",
        table=relation.qualified,
        key=list(relation.keys[0]) if relation.keys else [],
        columns=[c.name for c in relation.columns if not c.generated],
        types=[c.type for c in relation.columns if not c.generated],
    )
    name = sql.Identifier("rollback", f"archive_{number}")
    await connection.execute(sql.SQL(_TABLE).format(archive=name))
    await connection.execute(
        sql.SQL(
            "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql"
            " SECURITY DEFINER " + EXACT_FUNCTION + " AS {body}"
        ).format(
            function=_function(number),
            body=sql.Literal(_BODY.replace("{archive}", f"rollback.archive_{number}")),
        )
    )
    for operation, text in _TRIGGERS.items():
        # A truncated table truncates its partitions, and each has a trigger.
        if operation != "TRUNCATE" or relation.kind == "r":
            await _trigger(connection, relation, number, operation, text)
    return Watched(relation=relation, number=number)


async def _trigger(
    connection: Connection, relation: Relation, number: int, operation: str, text: str
) -> None:
    """ALWAYS: a script that says it is a replica is watched too."""
    name = sql.Identifier(f"zzz_rollback_{number}_{operation.lower()}")
    await connection.execute(
        sql.SQL(
            "CREATE TRIGGER {name} " + text + " EXECUTE FUNCTION {function}()"
        ).format(name=name, table=relation.identifier, function=_function(number))
    )
    await connection.execute(
        sql.SQL("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}").format(
            table=relation.identifier, name=name
        )
    )


async def collect(
    connection: Connection, script: Script, watched: Sequence[Watched]
) -> tuple[Archived, ...]:
    """Take the triggers away, and say what they kept; empty archives go."""
    kept: list[Archived] = []
    for one in watched:
        await _still_on(connection, script, one)
        await connection.execute(
            sql.SQL("DROP FUNCTION {} CASCADE").format(_function(one.number))
        )
        kept.extend(await _count(connection, script.version, one))
    return tuple(kept)


async def _still_on(connection: Connection, script: Script, one: Watched) -> None:
    """Triggers that a script switched off have not seen what it did."""
    cursor = await connection.execute(
        _ON, {"number": one.number, "oid": one.relation.oid}
    )
    row = await cursor.fetchone()
    if row and row["there"] and row["triggers"] < row["wanted"]:
        raise NotAsPlanned(
            f"The script of {script.version} switched off the triggers of "
            f"{one.relation.qualified}, so which rows it changed is not known."
        )


async def _count(
    connection: Connection, version: str, one: Watched
) -> tuple[Archived, ...]:
    name = sql.Identifier("rollback", f"archive_{one.number}")
    cursor = await connection.execute(
        sql.SQL(
            "SELECT operation, count(*) AS rows FROM {} GROUP BY 1 ORDER BY 1"
        ).format(name)
    )
    counts = {row["operation"]: int(row["rows"]) for row in await cursor.fetchall()}
    if not counts:
        await connection.execute(sql.SQL("DROP TABLE {}").format(name))
        await connection.execute(
            "DELETE FROM rollback.archives WHERE number = %s", [one.number]
        )
    else:
        await connection.execute(
            "UPDATE rollback.archives SET rows = %s WHERE number = %s",
            [sum(counts.values()), one.number],
        )
    return tuple(
        Archived(
            object=one.relation.qualified,
            kind=ROWS[operation],
            version=version,
            rows=rows,
            table=f"archive_{one.number}",
        )
        for operation, rows in counts.items()
    )


def _function(number: int) -> sql.Identifier:
    return sql.Identifier("rollback", f"keep_{number}")
