"""Locks are had all together or let go of, and who is in the way is named."""

import anyio
import psycopg
import pytest

from rollback.errors import LockNotTaken, NotAsPlanned
from rollback.schema import SchemaPlan
from rollback.targets.database import locks

from .applying import carry_out, history, hold, plan, script, sql, versions

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SCRIPTS = (script("2", "DROP TABLE b; ALTER TABLE a DROP COLUMN x;"),)
DESTROYS = (("2", "table", "public.b"), ("2", "column", "public.a.x"))
LOCKED = ("public.b", "public.a")
WANTED = plan(SCRIPTS, DESTROYS, to="1", lock=LOCKED)


@pytest.fixture
def tables(database: str) -> str:
    """Two tables with a value each."""
    history(database, "1", "2")
    sql(
        database,
        "CREATE TABLE a (id int PRIMARY KEY, x int)",
        "CREATE TABLE b (id int PRIMARY KEY, x int)",
        "INSERT INTO a VALUES (1, 1)",
        "INSERT INTO b VALUES (1, 1)",
    )
    return database


async def test_a_lock_that_is_not_to_be_had_is_told(tables: str) -> None:
    """After the last attempt its holder is named, and all is as before."""
    waits: list[str] = []
    with hold(tables, "SELECT * FROM b") as pid, pytest.raises(LockNotTaken) as told:
        await carry_out(
            tables, WANTED, attempts=2, lock_timeout_ms=50, notice=waits.append
        )
    assert "public.b was not to be had in 2 attempts" in str(told.value)
    assert f"session {pid} (a colleague, idle in transaction)" in str(told.value)
    assert sum("waiting for public.b" in each for each in waits) == 2
    assert versions(tables) == ("1", "2")
    assert sql(tables, "SELECT * FROM a, b") == [(1, 1, 1, 1)]


async def test_a_lock_that_is_let_go_of_is_had(tables: str) -> None:
    """The whole transaction is tried again, and what was written meanwhile is kept."""
    with psycopg.connect(tables) as colleague:
        colleague.execute("UPDATE b SET x = 7")

        def let_go(said: str) -> None:
            if said.startswith("waiting"):
                colleague.commit()

        receipt = await carry_out(tables, WANTED, lock_timeout_ms=50, notice=let_go)
    assert receipt.attempts == 2
    assert receipt.waited >= 0.05
    (kept,) = (one.table for one in receipt.archived if one.kind == "table")
    assert sql(tables, f"SELECT x FROM rollback.{kept}") == [("7",)]  # noqa: S608 - ours


async def test_nobody_waits_behind_a_lock_for_long(tables: str) -> None:
    """While one table's lock is not to be had, the lock of the other is let go of."""
    read: list[float] = []

    async def reader(scope: anyio.CancelScope) -> None:
        connection = await psycopg.AsyncConnection.connect(tables, autocommit=True)
        async with connection:
            with scope:
                while True:
                    began = anyio.current_time()
                    with anyio.CancelScope(shield=True):
                        await connection.execute("SELECT * FROM a")
                    read.append(anyio.current_time() - began)
                    await anyio.sleep(0.001)

    scope = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader, scope)
        with hold(tables, "SELECT * FROM b"), pytest.raises(LockNotTaken):
            await carry_out(tables, WANTED, attempts=3, lock_timeout_ms=100)
        before = len(read)
        with anyio.fail_after(20):
            while len(read) < before + 5:  # noqa: ASYNC110 - a count in another task
                await anyio.sleep(0.01)
        scope.cancel()
    assert len(read) > 5


async def test_locks_are_taken_in_one_order(tables: str) -> None:
    """By name, and views before the tables that their readers lock after them."""
    sql(
        tables,
        "CREATE VIEW z AS SELECT a.x FROM a",
        "CREATE VIEW y AS SELECT x FROM z",
    )
    async with await psycopg.AsyncConnection.connect(
        tables, row_factory=psycopg.rows.dict_row
    ) as connection:
        wanted = ("public.b", "public.z", "public.a", "public.y")
        found = await locks.ordered(
            connection, [(name, "AccessExclusiveLock") for name in wanted]
        )
        assert [relation.qualified for relation, _ in found] == [
            "public.y",
            "public.z",
            "public.a",
            "public.b",
        ]


async def test_a_view_is_locked_alone(tables: str) -> None:
    """Dropping a view lets the writers of its tables go on."""
    sql(tables, "CREATE VIEW v AS SELECT x FROM a")
    async with await psycopg.AsyncConnection.connect(
        tables, row_factory=psycopg.rows.dict_row
    ) as connection:
        await locks.take(
            connection, [("public.v", "AccessExclusiveLock")], lock_timeout_ms=1000
        )
        cursor = await connection.execute(
            "SELECT relation::regclass::text AS name FROM pg_locks"
            " WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock'"
            " AND relation = ANY ('{a,v}'::regclass[])"
        )
        assert [row["name"] for row in await cursor.fetchall()] == ["v"]


