"""What a dump of schemas leaves out, though they need it.

Extensions and publications: pg_dump takes neither when it is told which schemas to take
(measured, version 18), and a table that is dropped and made again is in no publication
any more. And the grants of the schemas: of the schema public a dump has what differs
from initdb's alone, so that made anew it would be closed to all but its owner.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from psycopg import Error, sql

from rollback.transactions import Connection

from .manifests import in_thread, writing

__all__ = [
    "SURROUNDINGS",
    "Surroundings",
    "ensure_extensions",
    "ensure_grants",
    "ensure_publications",
    "granting",
    "recorded",
    "surroundings",
    "with_grants_of",
]

SURROUNDINGS = "surroundings.json"

EXTENSIONS = """
SELECT e.extname AS name, n.nspname AS schema, e.extversion AS version
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname <> 'plpgsql' ORDER BY 1
"""
PUBLICATIONS = """
SELECT pubname AS name, puballtables AS everything, array_to_string(ARRAY[
    CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN 'update' END,
    CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END
  ], ', ') AS publish, pubviaroot AS via_root,
  ARRAY(SELECT format('TABLES IN SCHEMA %%I', n.nspname)
    FROM pg_publication_namespace s JOIN pg_namespace n ON n.oid = s.pnnspid
    WHERE s.pnpubid = p.oid AND n.nspname = ANY(%(schemas)s) ORDER BY 1) AS schemas,
  ARRAY(SELECT 'TABLE ' || format('%%I.%%I', n.nspname, c.relname)
      || coalesce(' (' || (SELECT string_agg(quote_ident(a.attname), ', ')
        FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum = ANY(r.prattrs)) || ')', '')
      || coalesce(' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')', '')
    FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE r.prpubid = p.oid AND n.nspname = ANY(%(schemas)s) ORDER BY 1) AS tables
FROM pg_publication p ORDER BY 1
"""
# One without grants of its own has the server's usual ones, which are not the same for
# the schema public: so they are written out.
SCHEMAS = """
SELECT n.nspname AS name, pg_get_userbyid(n.nspowner) AS owner, ARRAY(
    SELECT format('GRANT %%s ON SCHEMA %%I TO %%s', a.privilege_type, n.nspname,
      CASE a.grantee WHEN 0 THEN 'PUBLIC'
        ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
      || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    ORDER BY 1) AS grants
FROM pg_namespace n WHERE n.nspname = ANY(%(schemas)s) ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """An extension, and the schema that it is in."""

    name: str
    schema: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A publication; `members` are what ALTER PUBLICATION … ADD is given."""

    name: str
    options: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A schema's owner, and the statements that give the rights which it had."""

    name: str
    owner: str
    grants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Extensions and publications of a database, and who may use its schemas."""

    extensions: tuple[Extension, ...] = ()
    publications: tuple[Publication, ...] = ()
    schemas: tuple[Schema, ...] = ()


async def surroundings(
    connection: Connection, schemas: tuple[str, ...]
) -> Surroundings:
    """Read them; of publications and grants, what concerns these schemas."""
    extensions = await (await connection.execute(EXTENSIONS)).fetchall()
    found = await connection.execute(PUBLICATIONS, {"schemas": list(schemas)})
    publications = []
    for row in await found.fetchall():
        root = "true" if row["via_root"] else "false"
        every = "FOR ALL TABLES " if row["everything"] else ""
        publications.append(
            Publication(
                name=row["name"],
                options=f"{every}WITH (publish = '{row['publish']}', "
                f"publish_via_partition_root = {root})",
                members=(*row["schemas"], *row["tables"]),
            )
        )
    found = await connection.execute(SCHEMAS, {"schemas": list(schemas)})
    return Surroundings(
        extensions=tuple(Extension(**row) for row in extensions),
        publications=tuple(publications),
        schemas=tuple([_schema(row) for row in await found.fetchall()]),
    )


async def recorded(folder: Path) -> Surroundings:
    """Those of a backup that lies in this folder."""
    with writing(str(folder)):
        text = await in_thread(partial((folder / SURROUNDINGS).read_text, "utf-8"))
    return _from_facts(json.loads(text))


def with_grants_of(now: Surroundings, backup: Surroundings) -> Surroundings:
    """With the backup's grants; those of now for a schema of which it has none.

    A backup that was taken before they were recorded has none at all.
    """
    schemas = {each.name: each for each in (*now.schemas, *backup.schemas)}
    return replace(now, schemas=tuple(schemas.values()))


def _schema(facts: dict[str, Any]) -> Schema:
    return Schema(**facts | {"grants": tuple(facts["grants"])})


def _from_facts(facts: dict[str, list[dict[str, Any]]]) -> Surroundings:
    """What `dataclasses.asdict` made of it, back from JSON."""
    return Surroundings(
        extensions=tuple(Extension(**one) for one in facts["extensions"]),
        publications=tuple(
            Publication(**one | {"members": tuple(one["members"])})
            for one in facts["publications"]
        ),
        schemas=tuple(_schema(one) for one in facts.get("schemas", ())),
    )


def granting(wanted: Surroundings, schemas: Sequence[str]) -> list[sql.Composed]:
    """What gives these schemas, once they are restored, their owners and grants.

    None is only tried: a schema that is closed to the application is no restored one.
    """
    statements = []
    for schema in wanted.schemas:
        if schema.name in schemas:
            owned = sql.SQL("ALTER SCHEMA {} OWNER TO {};").format(
                sql.Identifier(schema.name), sql.Identifier(schema.owner)
            )
            grants = [sql.SQL("{};").format(sql.SQL(text)) for text in schema.grants]
            statements += [owned, *grants]
    return statements


async def ensure_grants(
    connection: Connection, wanted: Surroundings, schemas: Sequence[str]
) -> None:
    """Give the restored schemas what they had."""
    for statement in granting(wanted, schemas):
        await connection.execute(statement)


async def ensure_extensions(connection: Connection, wanted: Surroundings) -> None:
    """Make the extensions that are not there, before a restore.

    One that cannot be made is passed over: what needs it is then named by the restore.
    """
    for extension in wanted.extensions:
        schema = sql.Identifier(extension.schema)
        await _try(
            connection,
            sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema),
            sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}").format(
                sql.Identifier(extension.name), schema
            ),
        )


async def ensure_publications(connection: Connection, wanted: Surroundings) -> None:
    """Make publications and their members that are not there, after a restore."""
    for publication in wanted.publications:
        name = sql.Identifier(publication.name)
        await _try(
            connection,
            sql.SQL("CREATE PUBLICATION {} {}").format(
                name,
                sql.SQL(publication.options),
            ),
        )
        for member in publication.members:
            added = sql.SQL(member)  # quoted by the server
            await _try(
                connection, sql.SQL("ALTER PUBLICATION {} ADD {}").format(name, added)
            )


async def _try(connection: Connection, *statements: sql.Composed) -> None:
    """Do it in a savepoint of its own, as it may be there already or be denied."""
    try:
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
    except Error:
        if connection.closed:
            raise
