"""What a dump of schemas leaves out, though they need it: extensions, publications.

pg_dump takes neither when it is told which schemas to take (measured, version 18), and
a table that is dropped and made again is in no publication any more.
"""

from dataclasses import dataclass
from typing import Any

from psycopg import Error, sql

from rollback.transactions import Connection

__all__ = [
    "SURROUNDINGS",
    "Surroundings",
    "ensure_extensions",
    "ensure_publications",
    "from_facts",
    "surroundings",
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
class Surroundings:
    """Extensions and publications of a database."""

    extensions: tuple[Extension, ...] = ()
    publications: tuple[Publication, ...] = ()


async def surroundings(
    connection: Connection, schemas: tuple[str, ...]
) -> Surroundings:
    """Read them; of publications, what concerns these schemas."""
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
    return Surroundings(
        extensions=tuple(Extension(**row) for row in extensions),
        publications=tuple(publications),
    )


def from_facts(facts: dict[str, list[dict[str, Any]]]) -> Surroundings:
    """What `dataclasses.asdict` made of it, back from JSON."""
    return Surroundings(
        extensions=tuple(Extension(**one) for one in facts["extensions"]),
        publications=tuple(
            Publication(**one | {"members": tuple(one["members"])})
            for one in facts["publications"]
        ),
    )


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
