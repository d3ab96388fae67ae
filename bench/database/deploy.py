"""Deploy migrations as a plain tool does, and record each version as `record` does."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import anyio
import psycopg

from rollback.adapters.postgres import PostgresLedger
from rollback.schema import Fingerprint, SchemaRecord
from rollback.targets.database.catalogue import read_catalogue
from rollback.targets.database.scripts import forward, load
from rollback.transactions import Connection, Database

__all__ = ["deploy"]

HISTORY = "CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY)"


async def deploy(url: str, folder: Path) -> None:
    """All of a folder's migrations; the schema is recorded at the first of them."""
    first, *above = forward(folder)
    _apply(url, folder, [first])
    database = Database(url, statement_timeout_seconds=60)
    at = datetime.now(UTC)
    lowest = SchemaRecord(
        environment="production",
        version=first,
        recorded_at=at,
        fingerprint=await database.transaction(_fingerprint),
    )
    _apply(url, folder, above)
    others = [
        SchemaRecord(
            environment="production",
            version=script.version,
            recorded_at=at,
            script_sha256=script.sha256,
        )
        for script in load(folder, above)
    ]
    await PostgresLedger(url).record_schemas([lowest, *others])


async def _fingerprint(connection: Connection) -> Fingerprint:
    return (await read_catalogue(connection, ("public",))).fingerprint


def _apply(url: str, folder: Path, versions: list[str]) -> None:
    paths = forward(folder)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(HISTORY)
        for version in versions:
            with connection.transaction():
                connection.execute(paths[version].read_bytes())
                connection.execute(
                    "INSERT INTO schema_migrations VALUES (%s)", [version]
                )


if __name__ == "__main__":
    anyio.run(deploy, sys.argv[2], Path(sys.argv[1]))
