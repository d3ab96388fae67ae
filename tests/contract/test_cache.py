"""The contract of the port `Cache`."""

from contextlib import closing
from typing import Any, Protocol

import anyio
import httpx
import pytest
from redis import Redis

from rollback.adapters.memory import MemoryCache
from rollback.adapters.vercel_cache import VercelCache
from rollback.errors import PlatformDenied, PlatformUnreachable
from rollback.ports import Cache
from stack.backends import Stack

pytestmark = [pytest.mark.anyio, pytest.mark.edge]

TIMELINE, SEATING = "feature:timeline", "feature:seating"


class Trial(Protocol):
    """A cache that keeps the answers of two features."""

    cache: Cache

    def kept(self) -> set[str]:
        """The features whose answers are kept, in whatever form."""

    def deny(self) -> None:
        """Refuse the next purge for its credentials."""

    def fall_down(self) -> None:
        """Answer no purge from now on."""


class MemoryTrial:
    """In memory."""

    def __init__(self) -> None:
        self.cache: Cache
        self.cache = self.double = MemoryCache()
        self.double.kept = {
            "/api/features/timeline": frozenset({TIMELINE}),
            "/api/features/timeline?a": frozenset({TIMELINE, "all"}),
            "/api/features/seating": frozenset({SEATING, "all"}),
        }

    def kept(self) -> set[str]:
        """As the protocol."""
        return {url.partition("?")[0].rpartition("/")[2] for url in self.double.kept}

    def deny(self) -> None:
        """As the protocol."""
        self.double.problems.append(PlatformDenied("Not authorized"))

    def fall_down(self) -> None:
        """As the protocol."""
        self.double.down = "no answer"


class VercelTrial:
    """On the stand-in: real answers of the app, kept by its edge."""

    def __init__(self, stack: Stack, control: httpx.Client) -> None:
        self.url, self.control = stack.addresses["platform"], control
        self.cache: Cache = connect(stack, patience_seconds=0.5)
        for name in ("timeline", "seating"):
            for encoding in ("gzip", "identity"):
                control.get(
                    f"{stack.addresses['edge']}/api/features/{name}",
                    headers={"accept-encoding": encoding},
                ).raise_for_status()

    def kept(self) -> set[str]:
        """As the protocol."""
        state = self.control.get(f"{self.url}/_control/state").json()
        found = {each["path"].rpartition("/")[2] for each in state["cache"]}
        return found - {""}

    def deny(self) -> None:
        """As the protocol."""
        self._fault(status=403, message="Not authorized")

    def fall_down(self) -> None:
        """As the protocol."""
        self._fault(status=500, times=99)

    def _fault(self, **fault: Any) -> None:
        self.control.post(
            f"{self.url}/_control/faults", json={"delete_by_tags": fault}
        ).raise_for_status()


def connect(stack: Stack, **changed: Any) -> VercelCache:
    """An adapter for the stand-in, with some settings that differ."""
    given = stack.environment
    options: dict[str, Any] = {
        "token": given["VERCEL_TOKEN"],
        "team_id": given["VERCEL_TEAM_ID"],
        "project_id": given["VERCEL_PROJECT_ID"],
        "url": given["VERCEL_API_URL"],
    }
    return VercelCache(**{**options, **changed})


@pytest.fixture
def with_flags(fresh: Stack) -> Stack:
    """The practice stack, in which both features exist."""
    with closing(Redis.from_url(fresh.addresses["redis"])) as client:
        client.hset("feature_flags", "seating", "enabled")
    return fresh


@pytest.fixture
def trial(kind: str, request: pytest.FixtureRequest, control: httpx.Client) -> Trial:
    """A cache that keeps the answers of two features."""
    if kind != "real":
        return MemoryTrial()
    stack: Stack = request.getfixturevalue("with_flags")
    return VercelTrial(stack, control)


async def test_a_purge_drops_every_form_of_what_has_the_tag(trial: Trial) -> None:
    """Whatever the encoding or the query; what has another tag stays."""
    assert trial.kept() == {"timeline", "seating"}

    await trial.cache.purge((TIMELINE,))

    assert trial.kept() == {"seating"}


async def test_a_purge_twice_is_a_purge(trial: Trial) -> None:
    """Nothing is left to do, which is no error; nor is a tag that nothing has."""
    for _ in range(2):
        await trial.cache.purge((TIMELINE, "feature:never-seen"))
    assert trial.kept() == {"seating"}


async def test_no_tag_purges_nothing(trial: Trial) -> None:
    """Least of all everything."""
    await trial.cache.purge(())
    assert trial.kept() == {"timeline", "seating"}


async def test_any_number_of_tags_can_be_purged(trial: Trial) -> None:
    """More than the platform takes in one call, the last of them too."""
    many = [f"feature:{number}" for number in range(40)]
    await trial.cache.purge((TIMELINE, *many, SEATING))
    assert trial.kept() == set()


async def test_a_refusal_is_told_as_one(trial: Trial) -> None:
    """Asking again would not help; nothing was purged."""
    trial.deny()
    with pytest.raises(PlatformDenied, match="Not authorized"):
        await trial.cache.purge((TIMELINE,))
    assert trial.kept() == {"timeline", "seating"}


async def test_a_cache_that_is_down_says_so(trial: Trial) -> None:
    """After its patience has ended; nothing was purged."""
    trial.fall_down()
    with anyio.fail_after(20), pytest.raises(PlatformUnreachable):
        await trial.cache.purge((TIMELINE,))
    assert trial.kept() == {"timeline", "seating"}
