"""The starting state of the data, and the way back to it."""

from dataclasses import dataclass
from typing import Self

import psycopg
from psycopg import errors, sql
from redis import Redis

from stack.app.migrate import SCHEMAS, migrate
from stack.backends.world import RELEASES

FLAGS = {"timeline": "enabled"}
HISTORY = "schema_migrations"
VERSION = SCHEMAS[RELEASES[-1]]
"""The schema at start: the newest release's."""
SHAPE = """
    SELECT c.relkind::text, c.relname::text, a.attname::text,
        format_type(a.atttypid, a.atttypmod)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a
        ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = 'public'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The practice database as it is after the migrations.

    ``shape`` are its relations and columns; ``seeds`` are the rows that migrations
    themselves put in, as COPY writes them.
    """

    url: str
    versions: tuple[str, ...]
    shape: frozenset[tuple[str, ...]]
    seeds: dict[str, bytes]

    @classmethod
    def create(cls, url: str) -> Self:
        """Apply the migrations that are there at start, and remember what they made.

        Raises:
            psycopg.Error: the database refused.

        """
        migrate(url, VERSION)
        with psycopg.connect(url) as connection:
            tables = _tables(connection, "public")
            rows = {table: _copy_out(connection, table) for table in tables}
            return cls(
                url=url,
                versions=_versions(connection),
                shape=_shape(connection),
                seeds={table: data for table, data in rows.items() if data},
            )

    def reset(self) -> None:
        """Put back the rows, and the schema if it is not what it was.

        The engine's schema ``rollback`` is emptied, what it archived is dropped.
        Transactions that stand in the way are ended.

        Raises:
            psycopg.Error: the database refused.

        """
        with psycopg.connect(self.url, autocommit=True) as connection:
            try:
                kept = self._reset(connection)
            except errors.LockNotAvailable:
                _end_transactions(connection)
                kept = self._reset(connection)
        if not kept:
            migrate(self.url, VERSION)

    def _reset(self, connection: psycopg.Connection) -> bool:
        """Empty everything; say whether the schema could be kept."""
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '300ms'")
            _drop_archives(connection)
            _truncate(connection, "rollback")
            if not self._is_as_it_was(connection):
                connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
                return False
            _truncate(connection, "public")
            # The order of foreign keys does not matter for rows that were here before.
            connection.execute("SET LOCAL session_replication_role = replica")
            for table, rows in self.seeds.items():
                _copy_in(connection, table, rows)
            return True

    def _is_as_it_was(self, connection: psycopg.Connection) -> bool:
        known = _versions(connection) == self.versions
        return known and _shape(connection) == self.shape


def seed_flags(url: str) -> None:
    """Empty Redis and put in the feature flags as they are at start.

    Raises:
        redis.RedisError: it refused.

    """
    with Redis.from_url(url) as client, client.pipeline() as pipeline:
        pipeline.flushall()
        pipeline.hset("feature_flags", mapping=FLAGS)
        pipeline.execute()


def _tables(connection: psycopg.Connection, schema: str) -> list[str]:
    found = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename <> %s",
        [schema, HISTORY],
    )
    return [name for (name,) in found]


def _versions(connection: psycopg.Connection) -> tuple[str, ...]:
    known = connection.execute("SELECT to_regclass('public.schema_migrations')")
    if known.fetchone() == (None,):
        return ()
    found = connection.execute("SELECT version FROM schema_migrations ORDER BY 1")
    return tuple(version for (version,) in found)


def _shape(connection: psycopg.Connection) -> frozenset[tuple[str, ...]]:
    return frozenset(connection.execute(SHAPE))


def _drop_archives(connection: psycopg.Connection) -> None:
    for table in _tables(connection, "rollback"):
        if table.startswith("archive_"):
            name = sql.Identifier("rollback", table)
            connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(name))


def _truncate(connection: psycopg.Connection, schema: str) -> None:
    tables = [sql.Identifier(schema, table) for table in _tables(connection, schema)]
    if tables:
        connection.execute(
            sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(
                sql.SQL(", ").join(tables)
            )
        )


def _copy_out(connection: psycopg.Connection, table: str) -> bytes:
    query = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier("public", table))
    with connection.cursor().copy(query) as copy:
        return b"".join(copy)


def _copy_in(connection: psycopg.Connection, table: str, rows: bytes) -> None:
    query = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier("public", table))
    with connection.cursor().copy(query) as copy:
        copy.write(rows)


def _end_transactions(connection: psycopg.Connection) -> None:
    """End the sessions of others that are in a transaction: a fault's leftovers."""
    connection.execute(
        "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
        " WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
