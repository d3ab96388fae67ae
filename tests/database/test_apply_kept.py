"""What is kept is for its owner alone, and is kept in any database."""

import secrets

import pytest

from rollback.errors import NotAsPlanned

from .applying import again, carry_out, history, plan, put_back, script, sql, versions

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

COLUMN = [("2", "column", "public.t.x")]
DROP = plan((script("2", "ALTER TABLE t DROP x"),), COLUMN, to="1")


@pytest.fixture
def table(database: str) -> str:
    """A table with values."""
    history(database, "1", "2")
    sql(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, x text)",
        "INSERT INTO t VALUES (1, 'secret'), (2, 'hush')",
    )
    return database


async def test_archives_are_for_nobody_else(table: str) -> None:
    """Default privileges open neither the schema nor what is in it."""
    role = f"reader_{secrets.token_hex(4)}"
    sql(
        table,
        f"CREATE ROLE {role}",
        f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {role}, PUBLIC",
        f"ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO {role}",
        f"ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO {role}",
    )
    try:
        text = "ALTER TABLE t DROP x; DELETE FROM t WHERE id = 1"
        destroys = [*COLUMN, ("2", "deleted", "public.t")]
        await carry_out(table, plan((script("2", text),), destroys, to="1"))
        again(table, "ALTER TABLE t ADD x text")
        await put_back(table, "2")
        assert sql(table, "SELECT count(*) FROM rollback.archives") == [(2,)]
        opened = sql(
            table,
            "SELECT relname, a.grantee::regrole::text FROM pg_class c,"
            " aclexplode(relacl) a WHERE relnamespace = 'rollback'::regnamespace"
            " AND a.grantee <> relowner UNION ALL"
            " SELECT nspname, a.grantee::regrole::text FROM pg_namespace,"
            " aclexplode(nspacl) a WHERE nspname = 'rollback' AND grantee <> nspowner",
        )
        assert opened == []
    finally:
        sql(table, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_publication_of_all_tables_is_no_hindrance(table: str) -> None:
    """Archives have no key, and what is noted in them is an update all the same."""
    sql(table, "SET client_min_messages = error; CREATE PUBLICATION p FOR ALL TABLES")
    text = "ALTER TABLE t ALTER x TYPE varchar(2) USING left(x, 2)"
    receipt = await carry_out(table, plan((script("2", text),), COLUMN, to="1"))
    (one,) = receipt.archived
    kept = sql(table, f"SELECT x, rollback_written FROM rollback.{one.table}")  # noqa: S608 - ours
    assert sorted(kept) == [("hush", "hu"), ("secret", "se")]


async def test_an_attribute_that_goes_is_kept_with_its_column(table: str) -> None:
    """The column's type is the same one, and what it holds is not."""
    sql(
        table,
        "CREATE TYPE addr AS (a text, b text)",
        "ALTER TABLE t ADD home addr",
        "UPDATE t SET home = ('street', 'town')",
    )
    text = "ALTER TYPE addr DROP ATTRIBUTE b"
    attribute = ("2", "attribute", "public.addr.b")
    column = [("2", "column", "public.t.home"), attribute]
    with pytest.raises(NotAsPlanned, match=r"t\.home was dropped or converted"):
        await carry_out(
            table,
            plan(
                (script("2", f"DO $$ BEGIN EXECUTE '{text}'; END $$"),),
                [attribute],
                to="1",
            ),
        )
    receipt = await carry_out(table, plan((script("2", text),), column, to="1"))
    (one,) = receipt.archived
    kept = sql(table, f"SELECT DISTINCT home FROM rollback.{one.table}")  # noqa: S608 - ours
    assert kept == [("(street,town)",)]


async def test_a_materialized_view_is_kept_like_a_table(table: str) -> None:
    """Its rows may be of what is no longer there; one without any is none to keep."""
    sql(
        table,
        "CREATE MATERIALIZED VIEW m AS SELECT id, x FROM t",
        "CREATE MATERIALIZED VIEW n AS SELECT id FROM t WITH NO DATA",
        "DELETE FROM t",
    )
    views = [("2", "materialized view", f"public.{name}") for name in "mn"]
    text = "DROP MATERIALIZED VIEW m, n"
    with pytest.raises(NotAsPlanned, match=r"materialized view public\.m was dropped"):
        await carry_out(table, plan((script("2", text),), to="1"))
    receipt = await carry_out(table, plan((script("2", text),), views, to="1"))
    (one,) = receipt.archived
    assert (one.kind, one.rows) == ("materialized view", 2)
    again(table, "CREATE MATERIALIZED VIEW m AS SELECT id, x FROM t")
    refilled = await put_back(table, "2")
    assert "its own query fills" in refilled.objects[0].left[0].reason


async def test_a_history_that_another_one_took_the_place_of_is_seen(
    table: str,
) -> None:
    """A restore that swaps schemas meanwhile has made another database of it."""
    text = "ALTER TABLE t DROP x; COMMENT ON TABLE t IS 'going'"
    wanted = plan((script("2", text),), COLUMN, to="1")

    def swap(said: str) -> None:
        if said.startswith("rolling back"):
            sql(
                table,
                "ALTER SCHEMA public RENAME TO aside; CREATE SCHEMA public;"
                " CREATE TABLE public.schema_migrations (version text PRIMARY KEY);"
                " INSERT INTO public.schema_migrations VALUES ('1'), ('2');"
                " CREATE TABLE public.t (id int, x text)",
            )

    with pytest.raises(NotAsPlanned, match="another table"):
        await carry_out(table, wanted, notice=swap)
    assert versions(table) == ("1", "2")
    assert sql(table, "SELECT count(x) FROM aside.t") == [(2,)]
