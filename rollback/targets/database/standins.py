"""Stand-ins for what a schema refers to outside of itself, such as `auth.users`.

A copy has the application's schemas alone. So that their keys, policies and views can
be made there, the schemas that they lead to get the same tables without rows, types,
sequences and functions. A script that changes a stand-in's table is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rollback.transactions import Connection

__all__ = [
    "Outside",
    "fill",
    "make_stand_ins",
    "make_triggers",
    "put_aside",
    "read_aside",
    "read_outside",
    "read_referred",
]

# Where a platform keeps what an application's next or last version may refer to.
PLATFORM = ("auth", "storage")

_SPACES = """
WITH own AS MATERIALIZED (
  SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ANY (%(schemas)s)
), extended AS MATERIALIZED (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), foreigners AS MATERIALIZED (
  SELECT oid, nspname FROM pg_catalog.pg_namespace
   WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'rollback')
     AND NOT nspname = ANY (%(schemas)s)
)"""
_THINGS = """
, things (class, oid, space) AS (
  SELECT 'pg_class'::regclass::oid, oid, relnamespace FROM pg_class
  UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
  UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type
  UNION ALL SELECT 'pg_constraint'::regclass, oid, connamespace FROM pg_constraint
  UNION ALL SELECT 'pg_attrdef'::regclass, d.oid, relnamespace
    FROM pg_attrdef d JOIN pg_class c ON c.oid = adrelid
  UNION ALL SELECT 'pg_policy'::regclass, p.oid, relnamespace
    FROM pg_policy p JOIN pg_class c ON c.oid = polrelid
  UNION ALL SELECT 'pg_trigger'::regclass, t.oid, relnamespace
    FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
  UNION ALL SELECT 'pg_rewrite'::regclass, r.oid, relnamespace
    FROM pg_rewrite r JOIN pg_class c ON c.oid = ev_class
)"""
_OF_REFERRED = """
SELECT DISTINCT f.nspname AS schema,
       coalesce((SELECT format('%%I.%%I', f.nspname, relname) FROM pg_class
                  WHERE oid = t.oid AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')),
                (SELECT format('%%I.%%I()', f.nspname, proname) FROM pg_proc
                  WHERE oid = t.oid),
                (SELECT format('%%I.%%I', f.nspname, typname) FROM pg_type
                  WHERE oid = t.oid AND typcategory <> 'A')) AS name
  FROM pg_depend d
  JOIN things mine ON mine.class = d.classid AND mine.oid = d.objid
  JOIN own ON own.oid = mine.space
  JOIN things t ON t.class = d.refclassid AND t.oid = d.refobjid
  JOIN foreigners f ON f.oid = t.space
 WHERE NOT EXISTS (SELECT FROM extended e
       WHERE e.classid = d.refclassid AND e.objid = d.refobjid)
 ORDER BY 1, 2
"""
_OF_STATEMENTS = """
, theirs AS MATERIALIZED (
  SELECT oid, nspname FROM foreigners WHERE nspname = ANY (%(wanted)s)
), mine AS MATERIALIZED (
  SELECT t.oid, t.typarray FROM pg_type t JOIN own ON own.oid = typnamespace
)
SELECT step, name, first, second FROM (
SELECT 0 AS step, quote_ident(nspname) AS name,
       format('CREATE SCHEMA IF NOT EXISTS %%I', nspname) AS first,
       NULL AS second
  FROM theirs
UNION ALL
SELECT CASE typtype WHEN 'e' THEN 1 ELSE 2 END,
  format('%%I.%%I', nspname, typname),
  CASE typtype
    WHEN 'e' THEN format('CREATE TYPE %%I.%%I AS ENUM (%%s)', nspname, typname, (
      SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
        FROM pg_enum WHERE enumtypid = t.oid))
    ELSE format('CREATE DOMAIN %%I.%%I AS %%s', nspname, typname,
      format_type(typbasetype, typtypmod)) END, NULL
  FROM pg_type t JOIN theirs s ON s.oid = typnamespace
 WHERE typtype IN ('e', 'd') AND NOT EXISTS (SELECT FROM extended
       WHERE classid = 'pg_type'::regclass AND objid = t.oid)
UNION ALL
SELECT CASE relkind WHEN 'c' THEN 2 ELSE 3 END,
  format('%%I.%%I', nspname, relname),
  CASE relkind
    WHEN 'S' THEN format('CREATE SEQUENCE %%I.%%I', nspname, relname)
    WHEN 'c' THEN format('CREATE TYPE %%I.%%I AS (%%s)', nspname, relname, columns)
    ELSE format('CREATE TABLE %%I.%%I (%%s)', nspname, relname, columns) END, NULL
  FROM pg_class c JOIN theirs s ON s.oid = relnamespace
  CROSS JOIN LATERAL (
    SELECT string_agg(format('%%I %%s%%s', attname, format_type(atttypid, atttypmod),
             CASE WHEN attcollation <> typcollation
                  THEN ' COLLATE ' || attcollation::regcollation ELSE '' END),
             ', ' ORDER BY attnum) AS columns
      FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid
     WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
       AND NOT EXISTS (SELECT FROM mine WHERE atttypid IN (mine.oid, typarray))) cs
 WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'c', 'S') AND NOT EXISTS (
       SELECT FROM extended WHERE classid = 'pg_class'::regclass AND objid = c.oid)
UNION ALL
SELECT 4, format('%%I.%%I', nspname, relname),
  format('ALTER TABLE %%I.%%I ADD %%s (%%s)', nspname, relname,
    CASE WHEN indisprimary THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, columns), NULL
  FROM pg_index i JOIN pg_class c ON c.oid = indrelid
  JOIN theirs s ON s.oid = relnamespace
  CROSS JOIN LATERAL (
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY at) AS columns
      FROM unnest(indkey::int2[]) WITH ORDINALITY k (num, at)
      JOIN pg_attribute ON attrelid = indrelid AND attnum = num
     WHERE at <= indnkeyatts) cs
 WHERE indisunique AND indpred IS NULL AND indexprs IS NULL AND NOT EXISTS (
       SELECT FROM extended WHERE classid = 'pg_class'::regclass AND objid = c.oid)
