"""A new database that is like another one: its locale, its settings, its grants."""

from typing import Any

from psycopg import sql

from rollback.transactions import Connection

__all__ = ["like"]

LOCALES = {"c": "libc", "i": "icu", "b": "builtin"}
# Lists, whose values pg_db_role_setting holds quoted already.
LISTS = ("search_path", "temp_tablespaces", "session_preload_libraries")
FACTS = """
SELECT to_jsonb(d) AS facts, pg_get_userbyid(d.datdba) AS owner,
    pg_encoding_to_char(d.encoding) AS encoding
FROM pg_database d WHERE d.datname = current_database()
"""
SETTINGS = """
SELECT CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END AS role,
    split_part(one, '=', 1) AS name, substr(one, strpos(one, '=') + 1) AS value
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,
    unnest(s.setconfig) AS one
WHERE d.datname = current_database()
"""
GRANTS = """
SELECT CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END AS role,
    a.privilege_type AS right
FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = current_database()
"""


async def like(connection: Connection, name: str) -> list[sql.Composed]:
    """What makes a database of this name, like the one that is asked."""
    row: Any = await (await connection.execute(FACTS)).fetchone()
    new, facts = sql.Identifier(name), row["facts"]
    create = sql.SQL(
        "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {}"
        " LC_CTYPE {} {}"
    ).format(
        new,
        sql.Identifier(row["owner"]),
        sql.Literal(row["encoding"]),
        sql.Literal(facts["datcollate"]),
        sql.Literal(facts["datctype"]),
        _locale(facts),
    )
    settings = await (await connection.execute(SETTINGS)).fetchall()
    grants = await (await connection.execute(GRANTS)).fetchall()
    statements = [create, *(_setting(new, each) for each in settings)]
    if facts["datacl"] is not None:
        revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC")
        statements += [revoke.format(new), *(_grant(new, each) for each in grants)]
    return statements


def _locale(facts: dict[str, Any]) -> sql.Composable:
    provider = facts.get("datlocprovider", "c")
    locale = facts.get("datlocale") or facts.get("daticulocale")
    if provider == "c" or locale is None:
        return sql.SQL("")
    option = "ICU_LOCALE" if provider == "i" else "BUILTIN_LOCALE"
    return sql.SQL("LOCALE_PROVIDER {} {} {}").format(
        sql.SQL(LOCALES[provider]), sql.SQL(option), sql.Literal(locale)
    )


def _setting(name: sql.Identifier, row: dict[str, Any]) -> sql.Composed:
    whose = (
        sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(row["role"]), name)
        if row["role"]
        else sql.SQL("DATABASE {}").format(name)
    )
    quoted = row["name"] in LISTS
    value = sql.SQL(row["value"]) if quoted else sql.Literal(row["value"])
    return sql.SQL("ALTER {} SET {} TO {}").format(
        whose, sql.Identifier(*row["name"].split(".")), value
    )


def _grant(name: sql.Identifier, row: dict[str, Any]) -> sql.Composed:
    role = sql.Identifier(row["role"]) if row["role"] else sql.SQL("PUBLIC")
    right = sql.SQL(row["right"])  # a word of the server's own
    return sql.SQL("GRANT {} ON DATABASE {} TO {}").format(right, name, role)
