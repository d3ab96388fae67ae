"""A rollback of the schema is done whole and as planned, or not at all."""

import pytest

from rollback.errors import BackupFailed, NotAsPlanned, SchemaBusy, SchemaRefused
from rollback.schema import Fingerprint, SchemaPlan
from rollback.targets.database import transaction
from rollback.targets.database.catalogue import read_catalogue
from rollback.transactions import Database

from . import applying
from .applying import carry_out, history, plan, script, sql, values, versions

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

DESTROYS = (
    ("3", "column", "public.guests.wish"),
    ("2", "table", "public.gifts"),
    ("1", "deleted", "public.guests"),
    ("1", "updated", "public.guests"),
)
SCRIPTS = (
    script("3", "ALTER TABLE guests DROP COLUMN wish;"),
    script("2", "DROP TABLE gifts;"),
    script(
        "1",
        "DELETE FROM guests WHERE id > 90;\n"
        "UPDATE guests SET name = upper(name) WHERE id <= 10;",
    ),
)
LOCKED = ("public.guests", "public.gifts")


@pytest.fixture
def shop(database: str) -> str:
    """Three versions of a schema, with values."""
    history(database, "1", "2", "3")
    sql(
        database,
        "CREATE TABLE guests (id int PRIMARY KEY, name text, wish text)",
        "CREATE TABLE gifts (id int PRIMARY KEY, price numeric)",
        "INSERT INTO guests SELECT i, 'guest ' || i, md5(i::text)"
        " FROM generate_series(1, 100) i",
        "INSERT INTO gifts SELECT i, i / 7.0 FROM generate_series(1, 50) i",
    )
    return database


def state(url: str) -> tuple[object, ...]:
    """All that a rollback could change."""
    objects = sql(
        url,
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = relnamespace LEFT JOIN pg_attribute a ON attrelid = c.oid AND"
        " attnum > 0 AND NOT attisdropped"
        " WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
        " ORDER BY 1, 2",
    )
    return objects, versions(url), values(url, "guests"), values(url, "gifts")


async def refused(url: str, wanted: SchemaPlan, match: str) -> None:
    """It is not as planned, and nothing at all was changed."""
    before = state(url)
    with pytest.raises(NotAsPlanned, match=match):
        await carry_out(url, wanted)
    assert state(url) == before


async def test_three_versions_go_back_at_once(shop: str) -> None:
    """Schema, history, archive and receipt are there together."""
    wanted = plan(SCRIPTS, DESTROYS, lock=LOCKED)
    receipt = await carry_out(shop, wanted)
    assert receipt.versions == ("3", "2", "1")
    assert versions(shop) == ()
    assert [(d.version, d.kind, d.rows) for d in receipt.destroyed] == [
        ("3", "column", 100),
        ("2", "table", 50),
        ("1", "deleted", 10),
        ("1", "updated", 10),
    ]
    assert [one.rows for one in receipt.archived] == [100, 50, 10, 10]
    ((kept,),) = sql(shop, "SELECT document->>'plan_sha256' FROM rollback.receipts")
    assert kept == receipt.plan_sha256 == wanted.sha256
    assert 0 < receipt.stalled <= receipt.total
    assert sql(shop, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == [(0,)]


async def test_what_has_committed_is_not_done_again(shop: str) -> None:
    """A second run of the same rollback gives the receipt of the first one."""
    wanted = plan(SCRIPTS, DESTROYS, lock=LOCKED)
    first = await carry_out(shop, wanted)
    again = await carry_out(shop, wanted)
    assert again.archived == first.archived
    assert again.committed_at == first.committed_at


async def test_a_script_that_fails_takes_back_the_others(shop: str) -> None:
    """It is named, and the versions before it are as they were."""
    before = state(shop)
    wanted = plan((*SCRIPTS[:2], script("1", "DROP TABLE nowhere;")), DESTROYS[:2])
    with pytest.raises(SchemaRefused, match=r"rollback_1\.sql failed: table .nowhere"):
        await carry_out(shop, wanted)
    assert state(shop) == before


@pytest.mark.parametrize(
    "text",
    [
        "COMMIT; DROP TABLE nowhere;",
        "DO $$ BEGIN DROP TABLE gifts; COMMIT; END $$;",
        "SAVEPOINT here; ROLLBACK TO here; COMMIT;",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'; CALL p();",
    ],
)
async def test_a_script_cannot_commit(shop: str, text: str) -> None:
    """The server itself refuses it, and nothing before it is committed."""
    before = state(shop)
    wanted = plan((SCRIPTS[0], script("2", text)), DESTROYS[:1], to="1")
    with pytest.raises(SchemaRefused, match=r"rollback_2\.sql failed"):
        await carry_out(shop, wanted)
    assert state(shop) == before


async def test_settings_of_a_script_end_with_it(shop: str) -> None:
    """The next one has the search path, role and lock_timeout of a fresh session."""
    sql(shop, "CREATE SCHEMA elsewhere")
    spoils = "SET search_path = elsewhere; SET lock_timeout = 0; SET ROLE pg_monitor;"
    looks = (
        "DO $$ BEGIN ASSERT current_setting('search_path') LIKE '%public%';"
        " ASSERT current_setting('lock_timeout') = '2s';"
        " ASSERT current_user = session_user; END $$; DROP TABLE gifts;"
    )
    wanted = plan((script("3", spoils), script("2", looks)), DESTROYS[1:2], to="1")
    assert (await carry_out(shop, wanted)).versions == ("3", "2")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("DO $$ BEGIN EXECUTE 'DROP TABLE gifts'; END $$", "gifts was dropped"),
        ("ALTER TABLE guests DROP wish", "column public.guests.wish was dropped"),
        (
            "ALTER TABLE guests ALTER name TYPE char(2) USING left(name, 2)",
            "guests.name was dropped or converted",
        ),
        ("TRUNCATE gifts", "gifts was emptied"),
        ("TRUNCATE gifts; INSERT INTO gifts VALUES (1, 2)", "gifts was emptied"),
        ("DELETE FROM gifts WHERE id = 1", "1 rows of public.gifts were changed"),
        ("UPDATE gifts SET price = 0", "50 rows of public.gifts were changed"),
        ("DROP TABLE gifts; CREATE TABLE gifts (id int)", "gifts was dropped"),
        ("DROP INDEX by_name", "index public.by_name was dropped"),
    ],
)
async def test_nothing_goes_that_was_not_planned(
    shop: str, text: str, match: str
) -> None:
    """Whatever is destroyed beside the plan is measured, named and taken back."""
    sql(shop, "CREATE INDEX by_name ON guests (name)")
    await refused(shop, plan((script("3", text),), to="2"), match)


