"""Which deployment a rollback goes back to."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from rollback.adapters.memory import (
    CountedTokens,
    FixedClock,
    MemoryLedger,
    MemoryPlatform,
)
from rollback.adapters.spool import HealthNote, Note, Spool
from rollback.adapters.spooling import SpoolingLedger
from rollback.errors import NoStableDeployment, NotATarget
from rollback.model import HealthStatus, Incident, Outcome, PlatformDeployment
from rollback.track import Deployments, last_stable, require_passing, version

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PASSING, FAILING = HealthStatus.PASSING, HealthStatus.FAILING
UNKNOWN = HealthStatus.UNKNOWN


def on_platform(name: str, **changed: bool) -> PlatformDeployment:
    """A deployment that the platform could go back to, with changes."""
    facts = {"ready": True, "candidate": True, "served": True} | changed
    return PlatformDeployment(
        id=name, url=f"https://{name}", git_sha="a" * 40, created_at=NOW, **facts
    )


def stable(
    recorded: Sequence[tuple[str, HealthStatus]],
    *,
    candidate: str = "v9",
    **changed: dict[str, bool],
) -> str:
    """The last stable of these, recorded in this order; `changed` on the platform."""

    async def find() -> str:
        ledger = MemoryLedger()
        names = [name for name, _ in recorded]
        platform = MemoryPlatform(
            clock=FixedClock(),
            deployments=[on_platform(n, **changed.get(n, {})) for n in names],
            hosts={},
        )
        for minute, (name, status) in enumerate(recorded):
            made = version(
                deployment_id=name,
                environment="production",
                at=NOW + timedelta(minutes=minute),
                git_sha="a" * 40,
                migration="1",
            )
            await ledger.record(made)
            await ledger.set_health(name, "production", status, NOW)
        found = await last_stable(ledger, platform, "production", candidate=candidate)
        return found.deployment_id

    return anyio.run(find)


def test_the_newest_passing_one_is_gone_back_to() -> None:
    """Not the oldest, and not one that failed or was never looked at."""
    recorded = [("v1", PASSING), ("v2", PASSING), ("v3", FAILING), ("v4", UNKNOWN)]

    assert stable(recorded) == "v2"


def test_the_candidate_is_never_gone_back_to() -> None:
    """Though it passed its gate once."""
    assert stable([("v1", PASSING), ("v2", PASSING)], candidate="v2") == "v1"


@pytest.mark.parametrize("missing", ["ready", "candidate", "served"])
def test_what_the_platform_cannot_go_back_to_is_passed_over(missing: str) -> None:
    """A staged, deleted or refused one does not hide the good one before it."""
    recorded = [("v1", PASSING), ("v2", PASSING)]

    assert stable(recorded, v2={missing: False}) == "v1"


def test_when_all_are_gone_that_is_said() -> None:
    """Other words than when none ever passed."""
    with pytest.raises(NoStableDeployment, match=r"cannot go back to any .*v1"):
        stable([("v1", PASSING)], v1={"ready": False})


@pytest.mark.parametrize("recorded", [[], [("v1", FAILING)], [("v1", UNKNOWN)]])
def test_without_a_passing_one_there_is_no_stable(
    recorded: list[tuple[str, HealthStatus]],
) -> None:
    """Refused rather than guessed."""
    with pytest.raises(NoStableDeployment, match="recorded as passing"):
        stable(recorded)


def test_only_what_passed_is_accepted_as_a_target() -> None:
    """Not recorded, unknown and failing are refused by name."""
    made = version(
        deployment_id="v1",
        environment="production",
        at=NOW,
        git_sha="a" * 40,
        migration="1",
    )
    with pytest.raises(NotATarget, match="v1 is not recorded as passing, but as unk"):
        require_passing(made, "v1")
    with pytest.raises(NotATarget, match="but as not recorded"):
        require_passing(None, "v1")


def said(name: str, status: HealthStatus, minute: int = 0) -> HealthNote:
    """A health status that waits to be told."""
    at = NOW + timedelta(minutes=minute)
    return HealthNote(
        deployment_id=name, environment="production", status=status, at=at
    )


def left(name: str) -> Incident:
    """A rollback away from it, which waits to be told."""
    return Incident(
        id="inc_1",
        environment="production",
        from_deployment=name,
        to_deployment="v1",
        reason="x",
        opened_at=NOW,
        outcome=Outcome.RESTORED,
    )


@pytest.mark.parametrize(
    ("waiting", "target"),
    [
        ([], "v3"),
        ([said("v3", FAILING)], "v2"),
        ([left("v3")], "v2"),
        ([replace(left("v3"), outcome=None)], "v2"),
        ([left("v3"), said("v2", FAILING)], "v1"),
        ([said("v3", FAILING, 5), said("v3", PASSING, 4)], "v2"),
        ([said("v3", FAILING, 4), said("v3", PASSING, 5)], "v3"),
        ([said("v3", PASSING, 5), left("v3")], "v3"),
        ([replace(left("v3"), undoes="inc_0")], "v3"),
        ([replace(left("v3"), outcome=Outcome.REFUSED)], "v3"),
        ([replace(left("v3"), environment="staging")], "v3"),
        ([replace(said("v3", FAILING), environment="staging")], "v3"),
    ],
)
def test_without_the_ledger_what_waits_to_be_told_counts(
    waiting: list[Note], target: str, tmp_path: Path
) -> None:
    """What this machine saw failing or went away from is nothing to go back to."""

    async def find() -> str:
        ledger, spool = MemoryLedger(), Spool(tmp_path)
        ledger.down = "connection refused"
        for note in waiting:
            spool.add(note)
        on = [
            replace(on_platform(f"v{n}"), created_at=NOW + timedelta(hours=n))
            for n in (1, 2, 3, 9)
        ]
        clock = FixedClock()
        deployments = Deployments(
            ledger=SpoolingLedger(ledger, spool, tokens=CountedTokens()),
            platform=MemoryPlatform(clock=clock, deployments=on, hosts={}),
            clock=clock,
            environment="production",
        )
        return (await deployments.stable(candidate="v9")).deployment_id

    assert anyio.run(find) == target
