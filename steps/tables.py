"""The database as SQL of the steps' own shows it: structure, values, archives."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

HISTORY = "schema_migrations"
STRUCTURE = """
    SELECT concat_ws(' ', 'column', table_name, column_name, data_type, is_nullable,
        column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT concat_ws(' ', viewname, definition) FROM pg_views
    WHERE schemaname = 'public'
    UNION ALL SELECT
        concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    ORDER BY 1
"""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """All of the schema `public` at one moment; the history's times are left out."""

    structure: tuple[str, ...]
    versions: tuple[str, ...]
    rows: Mapping[str, tuple[Row, ...]]


def picture(url: str) -> Picture:
    """Look at everything in one snapshot."""
    with psycopg.connect(url) as session:
        session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        tables = session.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            " AND tablename <> %s",
            [HISTORY],
        ).fetchall()
        versions = session.execute("SELECT version FROM schema_migrations ORDER BY 1")
        return Picture(
            versions=tuple(version for (version,) in versions.fetchall()),
            structure=tuple(line for (line,) in session.execute(STRUCTURE)),
            rows={table: _rows(session, table) for (table,) in tables},
        )


def _rows(session: psycopg.Connection[Any], table: str) -> tuple[Row, ...]:
    query = sql.SQL("SELECT to_jsonb(t) FROM {} t ORDER BY to_jsonb(t)::text")
    found = session.execute(query.format(sql.Identifier("public", table)))
    return tuple(row for (row,) in found.fetchall())


def archived(url: str, name: str) -> list[Row]:
    """Every row that is archived of a table or column, as text."""
    with psycopg.connect(url, row_factory=dict_row) as session:
        known = session.execute(
            "SELECT number FROM rollback.archives WHERE object = %s", [name]
        )
        rows: list[Row] = []
        for archive in known.fetchall():
            table = sql.Identifier("rollback", f"archive_{archive['number']}")
            rows += session.execute(sql.SQL("SELECT * FROM {}").format(table))
        return rows


def dumped(programs: str, backup: Path) -> str:
    """What is in a backup of the database, as PostgreSQL's own program reads it."""
    done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
        [Path(programs) / "pg_restore", "-f", "-", backup / "database"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
