"""Rows for tables of which nothing is known but the catalogue."""

from collections.abc import Mapping

import pytest

from rollback.targets.database.layout import read_tables
from rollback.targets.database.seeding import ROWS, Seeded, seed_tables
from rollback.targets.database.values import Held, read_values
from rollback.transactions import Connection, Database

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PUBLIC = ("public",)

HARD = r"""
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN email AS text CHECK (value ~ '^[^@ ]+@[^@ ]+\.[a-z]+$');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE tenants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug varchar(5) NOT NULL UNIQUE CHECK (slug ~ '^[a-z]+$')
);
CREATE TABLE people (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant uuid NOT NULL REFERENCES tenants,
    mail email NOT NULL,
    mood mood,
    moods mood[],
    pair pair,
    boss bigint REFERENCES people,
    country char(2) NOT NULL CHECK (country = upper(country) AND length(country) = 2),
    age int CHECK (age BETWEEN 18 AND 120),
    low numeric(4, 1),
    high numeric(4, 1),
    lower_mail text GENERATED ALWAYS AS (lower(mail)) STORED,
    CHECK (high > low),
    UNIQUE (tenant, mail),
    UNIQUE (tenant, id)
);
CREATE TABLE bookings (
    id serial PRIMARY KEY,
    tenant uuid NOT NULL,
    person bigint NOT NULL,
    during tstzrange NOT NULL,
    state text CHECK (state IN ('open', 'it''s shut')),
    starts timestamptz,
    ends timestamptz,
    CHECK (ends > starts),
    EXCLUDE USING gist (during WITH &&),
    FOREIGN KEY (tenant, person) REFERENCES people (tenant, id)
);
CREATE TABLE days (day date NOT NULL, n int) PARTITION BY RANGE (day);
CREATE TABLE january PARTITION OF days
    FOR VALUES FROM ('2022-01-01') TO ('2022-02-01');
CREATE TABLE hens (id int PRIMARY KEY, egg int);
CREATE TABLE eggs (id int PRIMARY KEY, hen int NOT NULL REFERENCES hens);
ALTER TABLE hens ADD FOREIGN KEY (egg) REFERENCES eggs;
"""

KINDS = """
CREATE TABLE kinds (
    a inet, b cidr, c macaddr, d interval, e json, f jsonb, g bytea, h bit(3), i money,
    j tsvector, k point, l int4range, m daterange, n text[], o int[][], p numrange,
    q time, r timetz, s varbit, t float4, u "char", v name, w oid, x int4multirange,
    y polygon, z tsquery
)"""


async def _seeded(database: str, *statements: str, seed: int = 0) -> Seeded:
    """Run the statements, and seed what there is then."""

    async def work(connection: Connection) -> Seeded:
        for statement in statements:
            await connection.execute(statement.encode())
        return await seed_tables(connection, PUBLIC, before={}, seed=seed)

    return await Database(database, statement_timeout_seconds=60).transaction(work)


async def _held(database: str) -> Mapping[str, Held]:
    async def work(connection: Connection) -> Mapping[str, Held]:
        return await read_values(connection, await read_tables(connection, PUBLIC))

    return await Database(database, statement_timeout_seconds=60).transaction(work)


async def test_constraints_of_every_kind_are_satisfied(database: str) -> None:
    """Checks, domains, keys, circles, exclusions and partitions all get their rows."""
    seeded = await _seeded(database, HARD)

    assert seeded.without == {}
    assert set(seeded.rows) == {
        f"public.{name}"
        for name in ("tenants", "people", "bookings", "days", "hens", "eggs")
    }
    assert set(seeded.rows.values()) == {ROWS}


async def test_every_column_has_a_value_in_some_row(database: str) -> None:
    """Also the foreign key of a circle, which has to wait for the other table."""
    await _seeded(database, HARD)

    empty = [
        f"{table}.{column}"
        for table, held in (await _held(database)).items()
        for column in held.columns
        if all(row[column] is None for row in held.rows)
    ]
    assert empty == []


async def test_types_of_every_kind_have_a_value(database: str) -> None:
    """None of PostgreSQL's types is left without values."""
    seeded = await _seeded(database, KINDS)

    assert seeded.without == {}
    (held,) = (await _held(database)).values()
    assert len(held.rows) == ROWS
    assert None not in held.rows[0].values()


async def test_the_same_seed_makes_the_same_rows(database: str) -> None:
    """What a stairway has found can be looked at again."""
    await _seeded(database, HARD, seed=7)
    once = await _held(database)
    await _seeded(database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public", seed=7)
    await _seeded(database, HARD, seed=7)

    assert await _held(database) == once


async def test_what_cannot_have_rows_is_named_with_the_reason(database: str) -> None:
    """A table that no row can get into, and one that refers to it, are not silent."""
    seeded = await _seeded(
        database,
        "CREATE TABLE never (id int PRIMARY KEY CHECK (id > 5 AND id < 4))",
        "CREATE TABLE after_never (id int NOT NULL REFERENCES never)",
    )

    assert seeded.rows == {}
    assert "never_id_check" in seeded.without["public.never"]
    assert seeded.without["public.after_never"].endswith("never, which has no rows")


async def test_a_new_column_is_given_values(database: str) -> None:
    """Rows that were there before get values in a column that was added since."""
    await _seeded(database, "CREATE TABLE guests (id int PRIMARY KEY)")

    async def work(connection: Connection) -> Seeded:
        before = await read_tables(connection, PUBLIC)
        await connection.execute(
            "ALTER TABLE guests ADD COLUMN seats int CHECK (seats > 100)"
        )
        return await seed_tables(connection, PUBLIC, before=before)

    seeded = await Database(database, statement_timeout_seconds=60).transaction(work)
    rows = (await _held(database))["public.guests"].rows
    assert seeded.without == {}
    assert [int(row["seats"] or 0) > 100 for row in rows] == [True] * ROWS