async def test_what_commits_before_the_lock_is_kept(tables: str) -> None:
    """A database whose transactions see only what was there at their begin too."""
    name = psycopg.conninfo.conninfo_to_dict(tables)["dbname"]
    sql(
        tables,
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'",
    )
    with psycopg.connect(tables) as colleague:
        colleague.execute("UPDATE a SET x = 7")
        async with anyio.create_task_group() as tasks:

            async def let_go() -> None:
                with anyio.fail_after(20):
                    while not sql(  # noqa: ASYNC110 - in another process
                        tables,
                        "SELECT pid FROM pg_locks"
                        " WHERE relation = 'a'::regclass AND NOT granted",
                    ):
                        await anyio.sleep(0.02)
                colleague.commit()

            tasks.start_soon(let_go)
            receipt = await carry_out(tables, WANTED, lock_timeout_ms=30_000)
    (kept,) = (one.table for one in receipt.archived if one.kind == "column")
    assert sql(tables, f"SELECT x FROM rollback.{kept}") == [("7",)]  # noqa: S608 - ours


async def test_locks_are_held_no_longer_than_the_limit(tables: str) -> None:
    """The transaction ends itself, all is as before, and the seconds are named."""
    text = "ALTER TABLE a DROP x; SELECT pg_sleep(30);"
    wanted = plan((script("2", text),), [DESTROYS[1]], to="1", lock=LOCKED)
    with (
        anyio.fail_after(20),
        pytest.raises(NotAsPlanned, match=r"for 0\.5 s.*[Nn]othing was changed"),
    ):
        await carry_out(tables, wanted, stall_limit_seconds=0.5)
    assert versions(tables) == ("1", "2")
    assert sql(tables, "SELECT x FROM a") == [(1,)]


async def test_many_short_statements_are_held_to_the_limit_too(tables: str) -> None:
    """What is left of it gets less from statement to statement, and from script on."""
    scripts = tuple(
        script(str(n), f"SELECT pg_sleep(0.4); COMMENT ON TABLE a IS '{n}'")
        for n in range(9, 1, -1)
    )
    history(tables, *(str(n) for n in range(3, 10)))
    with pytest.raises(NotAsPlanned, match=r"for 1 s"):
        await carry_out(tables, plan(scripts, to="1"), stall_limit_seconds=1)
    assert len(versions(tables)) == 9


async def test_a_stall_that_was_accepted_has_its_own_limit(tables: str) -> None:
    """Three times what the plan estimates, and said to be over the limit."""
    text = "ALTER TABLE a DROP x; SELECT pg_sleep(0.4);"
    wanted = plan(
        (script("2", text),), [DESTROYS[1]], to="1", lock=LOCKED, stall_seconds=20.0
    )
    receipt = await carry_out(tables, wanted, stall_limit_seconds=0.2)
    assert receipt.stalled >= 0.4


async def locked_by(url: str, wanted: SchemaPlan) -> dict[str, str]:
    """The strongest lock on each table of the application while a script runs."""
    seen: list[tuple[str, str]] = []

    def look(said: str) -> None:
        if said.startswith("rolling back"):
            seen.extend(
                sql(
                    url,
                    "SELECT relation::regclass::text, mode FROM pg_locks l"
                    " JOIN pg_class c ON c.oid = relation JOIN pg_stat_activity a"
                    " USING (pid) WHERE relkind = 'r' AND granted"
                    " AND application_name = 'rollback' AND l.pid <> pg_backend_pid()"
                    " AND relnamespace = 'public'::regnamespace"
                    " AND mode LIKE '%Exclusive%'",
                )
            )

    await carry_out(url, wanted, notice=look)
    return dict(seen)


async def test_an_update_locks_what_it_writes_and_nothing_else(tables: str) -> None:
    """Rows that only a DELETE would take along are not locked for an UPDATE."""
    sql(
        tables,
        "CREATE TABLE c (a int REFERENCES a ON DELETE CASCADE)",
        "CREATE TABLE d (a int REFERENCES a ON UPDATE CASCADE)",
    )
    text = "UPDATE a SET x = 7"
    wanted = plan((script("2", text),), [("2", "updated", "public.a")], to="1")
    assert await locked_by(tables, wanted) == {
        "a": "AccessExclusiveLock",
        "schema_migrations": "ShareRowExclusiveLock",
    }


async def test_what_a_foreign_key_takes_along_is_locked_and_said(tables: str) -> None:
    """By a DELETE, and by an UPDATE that names the key; more than the plan is told."""
    sql(
        tables,
        "CREATE TABLE c (a int REFERENCES a ON DELETE CASCADE)",
        "CREATE TABLE d (a int REFERENCES a ON UPDATE CASCADE)",
        "INSERT INTO d VALUES (1)",
    )
    said: list[str] = []
    destroys = [("2", "updated", "public.a"), ("2", "updated", "public.d")]
    wanted = plan((script("2", "UPDATE a SET id = 3"),), destroys, to="1")
    receipt = await carry_out(tables, wanted, notice=said.append)
    assert {(one.object, one.rows) for one in receipt.archived} == {
        ("public.a", 1),
        ("public.d", 1),
    }
    (more,) = (line for line in said if line.startswith("locking"))
    assert "public.d" in more
    assert "public.c" not in more
    deleted = plan(
        (script("1", "DELETE FROM a"),), [("1", "deleted", "public.a")], to="0"
    )
    sql(tables, "DELETE FROM d")
    await carry_out(tables, deleted, notice=said.append, incident="2")
    assert "public.c" in [line for line in said if line.startswith("locking")][-1]
