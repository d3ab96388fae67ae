"""``python -m stack.app.migrate DATABASE_URL [--to VERSION]``: bring the schema up."""

import argparse
from pathlib import Path

import psycopg

MIGRATIONS = Path(__file__).parents[1] / "migrations"
SCHEMAS = {"v1": "002", "v2": "003", "v3": "006"}
"""The version of the schema that each release was made for."""
LOCK = 7_041_776  # one migration at a time, whoever runs it
HISTORY = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version text PRIMARY KEY,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


def migrate(url: str, to: str | None = None, folder: Path = MIGRATIONS) -> list[str]:
    """Apply pending migrations in order up to ``to`` and give their versions.

    Each runs in a transaction together with its history row.

    Raises:
        ValueError: there is no migration ``to``.
        psycopg.Error: the database refused, or cannot be reached.

    """
    scripts = {path.stem: path for path in sorted(folder.glob("[0-9]*.sql"))}
    if to is not None and to not in scripts:
        raise ValueError(f"There is no migration {to} in {folder}.")
    wanted = [version for version in scripts if to is None or version <= to]
    with psycopg.connect(url, autocommit=True) as connection:
        return [v for v in wanted if _apply(connection, v, scripts[v])]


def _apply(
    connection: psycopg.Connection[tuple[object, ...]], version: str, script: Path
) -> bool:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        connection.execute(HISTORY)
        fresh = connection.execute(
            "INSERT INTO schema_migrations (version) VALUES (%s)"
            " ON CONFLICT DO NOTHING RETURNING version",
            [version],
        ).fetchone()
        if fresh:
            connection.execute(script.read_text())
    return fresh is not None


def main() -> None:
    """Apply what is pending, say what was applied."""
    parser = argparse.ArgumentParser(prog="python -m stack.app.migrate")
    parser.add_argument("url", metavar="DATABASE_URL")
    parser.add_argument("--to", metavar="VERSION")
    arguments = parser.parse_args()
    try:
        versions = migrate(arguments.url, arguments.to)
    except (ValueError, psycopg.Error) as error:
        parser.exit(2, f"{error}\n")
    print("applied:", *versions or ["nothing, the schema is up to date"])  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main()
