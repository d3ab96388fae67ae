"""The contract of the port `Ledger`: incidents, and who may claim a candidate."""

from dataclasses import replace

import anyio
import pytest

from rollback.errors import AlreadyRollingBack
from rollback.model import Outcome
from rollback.ports import Ledger

from .examples import an_incident, entry, later, whole_incident

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

LEASE = 60.0


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


async def test_a_save_renews_the_lease(ledger: Ledger) -> None:
    """As it was opened: a sign of life that adds nothing to the record."""
    await ledger.open_incident(an_incident(), lease_seconds=2)
    await anyio.sleep(1.2)
    await ledger.save_incident(an_incident())
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
    whole = whole_incident()
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
