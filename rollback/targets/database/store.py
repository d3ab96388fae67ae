"""The schema `rollback` of the application's database: archives, receipts, statements.

It is written in the transaction that destroys, so it lives where the values lived.
"""

from rollback.transactions import Connection

__all__ = ["CLAIM", "EXACT", "ensure"]

# "rollback" as eight bytes: one key for whoever takes a schema back, or refills it.
CLAIM = int.from_bytes(b"rollback", "big")

_THERE = """
SELECT to_regnamespace('rollback') IS NOT NULL AS schema,
       to_regclass('rollback.archives') IS NOT NULL
   AND to_regclass('rollback.receipts') IS NOT NULL
   AND to_regclass('rollback.statements') IS NOT NULL
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
CREATE SEQUENCE IF NOT EXISTS rollback.archived_statements;
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
