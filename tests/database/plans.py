"""What the tests of plans share: a shop with three migrations, and copies of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from rollback.schema import Fingerprint, SchemaPlan, SchemaRecord
from rollback.targets.database.catalogue import read_catalogue
from rollback.targets.database.planning import Planning, make_plan
from rollback.transactions import Database

from .keeping import run

SHOP: LiteralString = """
CREATE TABLE schema_migrations (
  version text PRIMARY KEY, applied_at timestamptz DEFAULT clock_timestamp());
CREATE TABLE orders (id int PRIMARY KEY, state text);
CREATE TABLE lines (
  id int PRIMARY KEY, "order" int REFERENCES orders ON DELETE CASCADE, note text);
INSERT INTO orders SELECT n, 'new' FROM generate_series(1, 40) n;
INSERT INTO lines SELECT n, n, CASE WHEN n > 30 THEN 'x' END
  FROM generate_series(1, 40) n;
INSERT INTO schema_migrations (version) VALUES ('001'), ('002'), ('003');
"""
UNRECORDED = frozenset({"unrecorded"})


@dataclass(slots=True)
class Shop:
    """A database at version 003, and the folder of its scripts.

    A copy is made by the DDL that made the database, and of the history's rows. Both
    databases are emptied before: that takes less time than making new ones.
    """

    url: str
    copy: str
    folder: Path
    ddl: list[LiteralString] = field(default_factory=lambda: [SHOP])
    schemas: tuple[str, ...] = ("public",)
    limit: float = 60.0

    def __post_init__(self) -> None:
        empty(self.url)
        run(self.url, *self.ddl)
        self.write(**{"2": "SELECT 1;", "3": "SELECT 1;"})

    def also(self, ddl: LiteralString) -> None:
        """Change the database, and so its copies."""
        run(self.url, ddl)
        self.ddl.append(ddl)

    def write(self, **scripts: str) -> None:
        """Write the rollback script of a version."""
        for version, text in scripts.items():
            path = self.folder / f"rollback_00{version.removeprefix('v')}.sql"
            path.write_text(text, encoding="utf-8")

    def hashes(self) -> dict[str, SchemaRecord]:
        """Every script as recorded, without a fingerprint."""
        return {
            path.stem.removeprefix("rollback_"): record(
                path.stem.removeprefix("rollback_"),
                script=sha256(path.read_bytes()).hexdigest(),
            )
            for path in self.folder.glob("rollback_*.sql")
        }

    async def fingerprint(self) -> Fingerprint:
        """The schema as it is."""
        database = Database(self.url, statement_timeout_seconds=20)
        found = await database.transaction(lambda c: read_catalogue(c, self.schemas))
        return found.fingerprint

    @asynccontextmanager
    async def copies(self) -> AsyncIterator[str]:
        """The same DDL in a scratch database, emptied but for the history."""
        empty(self.copy)
        run(self.copy, *self.ddl)
        with psycopg.connect(self.copy, autocommit=True) as connection:
            for (table,) in connection.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
                " AND relnamespace = 'public'::regnamespace"
                " AND relname <> 'schema_migrations'"
            ).fetchall():
                text = sql.SQL("TRUNCATE {} CASCADE").format(sql.SQL(table))
                connection.execute(text)
        yield self.copy

    async def plan(
        self,
        to: str = "002",
        records: Mapping[str, SchemaRecord] | None = None,
        accept: frozenset[str] = UNRECORDED,
    ) -> SchemaPlan | None:
        """Plan going back to a version; without records all of it is accepted."""
        planning = Planning(
            url=self.url,
            copies=self.copies,
            folder=self.folder,
            schemas=self.schemas,
            timeout_seconds=30,
            stall_limit_seconds=self.limit,
        )
        return await make_plan(planning, to, records=records or {}, accept=accept)

    async def planned(self, to: str = "002") -> SchemaPlan:
        """A plan that there has to be."""
        plan = await self.plan(to)
        assert plan is not None
        return plan

    @property
    def name(self) -> str:
        """The database's."""
        return str(conninfo_to_dict(self.url)["dbname"])


def empty(url: str) -> None:
    """Leave nothing in the database but a schema public, and none of its settings."""
    with psycopg.connect(url, autocommit=True) as connection:
        for (schema,) in connection.execute(
            "SELECT nspname FROM pg_namespace"
            " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        ).fetchall():
            name = sql.Identifier(schema)
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(name))
        connection.execute("CREATE SCHEMA public")
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(database))


def record(
    version: str, *, script: str | None = None, schema: Fingerprint | None = None
) -> SchemaRecord:
    """A record of a version."""
    return SchemaRecord(
        environment="production",
        version=version,
        recorded_at=datetime(2026, 1, 1, tzinfo=UTC),
        script_sha256=script,
        fingerprint=schema,
    )


def destroyed(plan: SchemaPlan) -> list[tuple[str, str, str, int | None]]:
    """What a plan destroys, in brief."""
    return [(one.version, one.kind, one.object, one.rows) for one in plan.destroys]
