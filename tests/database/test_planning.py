"""A plan tells what a rollback destroys, locks and costs, and changes nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from rollback.targets.database import survey
from rollback.targets.database.programs import Programs
from rollback.targets.database.scratch import copy_schema, scratch

from .keeping import run, value
from .plans import Shop, destroyed

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(two_databases: tuple[str, str], tmp_path: Path) -> Shop:
    """A shop at version 003."""
    return Shop(*two_databases, tmp_path)


async def test_there_is_nothing_to_plan_at_the_target(shop: Shop) -> None:
    """At the version already there is no plan, whatever the scripts are."""
    (shop.folder / "rollback_003.sql").unlink()
    assert await shop.plan("003") is None


async def test_versions_go_back_from_the_newest_and_are_counted(shop: Shop) -> None:
    """Objects stand with the version that destroys them, and with their values."""
    shop.write(
        v3="ALTER TABLE lines DROP note", v2="DROP TABLE lines;\nDROP TABLE orders"
    )
    plan = await shop.planned("001")
    assert (plan.from_version, plan.to_version) == ("003", "001")
    assert plan.versions == ("003", "002")
    assert destroyed(plan) == [
        ("003", "column", "public.lines.note", 10),
        ("002", "table", "public.lines", 40),
        ("002", "table", "public.orders", 40),
    ]
    assert [(lock.table, lock.mode) for lock in plan.locks] == [
        ("public.lines", "ACCESS EXCLUSIVE"),
        ("public.orders", "ACCESS EXCLUSIVE"),
    ]
    assert plan.stall_seconds > 0
    assert value(shop.url, "SELECT count(note) FROM lines") == 10
    assert await shop.planned("001") == plan


async def test_what_goes_by_dynamic_sql_and_cascade_is_seen(shop: Shop) -> None:
    """No parser finds these: they are seen because they are done on the copy."""
    shop.also("CREATE VIEW noted AS SELECT note FROM lines")
    shop.write(
        v3="DO $$ BEGIN EXECUTE 'ALTER TABLE lines DROP ' || 'note CASCADE'; END $$"
    )
    plan = await shop.planned()
    assert destroyed(plan) == [
        ("003", "column", "public.lines.note", 10),
        ("003", "view", "public.noted", None),
    ]
    assert any("has a DO block" in note for note in plan.notes)


async def test_rows_that_are_written_are_seen_without_any(shop: Shop) -> None:
    """Updates, deletes and what they cascade to are seen on tables without rows."""
    shop.write(v3="DELETE FROM orders WHERE id > 5; UPDATE orders SET state = 'x';")
    plan = await shop.planned()
    assert set(destroyed(plan)) == {
        ("003", "deleted", "public.orders", None),
        ("003", "deleted", "public.lines", None),
        ("003", "updated", "public.orders", None),
    }
    assert plan.written == ("public.lines", "public.orders")
    assert any("public.orders are deleted is known only" in note for note in plan.notes)
    shop.write(v3="SET session_replication_role = replica; TRUNCATE orders CASCADE")
    assert set(destroyed(await shop.planned())) == {
        ("003", "truncated", "public.lines", 40),
        ("003", "truncated", "public.orders", 40),
    }


async def test_inserting_destroys_nothing_and_overwriting_does(shop: Shop) -> None:
    """A row that is added is no loss; one that is overwritten on conflict is."""
    shop.write(v3="INSERT INTO orders VALUES (99, 'x')")
    assert destroyed(await shop.planned()) == []
    shop.write(
        v3="INSERT INTO orders VALUES (1, 'x')"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state"
    )
    assert destroyed(await shop.planned()) == [
        ("003", "updated", "public.orders", None)
    ]


async def test_a_partitioned_table_stands_for_its_partitions(shop: Shop) -> None:
    """Its rows are those of its partitions, told once."""
    shop.also(
        "CREATE TABLE days (day int, note text) PARTITION BY LIST (day);"
        "CREATE TABLE days_1 PARTITION OF days FOR VALUES IN (1);"
        "CREATE TABLE days_2 PARTITION OF days FOR VALUES IN (2)"
    )
    run(shop.url, "INSERT INTO days VALUES (1, 'a'), (2, NULL), (2, 'b')")
    shop.write(v3="ALTER TABLE days DROP note")
    assert destroyed(await shop.planned()) == [("003", "column", "public.days.note", 2)]
    shop.write(v3="DROP TABLE days")
    assert destroyed(await shop.planned()) == [("003", "table", "public.days", 3)]
    shop.write(v3="UPDATE days SET note = ''")
    plan = await shop.planned()
    assert destroyed(plan) == [("003", "updated", "public.days", None)]


async def test_what_was_renamed_is_counted_by_its_name_of_now(shop: Shop) -> None:
    """A table that one script renames and the next one drops keeps its rows' number."""
    shop.write(v3="ALTER TABLE lines RENAME TO rows", v2="DROP TABLE rows")
    plan = await shop.planned("001")
    assert destroyed(plan) == [("002", "table", "public.rows", 40)]
    assert [lock.table for lock in plan.locks] == ["public.lines", "public.orders"]


