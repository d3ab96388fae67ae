"""The scratch database that the stairway is climbed on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from psycopg import Error, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ActiveSqlTransaction

from rollback.errors import SchemaRefused
from rollback.ports import Notice
from rollback.schema import Backup, Receipt
from rollback.transactions import Connection, Database, shielded

from .apply import apply
from .catalogue import Catalogue, read_catalogue
from .history import read_history
from .layout import Table, read_tables
from .planning import Planning, make_plan
from .scratch import scratch
from .scripts import no_return, statements
from .seeding import seed_tables
from .values import Held, read_values

__all__ = ["Ground", "Level", "first_line"]

SECONDS = 300.0
LOCK_MS = 5000
ACCEPTED = frozenset({"unrecorded", "stall", "no-transaction"})
GROUND = "0"  # the version below the first one
TABLE = "schema_migrations"
HISTORY = """
CREATE TABLE public.schema_migrations (version text PRIMARY KEY);
INSERT INTO public.schema_migrations VALUES ('0')"""
MAKES_HISTORY = re.compile(rf"CREATE\s+TABLE\b[^;(]*\b{TABLE}\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The schema and the values at one moment."""

    catalogue: Catalogue
    tables: Mapping[str, Table]
    values: Mapping[str, Held]


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(slots=True, kw_only=True)
class Ground:
    """A scratch database on which versions are climbed, oldest first."""

    database: Database
    url: str
    migrations: Mapping[str, Path]
    schemas: tuple[str, ...]
    seed: int
    notice: Notice

    @classmethod
    def of(
        cls,
        url: str,
        *,
        migrations: Mapping[str, Path],
        schemas: tuple[str, ...],
        seed: int,
        notice: Notice,
    ) -> "Ground":
        """An empty database; its history is made by `begin`."""
        return cls(
            database=Database(url, statement_timeout_seconds=SECONDS),
            url=url,
            migrations=migrations,
            schemas=schemas,
            seed=seed,
            notice=notice,
        )

    async def begin(self) -> None:
        """Make the history, unless a migration does."""
        texts = [path.read_text("utf-8-sig") for path in self.migrations.values()]
        if not any(MAKES_HISTORY.search(text) for text in texts):
            await self._run(HISTORY)

    async def level(self, catalogue: Catalogue | None = None) -> Level:
        """The schema, where it is not known already, and the values as they are now."""

        async def read(connection: Connection) -> Level:
            tables = await self.tables(connection)
            return Level(
                catalogue=catalogue or await read_catalogue(connection, self.schemas),
                tables=tables,
                values=await read_values(connection, tables),
            )

        return await self.database.transaction(read)

    async def catalogue(self) -> Catalogue:
        """The schema as it is now."""
        return await self.database.transaction(
            lambda connection: read_catalogue(connection, self.schemas)
        )

    async def tables(self, connection: Connection) -> Mapping[str, Table]:
        """All tables but the history."""
        tables = await read_tables(connection, self.schemas)
        return {name: t for name, t in tables.items() if not _is_history(name)}

    async def up(self, version: str) -> None:
        """As most tools do it: the file as it is, then its row of the history."""
        await self._run(self.migrations[version].read_text("utf-8-sig"))
        known = list(self.migrations)
        applied = known[: known.index(version) + 1]
        await self.database.transaction(lambda c: _note(c, self.schemas, applied))

    async def _run(self, text: str) -> None:
        async with self.database.session() as connection:
            try:
                await _execute(connection, text)
            except ActiveSqlTransaction:  # several in one call are one transaction
                for statement in statements(text):
                    await _execute(connection, statement.text)

    async def sow(
        self, version: str, before: Mapping[str, Table]
    ) -> tuple[str | None, Mapping[str, str]]:
        """Run the version's own seed, and make rows for what is new since `before`.

        What is wrong with the seed; and which tables and columns have no values, why.
        """
        path = self.migrations[version].with_name(f"seed_{version}.sql")
        problem = None
        if path.exists():
            try:
                await self._run(path.read_text("utf-8-sig"))
            except Error as error:
                problem = f"{path.name} fails: {first_line(error)}."
        seeded = await self.database.transaction(
            lambda connection: seed_tables(
                connection,
                self.schemas,
                before=before,
                apart=_is_history,
                seed=self.seed,
            )
        )
        return problem, seeded.without

    async def down(self, version: str) -> Receipt:
        """By what production has: the same plan, the same transaction, the archive."""
        known = list(self.migrations)
        at = known.index(version)
        name = str(conninfo_to_dict(self.url)["dbname"])
        planning = Planning(
            url=self.url,
            copies=partial(scratch, self.url, template=name),
            folder=self.migrations[version].parent,
            schemas=self.schemas,
            timeout_seconds=SECONDS,
            stall_limit_seconds=SECONDS,
        )
        plan = await make_plan(
            planning, known[at - 1] if at else GROUND, records={}, accept=ACCEPTED
        )
        if plan is None:
            raise RuntimeError(f"{version} is not in the history that it was noted in")
        return await apply(
            self.database,
            plan,
            _no_backup(version),
            incident=f"stairway-{version}",
            lock_timeout_ms=LOCK_MS,
            attempts=3,
            schemas=self.schemas,
            notice=_silent,
            clock=_Clock(),
        )

    def no_return(self, version: str) -> str | None:
        """The reason that its script gives for being no way back."""
        path = self.migrations[version].with_name(f"rollback_{version}.sql")
        return no_return(path.read_text("utf-8-sig")) if path.exists() else None

    def makes_history(self, version: str) -> bool:
        """Whether this migration makes the history."""
        text = self.migrations[version].read_text("utf-8-sig")
        return MAKES_HISTORY.search(text) is not None


async def _note(
    connection: Connection, schemas: tuple[str, ...], versions: list[str]
) -> None:
    """Put into the history what is applied and not in it."""
    try:
        history = await read_history(connection, schemas)
    except SchemaRefused:
        return  # the migration that makes it is yet to come
    query = sql.SQL("INSERT INTO {} (version) VALUES (%s)").format(history.identifier)
    for version in versions:
        if version not in history.versions:
            await connection.execute(query, [version])


async def _execute(connection: Connection, text: str) -> None:
    await shielded(
        connection, lambda: connection.execute(text.encode()), seconds=SECONDS
    )


def _is_history(name: str) -> bool:
    return name.rpartition(".")[2] == TABLE


def first_line(error: Exception) -> str:
    """What it says in its first line, as part of a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _silent(_: str) -> None: ...


def _no_backup(version: str) -> Backup:
    """What production never does without; of a scratch database nobody wants one."""
    return Backup(
        name=f"stairway-{version}",
        path="",
        label="stairway",
        database="",
        version=version,
        taken_at=datetime.now(UTC),
        seconds=0.0,
        server="",
        client="",
        schemas=(),
        tables=(),
        files=(),
        verified=True,
    )
