"""The schema `rollback` of the application's database: archives, receipts, statements.

It is written in the transaction that destroys, so it lives where the values lived.
"""

from collections.abc import Iterable

from psycopg import sql

from rollback.transactions import Connection

__all__ = ["CLAIM", "EXACT", "EXACT_FUNCTION", "close_to_others", "ensure", "shown"]

# "rollback" as eight bytes: one key for whoever takes a schema back, or refills it.
CLAIM = int.from_bytes(b"rollback", "big")

_THERE = """
SELECT to_regnamespace('rollback') IS NOT NULL AS schema,
       to_regclass('rollback.archives') IS NOT NULL
   AND to_regclass('rollback.receipts') IS NOT NULL
   AND to_regclass('rollback.statements') IS NOT NULL
   AND to_regclass('rollback.refills') IS NOT NULL
   AND to_regclass('rollback.archived_statements') IS NOT NULL AS tables
"""
# CREATE SCHEMA IF NOT EXISTS asks for the right to create even where it is there.
_SCHEMA = "CREATE SCHEMA rollback"
_TABLES = """
CREATE TABLE IF NOT EXISTS rollback.archives (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident text NOT NULL,
    version text NOT NULL,
    object text NOT NULL,
    kind text NOT NULL,
    table_name text NOT NULL,
    key_columns text[] NOT NULL,
    columns text[] NOT NULL,
    types text[] NOT NULL,
    rows bigint NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    refilled_at timestamptz,
    left_over bigint
);
CREATE TABLE IF NOT EXISTS rollback.receipts (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident text NOT NULL,
    plan_sha256 text NOT NULL,
    document jsonb NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS rollback.statements (
    version text NOT NULL,
    script_sha256 text NOT NULL,
    number integer NOT NULL,
    statement text NOT NULL,
    incident text NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    PRIMARY KEY (version, script_sha256, number)
);
CREATE TABLE IF NOT EXISTS rollback.refills (
    refilled_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE SEQUENCE IF NOT EXISTS rollback.archived_statements;
"""
_MADE = ("archives", "receipts", "statements", "refills", "archived_statements")
# Default privileges may have opened what was just made to anybody.
_CLOSE = """
DECLARE
  one record;
BEGIN
  FOR one IN
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END
             || pg_catalog.format(' rollback.%I', c.relname) AS what, a.grantee
      FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
     WHERE c.relnamespace = pg_catalog.to_regnamespace('rollback')
       AND (c.relname = ANY ({names}) OR c.relkind = 'S' AND EXISTS (
         SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class t
             ON t.oid = d.refobjid
          WHERE d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass
            AND d.deptype IN ('a', 'i') AND t.relname = ANY ({names})))
       AND a.grantee <> c.relowner
    UNION
    SELECT 'SCHEMA rollback', a.grantee
      FROM pg_catalog.pg_namespace n
     CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a
     WHERE n.nspname = 'rollback' AND {schema} AND a.grantee <> n.nspowner
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s', one.what,
      CASE one.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(one.grantee)) END);
  END LOOP;
END
"""

# As pg_dump sets them: what is written as text is read back as the same value. With
# row_security off a policy makes the read fail, where it would hide rows otherwise.
_OUTPUT = {
    "search_path": "",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "row_security": "off",
}
EXACT = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in _OUTPUT.items()
)
EXACT_FUNCTION = " ".join(f"SET {name} = '{value}'" for name, value in _OUTPUT.items())


async def ensure(connection: Connection) -> None:
    """Create what is missing of it."""
    found = await (await connection.execute(_THERE)).fetchone()
    if found and not found["schema"]:
        await connection.execute(_SCHEMA)
    if found and not found["tables"]:
        await connection.execute(_TABLES)
        await close_to_others(connection, _MADE, schema=not found["schema"])


async def close_to_others(
    connection: Connection, names: Iterable[str], *, schema: bool = False
) -> None:
    """Leave what was just made here to its owner, whatever the default privileges."""
    wanted = list(names)
    if not wanted:
        return
    body = sql.SQL(_CLOSE).format(
        names=sql.SQL("{}::name[]").format(sql.Literal(wanted)),
        schema=sql.Literal(schema),
    )
    await connection.execute(
        sql.SQL("DO {}").format(sql.Literal(body.as_string(connection)))
    )


def shown(value: sql.Composable) -> sql.Composed:
    """A value as its type writes it: a cast to text may be the application's own.

    A composite value whose fields are all null is none that IS NULL could tell apart.
    """
    return sql.SQL(
        "CASE WHEN {0} IS DISTINCT FROM NULL THEN pg_catalog.concat({0}) END"
    ).format(value)
