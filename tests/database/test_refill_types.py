"""Values of every type go into the archive and come back the same."""

from pathlib import Path

import pytest

from .applying import again, history, only, put_back, sql, take_back, values

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

STATEMENTS = tuple(
    Path(__file__).with_name("types.sql").read_text("utf-8").split(";\n")
)
PLACES = (
    *("m", "ms", "j", "js", "b", "a", "t", "n", "n2", "f", "r", "ts", "tz", "d"),
    *("ti", "c", "cs", "p", "u", "ok", "ch", "vc", "i", "ra", "big", '"Odd ""Name"'),
    "bits",
)


async def test_a_table_of_all_types_comes_back(database: str) -> None:
    """Every value of every type is the same, and computed ones are computed again."""
    history(database, "1", "2")
    sql(database, *STATEMENTS)
    before = values(database, '"Guest List"')
    await take_back(
        database,
        'DROP TABLE "Guest List"; DROP TYPE mood, place; DROP DOMAIN positive',
        ("table", 'public."Guest List"'),
        ("type", "public.mood"),
        ("type", "public.place"),
        ("domain", "public.positive"),
    )
    sql(database, *STATEMENTS[:4])
    one = await only(database)
    assert (one.put_back, one.left) == (3, ())
    assert values(database, '"Guest List"') == before
    ((new,),) = sql(
        database, 'INSERT INTO "Guest List" (kind) VALUES (1) RETURNING "The Id"'
    )
    assert new == 4


async def test_columns_of_all_types_come_back(database: str) -> None:
    """Each by its key, and where it was null it stays null."""
    history(database, "1", "2")
    sql(database, *STATEMENTS)
    shown = ", ".join(f"t.{name}" for name in ('"The Id"', *PLACES))
    types = dict(
        sql(
            database,
            "SELECT quote_ident(attname), format_type(atttypid, atttypmod)"
            " FROM pg_attribute WHERE attrelid = '\"Guest List\"'::regclass",
        )
    )
    before = values(database, '"Guest List"', shown)
    await take_back(
        database,
        ";".join(f'ALTER TABLE "Guest List" DROP COLUMN {name}' for name in PLACES),
        *(("column", f'public."Guest List".{name}') for name in PLACES),
    )
    again(
        database,
        *(
            f'ALTER TABLE "Guest List" ADD COLUMN {name} {types[name]}'
            for name in PLACES
        ),
    )
    refilled = await put_back(database, "2")
    assert [one.left for one in refilled.objects] == [()] * len(PLACES)
    assert values(database, '"Guest List"', shown) == before


async def test_a_cast_to_text_of_the_applications_own_loses_nothing(
    database: str,
) -> None:
    """Values are kept as their type writes them, whatever a cast makes of them."""
    history(database, "1", "2")
    make = "CREATE TABLE t (id int PRIMARY KEY, at point2, c char(4))"
    sql(
        database,
        "CREATE TYPE point2 AS (x int, y int)",
        "CREATE FUNCTION short(point2) RETURNS text LANGUAGE sql IMMUTABLE"
        " RETURN ($1).x::text",
        "CREATE CAST (point2 AS text) WITH FUNCTION short(point2)",
        make,
        "INSERT INTO t VALUES (1, '(3,4)', 'a'), (2, '(,)', NULL), (3, NULL, '')",
    )
    shown = "SELECT id, (at).x, (at).y, at IS DISTINCT FROM NULL, c FROM t ORDER BY 1"
    before = sql(database, shown)
    await take_back(database, "ALTER TABLE t DROP at", ("column", "public.t.at"))
    sql(database, "ALTER TABLE t ADD at point2")
    await put_back(database, "2")
    assert sql(database, shown) == before
    sql(database, "DELETE FROM rollback.archives")
    await take_back(database, "DELETE FROM t", ("deleted", "public.t"))
    await put_back(database, "2")
    assert sql(database, shown) == before
