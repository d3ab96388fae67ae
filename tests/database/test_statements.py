"""What cannot be in a transaction is journaled, and goes on where it stopped."""

import pytest

from rollback.errors import SchemaRefused, StepFailed

from .applying import carry_out, history, plan, script, sql, versions

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

FIRST = "-- rollback: no-transaction\n"
SCRIPT = script(
    "2",
    """-- rollback: no-transaction
DROP INDEX CONCURRENTLY by_x;
ALTER TABLE log ADD COLUMN a int DEFAULT 1;
CREATE UNIQUE INDEX CONCURRENTLY once ON t (x);
ALTER TABLE log ADD COLUMN b int DEFAULT 10;
""",
)
WANTED = plan((SCRIPT,), to="1")


@pytest.fixture
def indexed(database: str) -> str:
    """A table with an index, and a second one that counts."""
    history(database, "1", "2", "3")
    sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, x int)",
        "CREATE INDEX by_x ON t (x)",
        "CREATE TABLE gone (id int)",
        "INSERT INTO gone VALUES (1)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        "CREATE TABLE log (n int)",
        "INSERT INTO log VALUES (0)",
    )
    return database


def indexes(url: str) -> list[tuple[str, bool]]:
    """The indexes of the table that are no key, and whether they can be used."""
    return sql(
        url,
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index"
        " WHERE indrelid = 't'::regclass AND NOT indisprimary",
    )


async def test_statements_without_a_transaction_are_done(indexed: str) -> None:
    """Each once, in order; the version leaves the history; the receipt says apart."""
    sql(indexed, "DELETE FROM schema_migrations WHERE version = '3'")
    receipt = await carry_out(indexed, WANTED)
    assert receipt.apart == ("2",)
    assert versions(indexed) == ("1",)
    assert indexes(indexed) == [("once", True)]
    assert sql(indexed, "SELECT n, a, b FROM log") == [(0, 1, 10)]


async def test_a_second_run_goes_on_where_it_stopped(indexed: str) -> None:
    """What was done is not done again, and the invalid index of the failure goes."""
    sql(
        indexed,
        "DELETE FROM schema_migrations WHERE version = '3'",
        "UPDATE t SET x = 1",
    )
    with pytest.raises(StepFailed, match=r"could not create unique.*stopped at line 4"):
        await carry_out(indexed, WANTED)
    assert versions(indexed) == ("1", "2")
    assert indexes(indexed) == [("once", False)]
    sql(indexed, "UPDATE t SET x = id")
    said: list[str] = []
    await carry_out(indexed, WANTED, notice=said.append)
    assert any(line.startswith("dropping once") for line in said)
    assert indexes(indexed) == [("once", True)]
    assert sql(indexed, "SELECT n, a, b FROM log") == [(0, 1, 10)]
    assert versions(indexed) == ("1",)


async def test_what_was_done_and_not_written_down_is_not_asked_for_again(
    indexed: str,
) -> None:
    """An index that went before the journal could say so is gone, and it goes on."""
    sql(indexed, "DELETE FROM schema_migrations WHERE version = '3'")
    sql(indexed, "UPDATE t SET x = 1")
    with pytest.raises(StepFailed):
        await carry_out(indexed, WANTED)
    sql(
        indexed,
        "UPDATE t SET x = id",
        "UPDATE rollback.statements SET ended_at = NULL WHERE number = 1",
    )
    await carry_out(indexed, WANTED)
    assert versions(indexed) == ("1",)


async def test_others_are_committed_before_and_after_it(indexed: str) -> None:
    """Three scripts, the one in the middle apart: each keeps its order."""
    scripts = (
        script("3", "DROP TABLE gone;"),
        SCRIPT,
        script("1", "ALTER TABLE t DROP COLUMN x;"),
    )
    with_column = [("1", "column", "public.t.x"), ("1", "index", "public.once")]
    wanted = plan(scripts, [("3", "table", "public.gone"), *with_column])
    sql(indexed, "UPDATE t SET x = 1")
    with pytest.raises(StepFailed, match="3 were rolled back and committed, and then"):
        await carry_out(indexed, wanted)
    assert versions(indexed) == ("1", "2")
    sql(indexed, "UPDATE t SET x = id")
    rest = plan(scripts[1:], with_column)
    receipt = await carry_out(indexed, rest)
    assert (receipt.versions, receipt.apart) == (("2", "1"), ("2",))
    assert versions(indexed) == ()


async def test_values_do_not_go_without_a_transaction(indexed: str) -> None:
    """Where they could not be kept in the transaction that destroys, it is refused."""
    text = f"{FIRST}DROP INDEX CONCURRENTLY by_x; DROP TABLE gone;"
    wanted = plan((script("3", text),), [("3", "table", "public.gone")], to="2")
    with pytest.raises(SchemaRefused, match="its values could not be kept"):
        await carry_out(indexed, wanted)
    assert indexes(indexed) == [("by_x", True)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("DO $$ BEGIN DELETE FROM gone; END $$", "DO"),
        ("CALL p()", "CALL"),
        ("SELECT f()", "SELECT"),
        ("(SELECT f())", "SELECT"),
        ("WITH a AS (DELETE FROM gone RETURNING *) SELECT 1", "WITH"),
        ("DELETE FROM gone", "DELETE"),
        ("UPDATE gone SET id = 2", "UPDATE"),
        ("INSERT INTO gone VALUES (2)", "INSERT"),
        ("TRUNCATE gone", "TRUNCATE"),
        ("EXPLAIN ANALYZE DELETE FROM gone", "EXPLAIN"),
    ],
)
async def test_rows_are_written_in_a_transaction_alone(
    indexed: str, text: str, word: str
) -> None:
    """What can write rows, and so lose them, is refused before anything is done."""
    whole = f"{FIRST}DROP INDEX CONCURRENTLY by_x;\n{text};"
    wanted = plan((script("3", whole),), to="2")
    with pytest.raises(SchemaRefused, match=rf"line 3 .*\b{word}\b.*no transaction"):
        await carry_out(indexed, wanted)
    assert indexes(indexed) == [("by_x", True)]
    assert sql(indexed, "SELECT id FROM gone") == [(1,)]
    assert versions(indexed) == ("1", "2", "3")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("ALTER TABLE gone ADD y int DEFAULT lose()", "3 rows of public.gone were"),
        ("CREATE TABLE n AS SELECT lose()", "3 rows of public.gone were changed"),
        ("ALTER TABLE gone DROP COLUMN id", "column public.gone.id was dropped"),
        ("DROP TABLE gone", "table public.gone was dropped"),
    ],
)
async def test_what_ddl_destroys_without_a_plan_is_taken_back(
    indexed: str, text: str, match: str
) -> None:
    """Each statement is measured in its transaction, and is not done when it loses."""
    sql(
        indexed,
        "INSERT INTO gone VALUES (2), (3)",
        "CREATE FUNCTION lose() RETURNS int LANGUAGE plpgsql AS"
        " 'BEGIN DELETE FROM gone; RETURN 1; END'",
    )
    if "DEFAULT" in text:
        sql(indexed, "CREATE TABLE other (id int)", "INSERT INTO other VALUES (1)")
        text = text.replace("TABLE gone", "TABLE other")
    whole = f"{FIRST}DROP INDEX CONCURRENTLY by_x;\n{text};"
    wanted = plan((script("3", whole),), to="2")
    with pytest.raises(StepFailed, match=match):
        await carry_out(indexed, wanted)
    assert sql(indexed, "SELECT count(id) FROM gone") == [(3,)]
    assert versions(indexed) == ("1", "2", "3")
