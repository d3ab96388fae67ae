"""A rollback that cannot be done safely is refused, by the name of what is wrong."""

from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

from rollback.errors import LockNotTaken, NeedsConsent, SchemaRefused, UnknownVersion
from rollback.schema import Fingerprint, SchemaRecord
from rollback.targets.database import survey

from .keeping import run, value
from .plans import UNRECORDED, Shop, record

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(two_databases: tuple[str, str], tmp_path: Path) -> Shop:
    """A shop at version 003."""
    return Shop(*two_databases, tmp_path)


async def refusal(
    shop: Shop,
    to: str = "002",
    records: Mapping[str, SchemaRecord] | None = None,
    accept: frozenset[str] = UNRECORDED,
) -> str:
    """The message with which a plan is refused."""
    with pytest.raises(SchemaRefused) as refused:
        await shop.plan(to, records, accept)
    assert type(refused.value) is SchemaRefused
    return refused.value.message


async def consent(
    shop: Shop, records: Mapping[str, SchemaRecord] | None, *accept: str
) -> NeedsConsent:
    """What has to be accepted, with what is accepted already."""
    with pytest.raises(NeedsConsent) as needed:
        await shop.plan("002", records, frozenset(accept))
    return needed.value


async def test_a_target_that_was_never_applied_is_unknown(shop: Shop) -> None:
    """An older version that the history has not is unknown; those it has are told."""
    with pytest.raises(UnknownVersion, match=r"000 is not in .* 003, 002, 001"):
        await shop.plan("000")


async def test_a_target_above_is_refused(shop: Shop) -> None:
    """A rollback does not go forward."""
    assert "004 is above the schema's version 003" in await refusal(shop, "004")


async def test_an_empty_history_is_refused(shop: Shop) -> None:
    """Where nothing was applied there is nothing to take back."""
    run(shop.url, "DELETE FROM schema_migrations")
    assert "is empty" in await refusal(shop)


async def test_a_late_version_is_named(shop: Shop) -> None:
    """A migration that was applied after later ones is refused, with all in order."""
    run(shop.url, "INSERT INTO schema_migrations VALUES ('0025')")
    run(
        shop.url, "UPDATE schema_migrations SET version = '0021' WHERE version = '0025'"
    )
    run(shop.url, "DELETE FROM schema_migrations WHERE version = '003'")
    run(shop.url, "INSERT INTO schema_migrations VALUES ('0015')")
    said = await refusal(shop)
    assert "not applied in the order of their versions: 002, 0021, 0015" in said


async def test_what_was_out_of_order_before_the_target_is_let_be(shop: Shop) -> None:
    """Below the target the order is of no matter."""
    run(shop.url, "UPDATE schema_migrations SET version = '0' WHERE version = '002'")
    with pytest.raises(SchemaRefused, match=r"not applied in .*: 001, 0, 003"):
        await shop.plan("001")
    run(shop.url, "UPDATE schema_migrations SET version = '2' WHERE version = '003'")
    run(shop.url, "INSERT INTO schema_migrations VALUES ('003')")
    assert await shop.plan("2") is not None


async def test_a_missing_script_is_named(shop: Shop) -> None:
    """Every version of the range has to have its script."""
    (shop.folder / "rollback_003.sql").unlink()
    assert "rollback_003.sql is missing" in await refusal(shop)


async def test_a_script_that_fails_is_named_with_its_line(shop: Shop) -> None:
    """PostgreSQL's own words and the very line are told, and nothing was changed."""
    shop.write(v3="ALTER TABLE lines DROP note;\n\nDROP TABLE\n  nowhere;\n")
    said = await refusal(shop)
    assert 'rollback_003.sql:3 fails on a copy of the schema: table "nowhere"' in said
    shop.write(v3="ALTER TABLE lines DROP note;\nSELECT 1,\n  nothing;\n")
    assert "rollback_003.sql:3 fails on a copy" in await refusal(shop)
    assert value(shop.url, "SELECT count(note) FROM lines") == 10


async def test_a_commit_in_a_body_is_caught_when_it_runs(shop: Shop) -> None:
    """What reading does not find, PostgreSQL refuses on the copy."""
    shop.write(v3="DO $$ BEGIN DROP TABLE lines; COMMIT; END $$;")
    assert "rollback_003.sql:1 fails on a copy" in await refusal(shop)
    assert "invalid transaction termination" in await refusal(shop)


async def test_a_script_is_tried_as_it_will_be_run(shop: Shop) -> None:
    """What each statement can do by itself, and the whole script cannot, is refused."""
    shop.write(v3="SELECT * INTO kept FROM lines;")
    assert "rollback_003.sql fails on a copy" in await refusal(shop)
    assert "when it is run whole, as a rollback runs it: EXECUTE" in await refusal(shop)


async def test_a_script_may_not_change_the_history(shop: Shop) -> None:
    """The versions are taken out by the rollback itself."""
    shop.write(v3="DELETE FROM schema_migrations WHERE version = '003'")
    assert "rollback_003.sql changes public.schema_migrations" in await refusal(shop)
    shop.write(v3="DROP TABLE schema_migrations")
    assert "rollback_003.sql changes public.schema_migrations" in await refusal(shop)