async def test_what_a_script_makes_and_the_next_takes_is_not_counted(
    shop: Shop,
) -> None:
    """It is destroyed too, and how much it holds is not known before."""
    shop.write(v3="ALTER TABLE orders ADD old text", v2="ALTER TABLE orders DROP old")
    plan = await shop.planned("001")
    assert destroyed(plan) == [("002", "column", "public.orders.old", None)]
    assert any("public.orders.old is not there yet" in note for note in plan.notes)


async def test_who_holds_a_lock_is_named_without_the_query(shop: Shop) -> None:
    """The session in the way is told with its age, and nothing of what it asked."""
    shop.write(v3="ALTER TABLE lines DROP note")
    with psycopg.connect(shop.url, application_name="reporter") as connection:
        connection.execute("SELECT note AS secret FROM lines")
        (lock,) = (await shop.planned()).locks
        (holder,) = lock.holders
        assert holder.pid == connection.info.backend_pid
    assert (holder.application, holder.state) == ("reporter", "idle in transaction")
    assert holder.seconds >= 0
    assert "secret" not in str(holder)


async def test_the_path_is_production_s_for_every_script(shop: Shop) -> None:
    """Names mean what they mean there, and no script finds another one's setting."""
    shop.also("CREATE SCHEMA apart; CREATE TABLE apart.old (id int)")
    shop.schemas = ("public", "apart")
    with psycopg.connect(shop.url, autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {shop.name} SET search_path = apart, public".encode()
        )
    shop.write(v3="SET search_path = nowhere;", v2="DROP TABLE old;")
    plan = await shop.planned("001")
    assert destroyed(plan) == [("002", "table", "apart.old", 0)]


async def test_columns_that_move_and_what_changes_are_noted(shop: Shop) -> None:
    """What is no loss and no difference is still told."""
    shop.write(
        v3="ALTER TABLE lines DROP note; ALTER TABLE lines ADD note text;"
        "ALTER TABLE lines ADD more int;"
        "ALTER TABLE orders ALTER state SET DEFAULT 'x'",
    )
    plan = await shop.planned()
    assert destroyed(plan) == [("003", "column", "public.lines.note", 10)]
    shown = " ".join(plan.notes)
    assert "column public.orders.state was [text] and is [text default 'x'" in shown


async def test_rows_that_take_too_long_to_count_are_told_as_such(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the time to count them, their number is unknown, and the plan says so."""
    monkeypatch.setattr(survey, "TOTAL_SECONDS", 0)
    shop.write(v3="DROP TABLE lines")
    plan = await shop.planned()
    assert destroyed(plan) == [("003", "table", "public.lines", None)]
    assert any("public.lines holds could not be counted" in note for note in plan.notes)


async def test_the_copy_of_production_does_as_well(
    shop: Shop, programs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a copy by pg_dump, the plan is the same one."""
    shop.write(
        v3="ALTER TABLE lines DROP note", v2="DROP TABLE lines; DROP TABLE orders"
    )
    expected = await shop.planned("001")
    programs = await Programs.find(programs_folder, 18)

    @asynccontextmanager
    async def copies(_: Shop) -> AsyncIterator[str]:
        async with scratch(shop.url) as copy:
            history = ("public", "schema_migrations")
            await copy_schema(programs, shop.url, copy, ("public",), history=history)
            yield copy

    monkeypatch.setattr(Shop, "copies", copies)
    assert await shop.planned("001") == expected
