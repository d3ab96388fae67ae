"""What was archived comes back, value for value, and nothing newer is overwritten."""

import pytest

from rollback.errors import NothingArchived, SchemaRefused

from .applying import again, history, only, put_back, sql, take_back, values

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_a_newer_value_is_kept(database: str) -> None:
    """Only what is null, or the column's constant default, is filled."""
    history(database, "1", "2")
    sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, x text DEFAULT 'none')",
        "INSERT INTO t SELECT i, 'old ' || i FROM generate_series(1, 5) i",
    )
    await take_back(database, "ALTER TABLE t DROP x", ("column", "public.t.x"))
    again(
        database,
        "ALTER TABLE t ADD x text DEFAULT 'none'",
        "UPDATE t SET x = NULL WHERE id = 2",
    )
    sql(
        database,
        "UPDATE t SET x = 'newer' WHERE id = 1",
        "UPDATE t SET x = 'old 3' WHERE id = 3",
        "DELETE FROM t WHERE id = 4",
    )
    one = await only(database)
    assert (one.put_back, one.already, one.newer_kept) == (2, 1, 1)
    assert [(left.rows, left.keys) for left in one.left] == [(1, ("4",))]
    after = [(1, "newer"), (2, "old 2"), (3, "old 3"), (5, "old 5")]
    assert sql(database, "SELECT * FROM t ORDER BY id") == after
    repeated = await only(database)
    assert repeated.put_back == 0


async def test_a_default_that_somebody_chose_since_is_kept(database: str) -> None:
    """A row that was written since is left alone, and the report says where to look."""
    history(database, "1", "2")
    sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, news boolean, x int DEFAULT 5)",
        "INSERT INTO t VALUES (1, false, 1), (2, false, 2), (3, true, 3)",
    )
    both = ("column", "public.t.news"), ("column", "public.t.x")
    await take_back(database, "ALTER TABLE t DROP news, DROP x", *both)
    made = "ALTER TABLE t ADD news boolean DEFAULT true, ADD x int DEFAULT 5"
    again(database, made)
    sql(database, "UPDATE t SET news = true, x = NULL WHERE id = 1")
    refilled = await put_back(database, "2")
    counts = {o.object: (o.put_back, o.already, o.newer_kept) for o in refilled.objects}
    # Putting back the one column has not made the row newer for the other.
    assert counts == {"public.t.news": (1, 1, 1), "public.t.x": (2, 0, 1)}
    after = [(1, True, None), (2, False, 2), (3, True, 3)]
    assert sql(database, "SELECT id, news, x FROM t ORDER BY id") == after
    assert any("were written since 2 was applied again" in n for n in refilled.notes)


async def test_what_a_refill_wrote_is_not_newer(database: str) -> None:
    """A second refill goes on where the first one had to leave values."""
    history(database, "1", "2")
    sql(database, "CREATE TABLE t (id int PRIMARY KEY, x int, y int)")
    sql(database, "INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)")
    both = ("column", "public.t.x"), ("column", "public.t.y")
    await take_back(database, "ALTER TABLE t DROP x, DROP y", *both)
    again(database, "ALTER TABLE t ADD x int, ADD y int CHECK (y > 9)")
    first = await put_back(database, "2")
    assert [one.put_back for one in first.objects] == [2, 0]
    sql(database, "ALTER TABLE t DROP CONSTRAINT t_y_check")
    second = await put_back(database, "2")
    assert [one.put_back for one in second.objects] == [0, 2]
    assert sql(database, "SELECT * FROM t ORDER BY 1") == [(1, 1, 1), (2, 2, 2)]


async def test_rows_without_a_key_that_are_gone_are_said_to_be(database: str) -> None:
    """One row was deleted and one was changed: that is one of each, by name."""
    history(database, "1", "2")
    rows = "('a', 1), ('b', 2), ('c', 3)"
    sql(database, "CREATE TABLE t (k text, x int)", f"INSERT INTO t VALUES {rows}")  # noqa: S608 - ours
    await take_back(database, "ALTER TABLE t DROP x", ("column", "public.t.x"))
    again(database, "ALTER TABLE t ADD x int")
    sql(database, "DELETE FROM t WHERE k = 'a'", "UPDATE t SET x = 9 WHERE k = 'b'")
    one = await only(database)
    assert (one.put_back, one.newer_kept) == (1, 1)
    assert [(left.rows, left.keys) for left in one.left] == [(1, ("a",))]
    assert sql(database, "SELECT left_over FROM rollback.archives") == [(1,)]


