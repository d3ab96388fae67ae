"""Scratch databases: where a rollback is tried before production has it."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from anyio import CancelScope
from psycopg import Error, sql
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege

from rollback.errors import DatabaseUnreachable, SchemaRefused
from rollback.transactions import Connection, Database, shielded

from .manifests import in_thread
from .programs import Programs
from .standins import make_stand_ins, make_triggers, read_aside, read_outside
from .surroundings import ensure_extensions, ensure_publications, surroundings

__all__ = ["copy_schema", "own_entries", "quoted", "require_room", "scratch"]

PREFIX = "rollback_scratch_"
SECONDS = 60.0
# One that a killed run has left: its keeper's session, which bears its name, is gone.
LEFT = """
SELECT datname AS name FROM pg_database
WHERE starts_with(datname, %(prefix)s) AND pg_has_role(datdba, 'MEMBER')
AND datname NOT IN (SELECT application_name FROM pg_stat_activity)
"""


@asynccontextmanager
async def scratch(url: str, *, template: str = "template0") -> AsyncIterator[str]:
    """A new database on the server of `url`; dropped at the end.

    Empty, or with all that `template` has: then nobody may be connected to that.

    Raises:
        DatabaseUnreachable: the server does not answer.
        SchemaRefused: its user may not make databases.

    """
    server = Database(url, statement_timeout_seconds=SECONDS)
    name = PREFIX + secrets.token_hex(6)
    async with AsyncExitStack() as stack:
        with _in_words(server):
            keeper = await stack.enter_async_context(server.session())
            await _do(keeper, "SET application_name = {}", sql.Literal(name))
            await _drop_left(keeper)
            names = sql.SQL("{} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
            await _do(keeper, "CREATE DATABASE {}", names)
        try:
            yield make_conninfo(url, dbname=name)
        finally:
            with CancelScope(shield=True), _in_words(server):
                await _drop(server, name)


async def copy_schema(
    programs: Programs,
    source_url: str,
    target_url: str,
    schemas: tuple[str, ...],
    *,
    history: tuple[str, str] | None = None,
) -> None:
    """Copy the schemas without their rows into an empty database.

    `history` is the schema and the name of the one table whose rows are copied too.

    Raises:
        SchemaRefused: it cannot be read, or not be made there.
        DatabaseUnreachable: one of the two does not answer.

    """
    source = Database(source_url, statement_timeout_seconds=SECONDS)
    target = Database(target_url, statement_timeout_seconds=SECONDS)
    wanted = tuple(dict.fromkeys((*schemas, *(history[:1] if history else ()))))
    with _in_words(source):
        around = await source.transaction(lambda c: surroundings(c, wanted))
        outside = await source.transaction(lambda c: read_outside(c, wanted))
    with TemporaryDirectory(prefix="rollback-") as folder:
        dumps = [await _dump_schemas(programs, source_url, Path(folder), wanted)]
        if history:
            dumps.append(await _dump_rows(programs, source_url, Path(folder), *history))
        with _in_words(target):
            await target.transaction(lambda c: ensure_extensions(c, around))
            await target.transaction(lambda c: make_stand_ins(c, outside))
        for dump in dumps:
            entries = await own_entries(programs, dump, target_url, Path(folder))
            await programs.run(
                "pg_restore",
                "--single-transaction",
                entries,
                str(dump),
                url=target_url,
                failure=SchemaRefused,
            )
    with _in_words(target):
        await target.transaction(lambda c: make_triggers(c, outside))
        await target.transaction(lambda c: ensure_publications(c, around))


@contextmanager
def _in_words(server: Database) -> Iterator[None]:
    try:
        yield
    except InsufficientPrivilege as error:
        raise SchemaRefused(
            f"No scratch database can be made: {server.explain(error)}.",
            mend="Give the database's user CREATEDB, or name a server where that is "
            "allowed in ROLLBACK_SCRATCH_URL.",
        ) from error
    except (Error, OSError, TimeoutError) as error:
        raise DatabaseUnreachable(
            f"The scratch database cannot be used: {server.explain(error)}.",
            mend="Check ROLLBACK_SCRATCH_URL (or DATABASE_DIRECT_URL).",
        ) from error


async def _dump_schemas(
    programs: Programs, url: str, folder: Path, schemas: tuple[str, ...]
) -> Path:
    dump = folder / "schemas"
    options = ["--format=custom", "--schema-only", f"--file={dump}"]
    options += [f"--schema={quoted(name)}" for name in schemas]
    await programs.run("pg_dump", *options, url=url, failure=SchemaRefused)
    return dump


async def _dump_rows(
    programs: Programs, url: str, folder: Path, schema: str, table: str
) -> Path:
    dump = folder / "rows"
    options = ["--format=custom", "--data-only", f"--file={dump}"]
    options += [f"--table={quoted(schema)}.{quoted(table)}"]
    await programs.run("pg_dump", *options, url=url, failure=SchemaRefused)
    return dump


def quoted(name: str) -> str:
    """A name as one of pg_dump's patterns: nothing in it has a meaning."""
    return '"' + name.replace('"', '""') + '"'


async def own_entries(programs: Programs, dump: Path, url: str, place: Path) -> str:
    """The option that leaves out what is there already, and what others alone may set.

    A platform's own roles have default privileges in the application's schemas: one
    such entry would end the whole restore. The schema public is as initdb has made it,
    and a dump has only what differs from that: made anew it would have no grants.
    The keys that lead to stand-ins are put aside until those have their rows.
    """
    said = bytearray()
    await programs.run("pg_restore", "--list", str(dump), take=said.extend)
    database = Database(url, statement_timeout_seconds=SECONDS)
    with _in_words(database):
        roles = await database.transaction(_own_roles)
        aside = await database.transaction(read_aside)
    ends = tuple(f" {role}" for role in roles)
    keys = tuple(f"FK CONSTRAINT {entry} " for entry in aside)
    lines = [
        line
        for line in said.decode(errors="surrogateescape").splitlines()
        if line.split(" ")[3:6] != ["SCHEMA", "-", "public"]
        and (line.split(" ")[3:5] != ["DEFAULT", "ACL"] or line.endswith(ends))
        and not " ".join(line.split(" ")[3:]).startswith(keys)
    ]
    listed = place / f"{dump.name}.entries"
    text = "\n".join([*lines, ""]).encode(errors="surrogateescape")
    await in_thread(partial(listed.write_bytes, text))
    return f"--use-list={listed}"


async def _own_roles(connection: Connection) -> list[str]:
    found = await connection.execute(
        "SELECT rolname AS name FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')"
    )
    return [row["name"] for row in await found.fetchall()]


async def require_room(connection: Connection, schemas: tuple[str, ...]) -> None:
    """Before a restore: PostgreSQL's error where the schema public is not empty."""
    if "public" in schemas:
        async with connection.transaction(force_rollback=True):
            await connection.execute("DROP SCHEMA IF EXISTS public")


async def _drop_left(keeper: Connection) -> None:
    found = await shielded(
        keeper, lambda: keeper.execute(LEFT, {"prefix": PREFIX}), seconds=SECONDS
    )
    for row in await found.fetchall():
        await _do(
            keeper,
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            sql.Identifier(row["name"]),
        )


async def _drop(server: Database, name: str) -> None:
    """On a connection of its own: the keeper's may have died meanwhile."""
    async with server.session() as connection:
        await _do(
            connection,
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            sql.Identifier(name),
        )


async def _do(connection: Connection, text: str, name: sql.Composable) -> None:
    statement = sql.SQL(text).format(name)
    await shielded(connection, lambda: connection.execute(statement), seconds=SECONDS)
