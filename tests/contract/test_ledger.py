"""The contract of the port `Ledger`: deployments. Incidents are in the file beside."""

from dataclasses import replace

import pytest

from rollback.errors import UnknownDeployment
from rollback.model import HealthStatus
from rollback.ports import Ledger

from .examples import AT, later, version

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_a_recorded_deployment_is_found(ledger: Ledger) -> None:
    """What was recorded is found as it was, and nothing else is."""
    await ledger.record(version())
    assert await ledger.find("dpl_good", "production") == version()
    assert await ledger.find("dpl_other", "production") is None
    assert await ledger.find("dpl_good", "staging") is None


async def test_recording_again_keeps_the_health(ledger: Ledger) -> None:
    """A second record replaces the facts and leaves the health alone."""
    await ledger.record(version())
    await ledger.set_health("dpl_good", "production", HealthStatus.PASSING, AT)
    again = replace(version(at=later(9)), git_sha="b" * 40, environment_variables=())
    await ledger.record(again)
    found = await ledger.find("dpl_good", "production")
    assert found == replace(again, health_check_status=HealthStatus.PASSING)


async def test_an_older_record_replaces_nothing(ledger: Ledger) -> None:
    """One that was kept while the ledger was down may arrive after a newer one."""
    newer = replace(version(at=later(9)), git_sha="b" * 40)
    await ledger.record(newer)
    await ledger.record(version())
    assert await ledger.find("dpl_good", "production") == newer
    same_moment = replace(newer, git_sha="c" * 40)
    await ledger.record(same_moment)
    assert await ledger.find("dpl_good", "production") == same_moment


async def test_health_is_of_one_environment(ledger: Ledger) -> None:
    """The same deployment in another environment has a health of its own."""
    await ledger.record(version())
    await ledger.record(replace(version(), environment="staging"))
    await ledger.set_health("dpl_good", "staging", HealthStatus.FAILING, AT)
    production = await ledger.find("dpl_good", "production")
    staging = await ledger.find("dpl_good", "staging")
    assert production is not None
    assert production.health_check_status is HealthStatus.UNKNOWN
    assert staging is not None
    assert staging.health_check_status is HealthStatus.FAILING


async def test_health_needs_a_record(ledger: Ledger) -> None:
    """The health of a deployment that was not recorded is refused by name."""
    with pytest.raises(UnknownDeployment, match="dpl_good"):
        await ledger.set_health("dpl_good", "production", HealthStatus.PASSING, AT)


async def test_history_is_newest_first(ledger: Ledger) -> None:
    """History goes by the time of the deployment, not by the order of recording."""
    for name, seconds in (("dpl_2", 2), ("dpl_3", 3), ("dpl_1", 1)):
        await ledger.record(version(name, at=later(seconds)))
    await ledger.record(replace(version("dpl_4"), environment="staging"))
    found = await ledger.history("production", limit=2)
    assert [d.deployment_id for d in found] == ["dpl_3", "dpl_2"]


async def test_each_part_has_a_history_of_its_own(ledger: Ledger) -> None:
    """However often the API goes out, the application's last one is in its history."""
    await ledger.record(version("dpl_site"))
    for seconds in (1, 2, 3):
        api = version(f"dpl_api{seconds}", at=later(seconds))
        await ledger.record(replace(api, part="api"))
    (site,) = await ledger.history("production", limit=2, part="application")
    assert (site.deployment_id, site.part) == ("dpl_site", "application")
    found = await ledger.history("production", limit=2, part="api")
    assert [d.deployment_id for d in found] == ["dpl_api3", "dpl_api2"]
    assert {d.part for d in await ledger.history("production", limit=9)} == {
        "application",
        "api",
    }
