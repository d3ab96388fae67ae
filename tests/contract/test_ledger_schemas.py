"""The contract of the port `Ledger`: what is recorded of the database's schema."""

from dataclasses import replace

import pytest

from rollback.ports import Ledger
from rollback.schema import Fingerprint, SchemaRecord

from .examples import AT, later, version

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SEEN = Fingerprint(lines=("column public.orders.amount integer", "table public.orders"))


def a_record(number: str = "003", script: str | None = "aa") -> SchemaRecord:
    """A version of the schema as it is recorded first."""
    return SchemaRecord(
        environment="production",
        version=number,
        recorded_at=AT,
        script_sha256=script,
        fingerprint=SEEN,
    )


async def test_what_was_recorded_of_a_schema_is_found(ledger: Ledger) -> None:
    """By version, each environment's own."""
    await ledger.record_schemas((a_record(), a_record("004", None)))
    found = await ledger.schemas("production")
    assert found == {"003": a_record(), "004": a_record("004", None)}
    assert await ledger.schemas("staging") == {}


async def test_the_hash_of_the_script_that_was_tested_stays(ledger: Ledger) -> None:
    """Another script is named, and does not take the place of the recorded one."""
    await ledger.record_schemas((a_record(),))
    changed = replace(a_record(script="bb"), recorded_at=later(9))
    assert await ledger.record_schemas((changed, a_record("004"))) == ("003",)
    assert (await ledger.schemas("production"))["003"].script_sha256 == "aa"


async def test_a_script_is_renewed_when_that_is_asked_for(ledger: Ledger) -> None:
    """Then it is no other one any more; one that is missing now renews nothing."""
    await ledger.record_schemas((a_record(),))
    assert await ledger.record_schemas((a_record(script="bb"),), renew=True) == ()
    assert await ledger.record_schemas((a_record(script=None),), renew=True) == ()
    assert (await ledger.schemas("production"))["003"].script_sha256 == "bb"


async def test_a_fingerprint_is_replaced_where_there_is_one(ledger: Ledger) -> None:
    """A record without one leaves the known one."""
    await ledger.record_schemas((a_record(),))
    await ledger.record_schemas((replace(a_record(), fingerprint=None),))
    assert (await ledger.schemas("production"))["003"].fingerprint == SEEN
    other = Fingerprint(lines=("table public.orders",))
    await ledger.record_schemas((replace(a_record(), fingerprint=other),))
    assert (await ledger.schemas("production"))["003"].fingerprint == other


async def test_compatibility_is_recorded_with_a_deployment(ledger: Ledger) -> None:
    """It stays when the deployment is recorded again without a word of it."""
    await ledger.record(replace(version(), backward_compatible=False))
    await ledger.record(version(at=later(9)))
    found = await ledger.find("dpl_good", "production")
    assert found is not None
    assert found.backward_compatible is False