UNION ALL
SELECT 5, format('%%I.%%I()', nspname, proname),
  pg_get_functiondef(p.oid),
  format('CREATE %%s %%I.%%I(%%s) %%s LANGUAGE plpgsql %%s AS %%L',
    CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, nspname, proname,
    pg_get_function_arguments(p.oid),
    'RETURNS ' || pg_get_function_result(p.oid),
    CASE WHEN prokind = 'p' THEN '' WHEN provolatile = 'i' THEN 'IMMUTABLE'
         WHEN provolatile = 's' THEN 'STABLE' ELSE 'VOLATILE' END,
    CASE WHEN prorettype = 'trigger'::regtype
         THEN 'BEGIN RETURN coalesce(NEW, OLD); END'
         WHEN prorettype IN ('event_trigger'::regtype, 'void'::regtype, 0::oid)
           OR proretset OR EXISTS (SELECT FROM unnest(proargmodes) m
                                    WHERE m IN ('o', 'b', 't'))
         THEN 'BEGIN RETURN; END'
         ELSE 'BEGIN RETURN NULL; END' END)
  FROM pg_proc p JOIN theirs s ON s.oid = pronamespace
 WHERE prokind IN ('f', 'p') AND NOT EXISTS (SELECT FROM extended
       WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
) made ORDER BY step, name
"""
_ATTEMPT = """
CREATE FUNCTION pg_temp.attempt(VARIADIC tries text[]) RETURNS boolean
LANGUAGE plpgsql SET check_function_bodies = off AS $attempt$
DECLARE one text;
BEGIN
  FOREACH one IN ARRAY tries LOOP
    BEGIN
      IF one IS NOT NULL THEN
        EXECUTE one;
        RETURN true;
      END IF;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  RETURN false;
END $attempt$
"""
_MAKE = """
SELECT name FROM unnest(%(names)s::text[], %(firsts)s::text[], %(seconds)s::text[])
    AS made (name, first, second)
 WHERE NOT pg_temp.attempt(first, second)
"""
_OF_KEYS = """
SELECT concat_ws(' ', n.nspname, c.relname, conname) AS entry,
  format('ALTER TABLE %%I.%%I ADD CONSTRAINT %%I %%s', n.nspname, c.relname, conname,
    pg_get_constraintdef(k.oid)) AS added,
  format('INSERT INTO %%I.%%I (%%s) SELECT DISTINCT %%s FROM %%I.%%I WHERE %%s'
    ' ON CONFLICT DO NOTHING', f.nspname, r.relname, theirs, mine, n.nspname,
    c.relname, given) AS filled
  FROM pg_constraint k
  JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN own ON own.oid = n.oid
  JOIN pg_class r ON r.oid = confrelid JOIN foreigners f ON f.oid = r.relnamespace
  CROSS JOIN LATERAL (
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY at) AS mine,
           string_agg(quote_ident(b.attname), ', ' ORDER BY at) AS theirs,
           string_agg(format('%%I IS NOT NULL', a.attname), ' AND ') AS given
      FROM unnest(conkey, confkey) WITH ORDINALITY u (num, other, at)
      JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = num
      JOIN pg_attribute b ON b.attrelid = confrelid AND b.attnum = other) columns
 WHERE contype = 'f' AND conparentid = 0
 ORDER BY 1
