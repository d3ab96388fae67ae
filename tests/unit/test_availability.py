"""Whether what was deployed can still be gone back to."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from rollback.adapters.memory import FixedClock, MemoryPlatform, MemoryProject
from rollback.availability import Place, Shelf, too_short
from rollback.model import PlatformDeployment, Retention
from rollback.track import version

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def on_platform(name: str, *, days: float = 1, **changed: bool) -> PlatformDeployment:
    """A deployment of that age that could be gone back to, with changes."""
    facts = {"ready": True, "candidate": True, "served": True} | changed
    return PlatformDeployment(
        id=name,
        url=f"https://{name}",
        git_sha="a" * 40,
        created_at=NOW - timedelta(days=days),
        **facts,
    )


def places(
    known: Sequence[PlatformDeployment],
    *names: str,
    retention: Retention | None = None,
    down: str | None = None,
    said: list[str] | None = None,
) -> list[tuple[Place, datetime | None]]:
    """Where the named ones are, when `live` serves."""
    heard: list[str] = [] if said is None else said
    platform = MemoryPlatform(
        clock=FixedClock(), deployments=known, hosts={"example": "live"}
    )
    platform.down = down
    project = MemoryProject(retention=retention)
    shelf = Shelf(platform=platform, project=project, now=NOW, notice=heard.append)
    made = [
        version(
            deployment_id=name,
            environment="production",
            at=NOW,
            git_sha="a" * 40,
            migration="1",
        )
        for name in names
    ]
    found = anyio.run(shelf.look_up, made)
    return [(each.place, each.leaves_at) for each in found]


def test_each_is_where_the_platform_has_it() -> None:
    """Live, kept, deleted, unknown to it, or never fit to serve."""
    known = [
        on_platform("live"),
        on_platform("kept"),
        on_platform("deleted", ready=False),
        on_platform("staged", served=False),
    ]
    found = places(known, "live", "kept", "deleted", "nowhere", "staged")

    assert [place for place, _ in found] == [
        Place.LIVE,
        Place.KEPT,
        Place.GONE,
        Place.GONE,
        Place.NOT_SERVABLE,
    ]


def test_one_whose_time_is_nearly_over_is_leaving() -> None:
    """A week ahead; the newest are kept whatever their age."""
    known = [
        on_platform("live"),
        on_platform("newest", days=25),
        on_platform("leaving", days=26),
        on_platform("older", days=40),
    ]
    retention = Retention(days=30, kept=2)

    assert places(known, "newest", "leaving", "older", retention=retention) == [
        (Place.KEPT, None),
        (Place.LEAVING, NOW + timedelta(days=4)),
        (Place.LEAVING, NOW - timedelta(days=10)),
    ]
    longer = replace(retention, days=90)
    assert places(known, "leaving", retention=longer) == [
        (Place.KEPT, NOW + timedelta(days=64))
    ]


def test_nothing_leaves_where_nothing_is_deleted() -> None:
    """Retention without an end."""
    known = [on_platform("live"), on_platform("old", days=2000)]

    found = places(known, "old", retention=Retention(days=None, kept=0))

    assert found == [(Place.KEPT, None)]


def test_a_platform_that_is_down_makes_every_place_unknown() -> None:
    """Not gone: that would be told as a loss."""
    said: list[str] = []

    found = places([on_platform("live")], "live", down="no route", said=said)

    assert found == [(Place.UNKNOWN, None)]
    assert "no route" in said[0]


@pytest.mark.parametrize(
    ("days", "kept", "short"),
    [(30, 9, True), (30, 10, False), (90, 0, False), (None, 0, False)],
)
def test_retention_is_too_short_where_it_may_take_one_of_the_ten(
    days: int | None, kept: int, *, short: bool
) -> None:
    """Neither long enough, nor with enough of the newest kept in any case."""
    assert too_short(Retention(days=days, kept=kept), wanted=10) is short