async def test_changed_rows_without_a_key_that_are_gone_are_named(
    database: str,
) -> None:
    """Of two rows that were made the same, the one that is there goes back."""
    history(database, "1", "2")
    sql(database, "CREATE TABLE t (k text, x int)")
    sql(database, "INSERT INTO t VALUES ('a', 1), ('a', 2)")
    await take_back(database, "UPDATE t SET x = 0", ("updated", "public.t"))
    sql(database, "DELETE FROM t WHERE ctid IN (SELECT ctid FROM t LIMIT 1)")
    one = await only(database)
    assert (one.put_back, one.newer_kept) == (1, 0)
    assert [left.rows for left in one.left] == [1]


async def test_a_refill_that_ended_is_not_repeated(database: str) -> None:
    """What the application sets to null after a refill stays null."""
    history(database, "1", "2")
    sql(database, "CREATE TABLE t (id int PRIMARY KEY, x int)")
    sql(database, "INSERT INTO t VALUES (1, 1), (2, 2)")
    await take_back(database, "ALTER TABLE t DROP x", ("column", "public.t.x"))
    sql(database, "ALTER TABLE t ADD x int")
    assert (await only(database)).put_back == 2
    sql(database, "UPDATE t SET x = NULL WHERE id = 1")
    repeated = await only(database)
    assert (repeated.put_back, repeated.already) == (0, 2)
    assert sql(database, "SELECT x FROM t ORDER BY id") == [(None,), (2,)]


async def test_changed_rows_go_back_where_nobody_changed_them(database: str) -> None:
    """Deleted, truncated and updated rows, in the reverse of what the script did."""
    history(database, "1", "2")
    sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, x text)",
        "CREATE TABLE p (id int, x text) PARTITION BY LIST (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)",
        "INSERT INTO t SELECT i, 'x' || i FROM generate_series(1, 9) i",
        "INSERT INTO p VALUES (1, 'same'), (1, 'same'), (2, NULL)",
    )
    before = values(database, "t"), values(database, "p")
    await take_back(
        database,
        "UPDATE t SET x = x || '!'; UPDATE t SET id = id + 10 WHERE id < 4;"
        "DELETE FROM t WHERE id IN (5, 11); UPDATE p SET id = 2; TRUNCATE p;",
        ("updated", "public.t"),
        ("deleted", "public.t"),
        ("updated", "public.p"),
        ("truncated", "public.p"),
    )
    await put_back(database, "2")
    assert (values(database, "t"), values(database, "p")) == before


async def test_an_updated_row_that_was_written_since_stays(database: str) -> None:
    """Its value is the application's now."""
    history(database, "1", "2")
    sql(database, "CREATE TABLE t (id int PRIMARY KEY, x int)")
    sql(database, "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
    await take_back(database, "UPDATE t SET x = 0", ("updated", "public.t"))
    sql(database, "UPDATE t SET x = 9 WHERE id = 2", "DELETE FROM t WHERE id = 3")
    one = await only(database)
    assert (one.put_back, one.newer_kept, one.left[0].keys) == (1, 1, ("3",))
    assert sql(database, "SELECT * FROM t ORDER BY id") == [(1, 1), (2, 9)]


async def test_a_converted_column_comes_back(database: str) -> None:
    """A value that the script cut is whole again, unless it was written since."""
    history(database, "1", "2")
    sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, x text)",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, NULL)",
    )
    text = "ALTER TABLE t ALTER x TYPE varchar(2) USING left(x, 2)"
    await take_back(database, text, ("column", "public.t.x"))
    sql(database, "ALTER TABLE t ALTER x TYPE text", "UPDATE t SET x = 'n' WHERE id=2")
    one = await only(database)
    assert (one.put_back, one.newer_kept) == (2, 1)
    after = [(1, "one"), (2, "n"), (3, "three"), (4, None)]
    assert sql(database, "SELECT * FROM t ORDER BY id") == after


