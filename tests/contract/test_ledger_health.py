"""The contract of the port `Ledger`: what is kept of a deployment's health."""

import pytest

from rollback.model import HealthRecord, HealthStatus
from rollback.ports import Ledger

from .examples import later, version

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
PASSING, FAILING = HealthStatus.PASSING, HealthStatus.FAILING


async def status(ledger: Ledger) -> HealthStatus:
    """What is said of the deployment now."""
    found = await ledger.find("dpl_good", "production")
    assert found
    return found.health_check_status


async def test_every_health_status_is_kept(ledger: Ledger) -> None:
    """Newest first, each with its time, of this environment alone."""
    await ledger.record(version())
    await ledger.set_health("dpl_good", "production", PASSING, later(1))
    await ledger.set_health("dpl_good", "production", FAILING, later(2))

    assert await ledger.health_history("dpl_good", "production") == (
        HealthRecord(status=FAILING, at=later(2)),
        HealthRecord(status=PASSING, at=later(1)),
    )
    assert await ledger.health_history("dpl_good", "staging") == ()


async def test_a_status_that_comes_late_does_not_hide_a_later_one(
    ledger: Ledger,
) -> None:
    """What was kept elsewhere meanwhile is history; what is known now stays."""
    await ledger.record(version())
    await ledger.set_health("dpl_good", "production", FAILING, later(5))
    await ledger.set_health("dpl_good", "production", PASSING, later(1))

    assert await status(ledger) is FAILING
    assert [
        each.status for each in await ledger.health_history("dpl_good", "production")
    ] == [
        FAILING,
        PASSING,
    ]
    await ledger.set_health("dpl_good", "production", PASSING, later(6))
    assert await status(ledger) is PASSING
