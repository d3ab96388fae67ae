"""Values of every type go into the archive and come back the same."""

from pathlib import Path

import pytest

from .applying import history, only, put_back, sql, take_back, values

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
    for name in PLACES:
        sql(database, f'ALTER TABLE "Guest List" ADD COLUMN {name} {types[name]}')
    refilled = await put_back(database, "2")
    assert [one.left for one in refilled.objects] == [()] * len(PLACES)
    assert values(database, '"Guest List"', shown) == before