async def test_rows_that_cannot_go_back_are_named(database: str) -> None:
    """One that violates a key or a check now keeps none of the others out."""
    history(database, "1", "2")
    make = (
        "CREATE TABLE c (id int PRIMARY KEY, boss int REFERENCES c, parent int"
        " REFERENCES p, x int UNIQUE CHECK (x > 0))"
    )
    sql(
        database,
        "CREATE TABLE p (id int PRIMARY KEY)",
        "INSERT INTO p SELECT generate_series(1, 9)",
        make,
        "INSERT INTO c SELECT i, nullif(i / 2, 0), i % 9 + 1, i"
        " FROM generate_series(1, 40) i",
    )
    await take_back(database, "DROP TABLE c", ("table", "public.c"))
    sql(
        database,
        make.replace("x > 0", "x <> 20"),
        "INSERT INTO c VALUES (1000, NULL, 1, 30), (7, NULL, 1, 1001)",
        "DELETE FROM p WHERE id = 9",
    )
    one = await only(database)
    reasons = {left.reason.split('"')[-2]: set(left.keys) for left in one.left}
    assert one.newer_kept == 1
    assert reasons["c_x_check"] == {"20"}
    assert reasons["c_x_key"] == {"30"}
    lost = {str(i) for i in range(1, 41) if i % 9 == 8} | {"20", "30"}
    lost |= {str(i) for i in range(1, 41) if lost & {str(i >> n) for n in range(7)}}
    assert one.put_back == 40 - 1 - len(lost)
    assert sum(left.rows for left in one.left) == len(lost)
    sql(database, "INSERT INTO p VALUES (9)", "DELETE FROM c WHERE id = 1000")
    repeated = await only(database)
    assert sum(left.rows for left in repeated.left) == 2
    assert sql(database, "SELECT count(*) FROM c") == [(38,)]


async def test_values_without_a_key_come_back(database: str) -> None:
    """Where all columns are the key, rows that are the same share what was theirs."""
    history(database, "1", "2")
    rows = "('a', 1), ('a', 1), ('a', 2), ('a', NULL), (NULL, 3), ('b', NULL)"
    sql(database, "CREATE TABLE t (k text, x int)", f"INSERT INTO t VALUES {rows}")  # noqa: S608 - ours
    before = values(database, "t")
    await take_back(database, "ALTER TABLE t DROP x", ("column", "public.t.x"))
    sql(database, "ALTER TABLE t ADD x int")
    assert (await only(database)).put_back == 4
    assert values(database, "t") == before


async def test_the_version_has_to_be_applied(database: str) -> None:
    """Before its migration is there again there is nowhere to put values."""
    history(database, "1", "2")
    sql(database, "CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
    with pytest.raises(NothingArchived):
        await put_back(database, "2")
    await take_back(database, "DROP TABLE t", ("table", "public.t"))
    sql(database, "DELETE FROM schema_migrations WHERE version = '2'")
    with pytest.raises(SchemaRefused, match="2 is not applied"):
        await put_back(database, "2")


async def test_triggers_of_the_application_stay_silent(database: str) -> None:
    """What comes back is not written again; afterwards they speak as before."""
    history(database, "1", "2")
    sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, x text, at int DEFAULT 0)",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.at := NEW.at + 1; RETURN NEW; END'",
        "CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()",
        "INSERT INTO t VALUES (1, 'a')",
    )
    await take_back(database, "ALTER TABLE t DROP x", ("column", "public.t.x"))
    sql(database, "ALTER TABLE t ADD x text")
    await put_back(database, "2")
    assert sql(database, "SELECT x, at FROM t") == [("a", 0)]
    sql(database, "UPDATE t SET x = 'b'")
    assert sql(database, "SELECT x, at FROM t") == [("b", 1)]


async def test_cascaded_rows_come_back(database: str) -> None:
    """Rows that a foreign key deletes or empties along are kept like the others."""
    history(database, "1", "2")
    sql(
        database,
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE)",
        "CREATE TABLE n (id int PRIMARY KEY, p int REFERENCES p ON DELETE SET NULL)",
        "INSERT INTO p VALUES (1), (2)",
        "INSERT INTO c VALUES (1, 1), (2, 1), (3, 2)",
        "INSERT INTO n VALUES (1, 1), (2, 2)",
    )
    before = [values(database, table) for table in "pcn"]
    await take_back(database, "DELETE FROM p WHERE id = 1", ("deleted", "public.p"))
    assert [values(database, table) for table in "pcn"] != before
    await put_back(database, "2")
    assert [values(database, table) for table in "pcn"] == before