async def test_what_was_planned_has_to_be_done(shop: str) -> None:
    """A script that leaves standing what it was to drop is not the one planned for."""
    text = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM gifts) THEN DROP TABLE gifts; "
    wanted = plan(
        (script("3", f"{text} END IF; END $$"),),
        [("3", "table", "public.gifts")],
        to="2",
    )
    await refused(shop, wanted, r"gifts was to be dropped, and is still there")


async def test_no_archive_no_commit(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where keeping is left out, nothing may go."""

    async def nothing(*_: object, **__: object) -> tuple[()]:
        return ()

    monkeypatch.setattr(transaction, "archive", nothing)
    await refused(shop, plan(SCRIPTS, DESTROYS), "public.gifts was dropped, which")


async def test_triggers_cannot_be_switched_off(shop: str) -> None:
    """A script that does has changed rows of which nobody knows."""
    text = "ALTER TABLE gifts DISABLE TRIGGER USER; DELETE FROM gifts WHERE id < 4;"
    wanted = plan((script("3", text),), [("3", "deleted", "public.gifts")], to="2")
    await refused(shop, wanted, "switched off the triggers of public.gifts")


async def test_rows_that_the_triggers_missed_are_found(shop: str) -> None:
    """What was kept has to be as many rows as the server counted itself."""
    text = "ALTER TABLE gifts DISABLE TRIGGER USER; DELETE FROM gifts WHERE id < 4;"
    again = (
        "DO $$ DECLARE t record; BEGIN FOR t IN SELECT tgname FROM pg_trigger WHERE"
        " tgrelid = 'gifts'::regclass LOOP EXECUTE format("
        "'ALTER TABLE gifts ENABLE ALWAYS TRIGGER %I', t.tgname); END LOOP; END $$"
    )
    scripts = (script("3", text + again),)
    wanted = plan(scripts, [("3", "deleted", "public.gifts")], to="2")
    await refused(shop, wanted, "3 rows of public.gifts were changed, and 0 were kept")


async def test_the_schema_has_to_be_the_recorded_one(shop: str) -> None:
    """What differs from the fingerprint is listed, and nothing is committed."""
    catalogue = await Database(shop, statement_timeout_seconds=20).transaction(
        lambda connection: read_catalogue(connection, ("public",))
    )
    lines = [line for line in catalogue.fingerprint.lines if "wish" not in line]
    recorded = Fingerprint(lines=tuple(lines))
    wanted = plan(SCRIPTS[:1], DESTROYS[:1], to="2", fingerprint=recorded)
    other = Fingerprint(lines=(*lines, "table public.other: "))
    before = state(shop)
    with pytest.raises(NotAsPlanned, match=r"- table public\.other"):
        await carry_out(
            shop, plan(SCRIPTS[:1], DESTROYS[:1], to="2", fingerprint=other)
        )
    assert state(shop) == before
    assert (await carry_out(shop, wanted)).fingerprint_compared


async def test_a_history_that_changed_is_refused(shop: str) -> None:
    """A version that was applied since the plan was made is not passed over."""
    history(shop, "4")
    with pytest.raises(SchemaRefused, match="at 4 now"):
        await carry_out(shop, plan(SCRIPTS, DESTROYS))
    assert versions(shop) == ("1", "2", "3", "4")


async def test_two_at_once_are_one(shop: str) -> None:
    """Who comes second is told which session is at it, and changes nothing."""
    claimed = applying.hold(
        shop, f"SELECT pg_advisory_xact_lock({int.from_bytes(b'rollback', 'big')})"
    )
    with (
        claimed as pid,
        pytest.raises(SchemaBusy, match=rf"Session {pid} \(a colleague\)"),
    ):
        await carry_out(shop, plan(SCRIPTS, DESTROYS))
    assert versions(shop) == ("1", "2", "3")


async def test_nothing_without_a_verified_backup(
    shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that was not verified is none."""
    unverified = applying.unverified()
    monkeypatch.setattr(applying, "BACKUP", unverified)
    with pytest.raises(BackupFailed, match="is not verified"):
        await carry_out(shop, plan(SCRIPTS, DESTROYS))
    assert versions(shop) == ("1", "2", "3")


async def test_what_a_script_renames_and_the_next_drops_was_planned(shop: str) -> None:
    """Its name in the plan is the one that it had when it was dropped."""
    sql(shop, "CREATE VIEW v AS SELECT id FROM gifts")
    scripts = (script("3", "ALTER VIEW v RENAME TO w"), script("2", "DROP VIEW w"))
    wanted = plan(scripts, [("2", "view", "public.w")], to="1")
    assert (await carry_out(shop, wanted)).versions == ("3", "2")
