"""The contract of the port `Ledger`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import anyio
import psycopg
import pytest

from rollback.adapters.memory import MemoryLedger
from rollback.adapters.postgres import PostgresLedger
from rollback.errors import AlreadyRollingBack, UnknownDeployment
from rollback.model import (
    CriticalError,
    Delivery,
    DeploymentVersion,
    EnvironmentVariable,
    FlowResult,
    HealthStatus,
    Incident,
    JournalEntry,
    Judgement,
    Outcome,
    Phase,
    PhaseName,
    Signal,
    SignalState,
    StepRecord,
    StepStatus,
    Verdict,
)
from rollback.ports import Ledger

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

AT = datetime(2026, 11, 22, 3, 0, 0, 123456, tzinfo=UTC)
LEASE = 60.0


def later(seconds: float) -> datetime:
    """So long after the incident was opened."""
    return AT + timedelta(seconds=seconds)


def version(name: str = "dpl_good", *, at: datetime = AT) -> DeploymentVersion:
    """A deployment as it is recorded first."""
    return DeploymentVersion(
        id=f"record of {name}",
        deployment_id=name,
        environment="production",
        timestamp=at,
        git_sha="a" * 40,
        db_migration_version="003",
        environment_variables=(
            EnvironmentVariable(name="DATABASE_URL"),
            EnvironmentVariable(name="SITE", fingerprint="f00d"),
        ),
    )


def an_incident(name: str = "inc_1", candidate: str = "dpl_bad") -> Incident:
    """An incident as it is opened."""
    return Incident(
        id=name,
        environment="production",
        from_deployment=candidate,
        to_deployment="dpl_good",
        reason="error rate",
        opened_at=AT,
    )


def entry(event: str, seconds: float = 0) -> JournalEntry:
    """A line of the journal."""
    return JournalEntry(at=later(seconds), event=event, detail=f"detail of {event}")


@pytest.fixture
def ledger(kind: str, request: pytest.FixtureRequest) -> Ledger:
    """An empty ledger."""
    if kind != "real":
        return MemoryLedger()
    url = request.getfixturevalue("ledger_url")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS rollback CASCADE")
    return PostgresLedger(url)


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


async def test_an_opened_incident_is_found(ledger: Ledger) -> None:
    """An incident is there, and open, from the moment it claims its candidate."""
    await ledger.open_incident(an_incident(), lease_seconds=LEASE)
    assert await ledger.incident("inc_1") == an_incident()
    assert await ledger.incident("inc_2") is None


async def test_a_held_candidate_is_refused(ledger: Ledger) -> None:
    """A second incident of the same candidate is refused and told of the first."""
    await ledger.open_incident(an_incident(), lease_seconds=LEASE)
    with pytest.raises(AlreadyRollingBack, match="inc_1"):
        await ledger.open_incident(an_incident("inc_2"), lease_seconds=LEASE)
    assert await ledger.incident("inc_2") is None


async def test_a_claim_is_of_one_candidate_and_environment(ledger: Ledger) -> None:
    """Other candidates, and the same one elsewhere, can be claimed meanwhile."""
    await ledger.open_incident(an_incident(), lease_seconds=LEASE)
    other = an_incident("inc_2", candidate="dpl_worse")
    await ledger.open_incident(other, lease_seconds=LEASE)
    elsewhere = replace(an_incident("inc_3"), environment="staging")
    await ledger.open_incident(elsewhere, lease_seconds=LEASE)


async def test_a_closed_incident_frees_its_candidate(ledger: Ledger) -> None:
    """Once an incident has an outcome, its candidate can be claimed again."""
    await ledger.open_incident(an_incident(), lease_seconds=LEASE)
    await ledger.save_incident(replace(an_incident(), outcome=Outcome.RESTORED))
    await ledger.open_incident(an_incident("inc_2"), lease_seconds=LEASE)


async def test_an_incident_can_be_taken_up_again(ledger: Ledger) -> None:
    """The holder of a claim may claim again: a rollback that is resumed."""
    await ledger.open_incident(an_incident(), lease_seconds=LEASE)
    await ledger.append("inc_1", entry("begun"))
    await ledger.open_incident(an_incident(), lease_seconds=LEASE)
    found = await ledger.incident("inc_1")
    assert found is not None
    assert found.journal == (entry("begun"),)


async def test_a_lease_that_ran_out_is_taken_over(ledger: Ledger) -> None:
    """The old incident then ends as escalated, and says which one took over."""
    await ledger.open_incident(
        replace(an_incident(), detail="It began."), lease_seconds=0.05
    )
    await ledger.append("inc_1", entry("begun"))
    await anyio.sleep(0.2)
    await ledger.open_incident(an_incident("inc_2"), lease_seconds=LEASE)
    old = await ledger.incident("inc_1")
    assert old is not None
    assert old.outcome is Outcome.ESCALATED
    assert old.detail.startswith("It began. ")
    assert "inc_2" in old.detail
    assert old.journal == (entry("begun"),)
    with pytest.raises(AlreadyRollingBack, match="inc_2"):
        await ledger.open_incident(an_incident("inc_3"), lease_seconds=LEASE)


async def test_a_journal_entry_renews_the_lease(ledger: Ledger) -> None:
    """A rollback that writes is alive, however long it takes."""
    await ledger.open_incident(an_incident(), lease_seconds=2)
    await anyio.sleep(1.2)
    await ledger.append("inc_1", entry("still here"))
    await anyio.sleep(1.2)
    with pytest.raises(AlreadyRollingBack, match="inc_1"):
        await ledger.open_incident(an_incident("inc_2"), lease_seconds=LEASE)


async def test_one_of_many_claims_wins(ledger: Ledger) -> None:
    """However many ask at the same moment, one gets the candidate."""
    won: list[str] = []
    lost: list[str] = []

    async def claim(name: str) -> None:
        try:
            await ledger.open_incident(an_incident(name), lease_seconds=LEASE)
            won.append(name)
        except AlreadyRollingBack:
            lost.append(name)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(claim, f"inc_{number}")
    assert (len(won), len(lost)) == (1, 7)
    (found,) = await ledger.incidents("production", limit=10)
    assert found.id == won[0]


async def test_the_journal_is_in_order_of_time(ledger: Ledger) -> None:
    """Entries are read in order of their time, and of writing within one moment."""
    await ledger.open_incident(an_incident(), lease_seconds=LEASE)
    for event, seconds in (("a", 0), ("c", 2), ("b1", 1), ("b2", 1)):
        await ledger.append("inc_1", entry(event, seconds))
    found = await ledger.incident("inc_1")
    assert found is not None
    assert [e.event for e in found.journal] == ["a", "b1", "b2", "c"]


async def test_a_save_brings_the_missing_entries(ledger: Ledger) -> None:
    """Entries that could not be appended come with the save; none comes twice."""
    await ledger.open_incident(an_incident(), lease_seconds=LEASE)
    await ledger.append("inc_1", entry("a"))
    await ledger.append("inc_1", entry("c", 2))
    whole = (entry("a"), entry("b", 1), entry("c", 2))
    ended = replace(an_incident(), outcome=Outcome.RESTORED, journal=whole)
    await ledger.save_incident(ended)
    assert await ledger.incident("inc_1") == ended
    await ledger.save_incident(replace(ended, journal=()))
    assert await ledger.incident("inc_1") == ended


async def test_an_entry_may_come_before_its_incident(ledger: Ledger) -> None:
    """What is written while the incident could not be opened is not lost."""
    await ledger.append("inc_1", entry("a"))
    ended = replace(an_incident(), outcome=Outcome.ESCALATED)
    await ledger.save_incident(ended)
    assert await ledger.incident("inc_1") == replace(ended, journal=(entry("a"),))


async def test_a_closed_incident_stays_closed(ledger: Ledger) -> None:
    """A rollback that was taken over cannot open its incident again by saving it."""
    await ledger.open_incident(an_incident(), lease_seconds=0.05)
    await anyio.sleep(0.2)
    await ledger.open_incident(an_incident("inc_2"), lease_seconds=LEASE)
    await ledger.save_incident(replace(an_incident(), detail="I am back."))
    old = await ledger.incident("inc_1")
    assert old is not None
    assert old.outcome is Outcome.ESCALATED
    assert "inc_2" in old.detail


async def test_an_unclaimed_open_incident_is_refused(ledger: Ledger) -> None:
    """Saving an open incident is no way around the claim of another."""
    await ledger.open_incident(an_incident(), lease_seconds=LEASE)
    with pytest.raises(AlreadyRollingBack, match="inc_1"):
        await ledger.save_incident(an_incident("inc_2"))


async def test_a_whole_incident_comes_back_as_it_was(ledger: Ledger) -> None:
    """Every part of an incident survives the ledger."""
    whole = _whole()
    await ledger.save_incident(whole)
    assert await ledger.incident("inc_1") == whole
    assert await ledger.incidents("production", limit=1) == (whole,)


async def test_incidents_are_newest_first(ledger: Ledger) -> None:
    """The latest incidents of an environment come first, up to the limit."""
    for number in (2, 3, 1):
        made = replace(an_incident(f"inc_{number}"), outcome=Outcome.REFUSED)
        await ledger.save_incident(replace(made, opened_at=later(number)))
    staging = replace(an_incident("inc_4"), environment="staging")
    await ledger.save_incident(staging)
    found = await ledger.incidents("production", limit=2)
    assert [i.id for i in found] == ["inc_3", "inc_2"]


def _whole() -> Incident:
    state = SignalState(
        signal=Signal.ERROR_RATE, requests=100, bad=7, threshold=0.05, evidence=1234.5
    )
    seen = CriticalError(code="AUTH_SERVICE_DOWN", count=3, first_seen=later(-5))
    verdict = Verdict(
        deployment="dpl_bad",
        judgement=Judgement.ROLL_BACK,
        row="evidence",
        reason="7 of 100 failed",
        signals=(state,),
        critical_errors=(seen,),
        signal=Signal.ERROR_RATE,
        second=int(AT.timestamp()),
        bad_since=int(AT.timestamp()) - 5,
    )
    return replace(
        an_incident(),
        outcome=Outcome.RESTORED,
        verdict=verdict,
        detail="Größe \\u0000 <b>",
        phases=(
            Phase(
                name=PhaseName.INITIATE,
                started_at=AT,
                ended_at=later(1.5),
                budget_seconds=60.0,
            ),
            Phase(
                name=PhaseName.CARRY_OUT,
                started_at=later(1.5),
                ended_at=later(3),
                budget_seconds=None,
            ),
        ),
        steps=(
            StepRecord(
                name="application",
                status=StepStatus.DONE,
                started_at=AT,
                seconds=1.25,
                detail="moved",
            ),
        ),
        journal=(entry("a"), entry("b", 1)),
        flows=(FlowResult(name="signup", passed=True, seconds=0.1, detail=""),),
        deliveries=(
            Delivery(channel="slack", phase="outcome", at=later(4), problem="500"),
        ),
    )
