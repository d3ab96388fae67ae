"""What `rollback doctor` looks at in the database: all that a rollback of it needs."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from . import wiring
from .checks import Amiss, Look
from .database_wiring import schema_book
from .errors import SchemaRefused
from .settings import Settings
from .targets.database.complaints import speaking
from .targets.database.pooler import require_session
from .targets.database.programs import Programs
from .targets.database.scripts import load
from .transactions import Connection, Database

__all__ = ["LOOKS"]

T = TypeVar("T")

SECONDS = 10.0
NAMED = 5  # more than these are counted instead
DAY_SECONDS = 86_400.0
HOUR_SECONDS = 3600.0

# pg_dump reads sequences too; only an owner may change a table.
OBJECTS = """
SELECT format('%%I.%%I', n.nspname, c.relname) AS shown,
  CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
    ELSE has_table_privilege(c.oid, 'SELECT') END AS readable,
  c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
    AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')) AS hidden,
  pg_has_role(c.relowner, 'USAGE') AS owned
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles r ON r.rolname = current_user
WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p', 'S')
ORDER BY 1
"""
ROLE = """
SELECT rolname AS name, rolsuper OR rolcreatedb AS makes_databases,
  CASE WHEN to_regnamespace('rollback') IS NULL
    THEN has_database_privilege(current_database(), 'CREATE')
    ELSE has_schema_privilege(to_regnamespace('rollback'), 'CREATE') END AS archives
FROM pg_roles WHERE rolname = current_user
"""


def _url(settings: Settings) -> str:
    if settings.database_direct_url is None:
        raise Amiss(
            "no database is set: it is neither backed up nor rolled back",
            "Set DATABASE_URL, or DATABASE_DIRECT_URL behind a transaction pooler.",
        )
    return settings.database_direct_url.get_secret_value()


async def _ask(url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    database = Database(url, statement_timeout_seconds=SECONDS)
    with speaking(database, SchemaRefused):
        return await database.transaction(work)


async def _session(settings: Settings) -> str:
    url = _url(settings)
    await require_session(url, failure=SchemaRefused)
    name = Database(url, statement_timeout_seconds=SECONDS).name
    return f"a connection to {name} is a session of its own"


async def _programs(settings: Settings) -> str:
    async def version(connection: Connection) -> int:
        return connection.info.server_version

    number = await _ask(_url(settings), version)
    found = await Programs.find(settings.postgres_programs, number // 10_000)
    return f"pg_dump {found.version} in {found.folder}, as the server"


async def _rights(settings: Settings) -> str:
    async def look(connection: Connection) -> tuple[list[Any], Any]:
        schemas = {"schemas": list(settings.schemas)}
        objects = await connection.execute(OBJECTS, schemas)
        role = await connection.execute(ROLE)
        return await objects.fetchall(), await role.fetchone()

    objects, role = await _ask(_url(settings), look)
    where = f"in {', '.join(settings.schemas)}"
    unread = [row["shown"] for row in objects if not row["readable"] or row["hidden"]]
    if unread:
        raise Amiss(
            f"{role['name']} cannot read all of {_named(unread)}: no backup is whole",
            "Give it SELECT on them, and BYPASSRLS; or sign in as their owner.",
        )
    foreign = [row["shown"] for row in objects if not row["owned"]]
    if foreign:
        raise Amiss(
            f"{role['name']} does not own {_named(foreign)}: it cannot roll them back",
            "Let DATABASE_DIRECT_URL sign in as the owner who applies the migrations.",
        )
    if not role["archives"]:
        raise Amiss(
            f"{role['name']} may not create the schema rollback, where values that a "
            "rollback destroys are archived",
            f"GRANT CREATE ON DATABASE … TO {role['name']}.",
        )
    if settings.scratch_url is None and not role["makes_databases"]:
        raise Amiss(
            f"{role['name']} may not create a scratch database: nothing can be planned",
            "ALTER ROLE … CREATEDB, or set ROLLBACK_SCRATCH_URL to another server.",
        )
    return (
        f"{role['name']} reads and owns all {len(objects)} tables and sequences {where}"
    )


async def _migrations(settings: Settings) -> str:
    _url(settings)
    async with wiring.database(settings) as database:
        versions = (await database.history()).versions
    if not versions:
        return "no migration is applied yet"
    try:
        load(settings.migrations, versions)
    except SchemaRefused as error:
        mend = f"{error.mend} The folder is ROLLBACK_MIGRATIONS."
        raise Amiss(error.message, mend) from error
    return (
        f"at {versions[-1]}, and each of {len(versions)} migrations has its rollback "
        f"script in {settings.migrations}"
    )


async def _recorded(settings: Settings) -> str:
    _url(settings)
    async with schema_book(settings) as book:
        seen = await book.look()
    if seen.changed:
        raise Amiss(
            f"changed since they were recorded: the scripts of {_named(seen.changed)}",
            "Take the change back, or record them anew: `rollback init --force`.",
        )
    if seen.new or not seen.known:
        what = _named(seen.new) if seen.new else f"the fingerprint of {seen.current}"
        raise Amiss(
            f"not on record: {what}",
            "Record the deployment (`rollback record`), or adopt all: `rollback init`.",
        )
    if not seen.same_schema:
        raise Amiss(
            f"the schema is not what was recorded at {seen.current}: a rollback to it "
            "would be refused",
            "See who changed it by hand; or `rollback init --force`.",
        )
    return f"{len(seen.versions)} scripts, and the schema at {seen.current}"


async def _backups(settings: Settings) -> str:
    _url(settings)
    async with wiring.database(settings) as database:
        known = await database.backups.known()
    whole = [backup for backup in known if backup.verified]
    if not whole:
        raise Amiss(
            f"there is no verified backup yet in {settings.backups}",
            "Each rollback takes one first. See whether that works, and how long it "
            "takes: `rollback db backup`.",
        )
    last = whole[0]
    return (
        f"{len(whole)} are verified; the last one, {last.name}, is "
        f"{_age(last.taken_at, wiring.now())} old and took {last.seconds:.0f} s"
    )


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _age(then: datetime, now: datetime) -> str:
    seconds = max((now - then).total_seconds(), 0.0)
    if seconds >= DAY_SECONDS:
        return f"{seconds / DAY_SECONDS:.0f} days"
    return f"{seconds / HOUR_SECONDS:.1f} hours"


LOOKS: dict[str, Look] = {
    "database session": _session,
    "pg_dump": _programs,
    "database rights": _rights,
    "migrations": _migrations,
    "schema on record": _recorded,
    "backups": _backups,
}