async def test_a_script_that_is_another_one_is_named(shop: Shop) -> None:
    """A script whose hash is not the recorded one is refused, whatever is accepted."""
    records = shop.hashes()
    shop.write(v3="DROP TABLE lines;")
    everything = frozenset({"unrecorded", "stall", "no-transaction"})
    said = await refusal(shop, "001", records, everything)
    assert "not those that were recorded" in said
    assert "rollback_003.sql" in said
    assert "rollback_002.sql" not in said


async def test_what_was_not_recorded_has_to_be_accepted(shop: Shop) -> None:
    """Without a script's hash or the target's schema, a person decides."""
    needed = await consent(shop, None)
    assert needed.accept == "unrecorded"
    assert "the script rollback_003.sql, the schema at 002" in needed.message
    needed = await consent(shop, shop.hashes())
    assert "Nothing was recorded of the schema at 002" in needed.message
    schema = record("002", schema=await shop.fingerprint())
    assert (
        "of the script rollback_003.sql."
        in (await consent(shop, {"002": schema})).message
    )
    plan = await shop.plan(records=shop.hashes() | {"002": schema}, accept=frozenset())
    assert plan is not None
    assert plan.fingerprint == schema.fingerprint
    assert not any("accepted" in note for note in plan.notes)


async def test_a_schema_that_would_not_be_the_recorded_one_is_refused(
    shop: Shop,
) -> None:
    """What would be missing and what too much is told before production is touched."""
    lines = [
        line for line in (await shop.fingerprint()).lines if "lines.note" not in line
    ]
    schema = Fingerprint(lines=(*lines, "column public.lines.was: text"))
    records = shop.hashes() | {
        "002": record("002", schema=schema),
    }
    said = await refusal(shop, "002", records)
    assert "- column public.lines.was: text, + column public.lines.note: text" in said
    shop.write(v3="ALTER TABLE lines DROP note; ALTER TABLE lines ADD was text;")
    records = shop.hashes() | {"002": record("002", schema=schema)}
    assert await shop.plan("002", records, frozenset()) is not None


async def test_a_copy_that_lacks_something_makes_no_difference(shop: Shop) -> None:
    """What only production has is not taken for what the scripts did."""
    run(shop.url, "GRANT SELECT ON lines TO pg_monitor")
    schema = await shop.fingerprint()
    records = shop.hashes() | {"002": record("002", schema=schema)}
    records["003"] = shop.hashes()["003"]
    assert await shop.plan("002", records, frozenset()) is not None


async def test_a_long_stall_has_to_be_accepted(shop: Shop) -> None:
    """Above the limit a person decides how long writers may wait."""
    shop.write(v3="DROP TABLE lines;")
    shop.limit = 0.01
    needed = await consent(shop, None, "unrecorded")
    assert (needed.accept, "the limit is 0.01 s" in needed.message) == ("stall", True)
    assert await shop.plan(accept=UNRECORDED | {"stall"}) is not None


async def test_a_script_without_a_transaction_has_to_be_accepted(shop: Shop) -> None:
    """It is run statement by statement on its copy, and the plan tells its effects."""
    shop.also("CREATE INDEX noted ON lines (note)")
    shop.write(
        v3="-- rollback: no-transaction\nDROP INDEX CONCURRENTLY noted;\n"
        "ALTER TABLE lines DROP note;",
        v2="ALTER TABLE orders DROP state;",
    )
    needed = await consent(shop, None, "unrecorded")
    assert needed.accept == "no-transaction"
    plan = await shop.plan("001", accept=UNRECORDED | {"no-transaction"})
    assert plan is not None
    assert [(one.version, one.object, one.rows) for one in plan.destroys] == [
        ("003", "public.lines.note", 10),
        ("003", "public.noted", None),
        ("002", "public.orders.state", 40),
    ]
    assert {lock.table for lock in plan.locks} == {"public.lines", "public.orders"}
    assert [script.transactional for script in plan.scripts] == [False, True]


async def test_what_the_server_shares_is_not_tried_without_a_transaction(
    shop: Shop, server: str
) -> None:
    """A role belongs to production too: it is neither dropped nor made on a copy."""
    role = f"role_of_{shop.name}"
    make = f"DO $$ BEGIN EXECUTE 'CREATE ROLE {role}'; END $$;"
    shop.write(v3=f"-- rollback: no-transaction\n{make}")
    with pytest.raises(SchemaRefused, match=r"changes .*pg_authid"):
        await shop.plan(accept=UNRECORDED | {"no-transaction"})
    shop.write(v3=make)
    plan = await shop.planned()
    assert any("pg_authid, which all databases" in note for note in plan.notes)
    with psycopg.connect(server) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_roles WHERE rolname = %s", [role]
        ).fetchone()
    assert found == (0,)


async def test_strings_that_are_read_in_another_way_are_refused(shop: Shop) -> None:
    """With backslashes in plain strings, a script is not what was checked."""
    with psycopg.connect(shop.url, autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {shop.name} SET standard_conforming_strings = off".encode()
        )
    assert "standard_conforming_strings is off" in await refusal(shop)


async def test_who_keeps_the_schema_from_being_read_is_named(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a table that is locked exclusively no plan waits: the session is told."""
    monkeypatch.setattr(survey, "LOCK_SECONDS", 0.1)
    shop.write(v3="DROP TABLE lines")
    with psycopg.connect(shop.url, application_name="vacuum") as connection:
        connection.execute("LOCK TABLE lines")
        with pytest.raises(LockNotTaken, match=r"\(vacuum, idle in .* public.lines"):
            await shop.plan()
