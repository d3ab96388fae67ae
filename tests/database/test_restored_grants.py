"""Who could use a schema can use it again once a backup of it is restored.

The roles that read are not the owner, who may do everything: a schema without its
grants takes production down for all of them.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from rollback.adapters.clock import SystemClock
from rollback.schema import Backup
from rollback.targets.database.backup import Backups
from rollback.targets.database.manifests import to_manifest
from rollback.targets.database.programs import Programs
from rollback.targets.database.restore import restore as restore_elsewhere
from rollback.targets.database.restoring import Restorer
from rollback.targets.database.scratch import scratch
from rollback.targets.database.verification import hashed

from .keeping import ignored, keeper

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SHOP: LiteralString = """
CREATE TABLE couples (name text); INSERT INTO couples VALUES ('Ada & Bo');
CREATE SCHEMA office; CREATE TABLE office.bills (euro int);
INSERT INTO office.bills VALUES (70);
GRANT SELECT ON couples, office.bills TO {role};
GRANT USAGE ON SCHEMA office TO {role} WITH GRANT OPTION;
"""
GRANTS: LiteralString = """
SELECT n.nspname, coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC'),
    a.privilege_type, a.is_grantable
FROM pg_namespace n, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
WHERE n.nspname IN ('public', 'office') ORDER BY 1, 2, 3
"""
SCHEMAS = ("public", "office")


@pytest.fixture
def role(server: str) -> Iterator[str]:
    """A role that owns nothing; its rights are gone with the test's databases."""
    name = f"plain_{secrets.token_hex(4)}"
    with closing(psycopg.connect(server, autocommit=True)) as connection:
        connection.execute(f"CREATE ROLE {name}".encode())
        yield name
        connection.execute(f"DROP ROLE IF EXISTS {name}".encode())


@pytest.fixture
def shop(role: str, database: str, server: str) -> Iterator[str]:
    """A database with two schemas that a plain role may read, and their owner alone."""
    with in_database(database) as connection:
        connection.execute(sql.SQL(SHOP).format(role=sql.Identifier(role)))
    yield database
    name = conninfo_to_dict(database)["dbname"]
    with in_database(server) as connection:
        found = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)",
            [f"{name}_before_"],
        )
        for (kept,) in found.fetchall():
            connection.execute(f"DROP DATABASE {kept} WITH (FORCE)".encode())


@pytest.fixture
def backups(shop: str, tmp_path: Path, programs_folder: Path) -> Backups:
    """A folder for its backups."""
    return keeper(shop, tmp_path / "backups", programs_folder, schemas=SCHEMAS)


@pytest.fixture
def restorer(shop: str, backups: Backups, programs_folder: Path) -> Restorer:
    """What restores them."""
    return Restorer(
        url=shop, store=backups, kept=10, programs=programs_folder, clock=SystemClock()
    )


@contextmanager
def in_database(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A session of its owner."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        yield connection


def read_as(url: str, role: str) -> list[tuple[Any, ...]]:
    """What a role sees of both tables."""
    with in_database(url) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        return connection.execute(
            "SELECT name, euro FROM public.couples, office.bills"
        ).fetchall()


def grants(url: str) -> list[tuple[Any, ...]]:
    """Who may do what with the two schemas."""
    with in_database(url) as connection:
        return connection.execute(GRANTS).fetchall()


async def restored(restorer: Restorer, backup: Backup, *, swap: bool) -> str:
    """By a recovery."""
    return await restorer.restore(backup, token="rec-1", swap=swap, notice=ignored)


@pytest.mark.parametrize("swap", [False, True])
async def test_a_plain_role_reads_on(
    shop: str, role: str, backups: Backups, restorer: Restorer, *, swap: bool
) -> None:
    """In place and by a swap: the schema public is open to everybody, as it was."""
    before = grants(shop)
    backup = await backups.take("x", ignored)

    await restored(restorer, backup, swap=swap)

    assert read_as(shop, role) == [("Ada & Bo", 70)]
    assert grants(shop) == before


@pytest.mark.parametrize("swap", [False, True])
async def test_a_schema_that_was_closed_stays_closed(
    shop: str, role: str, backups: Backups, restorer: Restorer, *, swap: bool
) -> None:
    """What was taken from everybody is not given back, and who was let in still is."""
    with in_database(shop) as connection:
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        connection.execute(f"GRANT USAGE ON SCHEMA public TO {role}".encode())
    before = grants(shop)
    backup = await backups.take("x", ignored)

    await restored(restorer, backup, swap=swap)

    assert grants(shop) == before
    assert read_as(shop, role) == [("Ada & Bo", 70)]


@pytest.mark.parametrize("swap", [False, True])
async def test_grants_that_the_damage_took_come_back(
    shop: str, role: str, backups: Backups, restorer: Restorer, *, swap: bool
) -> None:
    """They are the backup's, and not what is left when it is restored."""
    before = grants(shop)
    backup = await backups.take("x", ignored)
    with in_database(shop) as connection:
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        connection.execute("DROP SCHEMA office CASCADE")

    await restored(restorer, backup, swap=swap)

    assert grants(shop) == before
    assert read_as(shop, role) == [("Ada & Bo", 70)]


@pytest.mark.parametrize("swap", [False, True])
async def test_a_backup_that_does_not_know_the_grants_takes_those_of_now(
    shop: str, role: str, backups: Backups, restorer: Restorer, *, swap: bool
) -> None:
    """Taken before they were recorded, it still leaves nobody before a closed door."""
    real = await backups.take("x", ignored)
    path = Path(real.path) / "surroundings.json"
    facts = json.loads(path.read_text())
    assert facts.pop("schemas")
    path.write_text(json.dumps(facts))
    files = await hashed(Path(real.path))
    manifest = Path(real.path) / "manifest.json"
    manifest.write_text(to_manifest(replace(real, files=files)))

    await restored(restorer, await backups.find(real.name), swap=swap)

    assert read_as(shop, role) == [("Ada & Bo", 70)]


async def test_in_a_scratch_database_they_are_the_same(
    shop: str, role: str, server: str, backups: Backups, programs_folder: Path
) -> None:
    """A rehearsal whose script acts as another role finds what production has."""
    with in_database(shop) as connection:
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        connection.execute(f"GRANT USAGE ON SCHEMA public TO {role}".encode())
    backup = await backups.take("x", ignored)
    programs = await Programs.find(programs_folder, 18)
    async with backups.fetched(backup) as folder, scratch(server) as url:
        await restore_elsewhere(folder, backup, url, programs=programs, jobs=1)
        assert grants(url) == grants(shop)
        assert read_as(url, role) == [("Ada & Bo", 70)]