"""
_OF_TRIGGERS = """
SELECT format('%%I.%%I.%%I', f.nspname, c.relname, tgname) AS name,
       pg_get_triggerdef(t.oid) AS made
  FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
  JOIN foreigners f ON f.oid = c.relnamespace
  JOIN pg_proc p ON p.oid = tgfoid JOIN own ON own.oid = pronamespace
 WHERE NOT tgisinternal AND tgparentid = 0
 ORDER BY 1
"""

_REFERRED = f"{_SPACES}{_THINGS}{_OF_REFERRED}".encode()
_STATEMENTS = f"{_SPACES}{_OF_STATEMENTS}".encode()
_TRIGGERS = f"{_SPACES}{_OF_TRIGGERS}".encode()
_KEYS = f"{_SPACES}{_OF_KEYS}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What makes stand-ins for what schemas lead to outside of themselves.

    `statements`: a name, what makes it, and what else
    may. `keys`: of each foreign key that leads there its name in a dump's table of
    contents, what adds it, and what puts the rows there that it asks for.
    `triggers`: those of outside that run the schemas' own functions, like `statements`.
    """

    statements: tuple[tuple[str, str, str | None], ...] = ()
    keys: tuple[tuple[str, str, str], ...] = ()
    triggers: tuple[tuple[str, str, str | None], ...] = ()


async def read_referred(
    connection: Connection, schemas: Sequence[str]
) -> tuple[str, ...]:
    """The names of what these schemas lead to in others, in any transaction."""
    given = {"schemas": list(schemas)}
    rows = await (await connection.execute(_REFERRED, given)).fetchall()
    return tuple(row["name"] for row in rows if row["name"])


async def read_outside(connection: Connection, schemas: Sequence[str]) -> Outside:
    """Read it from the catalogue of the database that is to be copied."""
    await connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
    given = {"schemas": list(schemas)}
    referred = await (await connection.execute(_REFERRED, given)).fetchall()
    wanted = sorted({row["schema"] for row in referred} | set(PLATFORM))
    made = await connection.execute(_STATEMENTS, {**given, "wanted": wanted})
    statements = await made.fetchall()
    keys = await (await connection.execute(_KEYS, given)).fetchall()
    triggers = await (await connection.execute(_TRIGGERS, given)).fetchall()
    return Outside(
        statements=tuple((s["name"], s["first"], s["second"]) for s in statements),
        keys=tuple((k["entry"], k["added"], k["filled"]) for k in keys),
        triggers=tuple((t["name"], t["made"], None) for t in triggers),
    )


async def make_stand_ins(connection: Connection, outside: Outside) -> tuple[str, ...]:
    """Make them in an empty database, before the schemas; the names that failed.

    One that cannot be made is passed over: what needs it is then named by the restore.
    """
    return await _attempt(connection, outside.statements)


async def make_triggers(connection: Connection, outside: Outside) -> tuple[str, ...]:
    """Make theirs, when the schemas and all rows are there; the names that failed."""
    return await _attempt(connection, outside.triggers)


async def _attempt(
    connection: Connection, statements: Sequence[tuple[str, str, str | None]]
) -> tuple[str, ...]:
    if not statements:
        return ()
    await connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
    await connection.execute(_ATTEMPT)
    names, firsts, seconds = zip(*statements, strict=True)
    failed = await connection.execute(
        _MAKE, {"names": [*names], "firsts": [*firsts], "seconds": [*seconds]}
    )
    return tuple(row["name"] for row in await failed.fetchall())


async def put_aside(connection: Connection, outside: Outside) -> None:
    """Have a restore of rows leave out the keys that `fill` adds."""
    await connection.execute("CREATE SCHEMA IF NOT EXISTS rollback")
    await connection.execute("CREATE TABLE rollback.keys_aside (entry text)")
    await connection.execute(
        "INSERT INTO rollback.keys_aside SELECT unnest(%s::text[])",
        [[entry for entry, _, _ in outside.keys]],
    )


async def read_aside(connection: Connection) -> frozenset[str]:
    """The entries that are to be left out here."""
    found = await connection.execute(
        "SELECT to_regclass('rollback.keys_aside') IS NOT NULL AS there"
    )
    row = await found.fetchone()
    if row is None or not row["there"]:
        return frozenset()
    rows = await connection.execute("SELECT entry FROM rollback.keys_aside")
    return frozenset(row["entry"] for row in await rows.fetchall())


async def fill(connection: Connection, outside: Outside) -> None:
    """Put what the restored rows lead to into the stand-ins, and add the keys."""
    for statements in ([f for *_, f in outside.keys], [a for _, a, _ in outside.keys]):
        for statement in statements:
            await connection.execute(statement.encode())  # quoted by the server
    await connection.execute("DROP TABLE rollback.keys_aside")
    await make_triggers(connection, outside)
