"""What the adapters in memory offer beyond their ports: switches, time of their own."""

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from rollback.adapters.memory import (
    AnyioClock,
    FixedClock,
    MemoryChannel,
    MemoryErrors,
    MemoryLedger,
    MemoryPlatform,
    MemorySite,
    MemorySource,
    SiteRequest,
)
from rollback.errors import (
    ChannelDown,
    LedgerUnreachable,
    NotATarget,
    PlatformUnreachable,
    SourceDown,
)
from rollback.model import (
    AliasRequest,
    Answer,
    Counts,
    Incident,
    JournalEntry,
    Message,
    PlatformDeployment,
)

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)
MOVE_SECONDS = 20.0


@pytest.fixture
def anyio_backend() -> Any:
    """On trio, whose clock jumps over every sleep."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def deployment(name: str, *, candidate: bool = True) -> PlatformDeployment:
    """A deployment on the platform."""
    return PlatformDeployment(
        id=name,
        url=f"http://{name}.test",
        git_sha="a" * 40,
        created_at=START,
        ready=True,
        candidate=candidate,
        served=True,
    )


@pytest.fixture
def platform() -> MemoryPlatform:
    """Two production hosts on v2, one of them a custom alias."""
    return MemoryPlatform(
        clock=AnyioClock(START),
        deployments=[
            deployment("v1"),
            deployment("v2"),
            deployment("preview", candidate=False),
        ],
        hosts={"shop": "v2", "custom": "v2"},
        move_seconds=MOVE_SECONDS,
        stays=["custom"],
    )


async def test_time_goes_as_anyio_s_clock_does() -> None:
    """A day's sleep is a day on the clock, and no time at all here."""
    clock = AnyioClock(START)
    assert clock.now() == START
    await anyio.sleep(86_400)
    assert clock.now() == START + timedelta(days=1)


async def test_a_fixed_clock_stands_still() -> None:
    """It moves when it is told to, and by as much."""
    clock = FixedClock(START)
    await anyio.sleep(60)
    assert clock.now() == START
    clock.advance(1.5)
    assert clock.now() == START + timedelta(seconds=1.5)


async def test_hosts_move_after_their_time(platform: MemoryPlatform) -> None:
    """Before the time is over nothing has moved, after it everything has."""
    await platform.roll_back("v1", description="bad")
    await anyio.sleep(MOVE_SECONDS - 0.1)
    assert (await platform.live())["shop"] == "v2"
    await anyio.sleep(0.2)
    assert (await platform.live())["shop"] == "v1"
    assert await platform.last_request() == AliasRequest(
        kind="rollback",
        from_deployment="v2",
        to_deployment="v1",
        status="succeeded",
        requested_at=START,
    )


async def test_a_custom_alias_stays_behind(platform: MemoryPlatform) -> None:
    """A rollback neither promises nor moves it; assigning it does."""
    assert await platform.moves("v1") == ("shop",)
    await platform.roll_back("v1", description="bad")
    await anyio.sleep(MOVE_SECONDS)
    assert await platform.live() == {"shop": "v1", "custom": "v2"}
    await platform.assign("v1", "custom")
    assert await platform.live() == {"shop": "v1", "custom": "v1"}
    assert platform.asked == [
        ("roll_back", "v1", "bad"),
        ("assign", "v1", "custom"),
    ]


async def test_a_preview_is_no_target(platform: MemoryPlatform) -> None:
    """The platform goes back only to what it calls a candidate."""
    with pytest.raises(NotATarget):
        await platform.roll_back("preview", description="")


async def test_somebody_else_can_move_production(platform: MemoryPlatform) -> None:
    """A promotion by others moves every host at once."""
    platform.taken_over("v1")
    assert set((await platform.live()).values()) == {"v1"}


async def test_everything_can_be_down(platform: MemoryPlatform) -> None:
    """Each adapter fails with the reason that was set, and recovers without it."""
    at_hand = JournalEntry(at=START, event="begun")
    ledger, channel = MemoryLedger(), MemoryChannel()
    ledger.down = channel.down = platform.down = "gone"
    with pytest.raises(LedgerUnreachable, match="gone"):
        await ledger.append("inc_1", at_hand)
    with pytest.raises(ChannelDown, match="gone"):
        await channel.send(Message(key="k", phase="p", title="t"))
    with pytest.raises(PlatformUnreachable, match="gone"):
        await platform.roll_back("v1", description="")
    assert platform.asked == []
    ledger.down = channel.down = platform.down = None
    await ledger.append("inc_1", at_hand)
    await channel.send(Message(key="k", phase="p", title="t"))
    assert await platform.live()
    assert [message.title for message in channel.messages] == ["t"]


async def test_sources_can_be_down() -> None:
    """A source in memory that is down is not silent: it says why."""
    source, errors = MemorySource("counters"), MemoryErrors("sentry")
    source.add("v2", Counts(second=1, requests=1))
    source.down = errors.down = "gone"
    with pytest.raises(SourceDown, match="gone"):
        await source.counts(deployment("v2"), since=0, until=9)
    with pytest.raises(SourceDown, match="gone"):
        await errors.critical_errors(
            deployment("v2"), codes=["A"], environment="production", since=START
        )
    source.down = None
    assert len(await source.counts(deployment("v2"), since=0, until=9)) == 1
    assert (source.name, errors.name) == ("counters", "sentry")


async def test_a_site_answers_by_a_table() -> None:
    """What is in the table is answered after its time; the rest is not found."""
    answer = Answer(status=200, seconds=2.0, body=b"ok")
    site = MemorySite({"http://shop/": answer})
    began = anyio.current_time()
    assert await site.request("GET", "http://shop/", timeout_seconds=5) == answer
    assert anyio.current_time() - began == pytest.approx(2)
    other = await site.request("GET", "http://shop/x", timeout_seconds=5)
    assert other.status == 404
    assert [each.url for each in site.asked] == ["http://shop/", "http://shop/x"]


async def test_a_site_answers_by_a_function() -> None:
    """The function sees the whole request, and time does not run past a deadline."""

    def answer(request: SiteRequest) -> Answer:
        assert request == SiteRequest(
            method="POST", url="http://shop/", json={"a": 1}, protected=True
        )
        return Answer(status=200, seconds=60.0)

    began = anyio.current_time()
    found = await MemorySite(answer).request(
        "POST", "http://shop/", json={"a": 1}, timeout_seconds=5, protected=True
    )
    assert found.status is None
    assert found.seconds == 5
    assert anyio.current_time() - began == pytest.approx(5)


async def test_a_lease_of_an_hour_runs_out_in_the_simulator() -> None:
    """Leases go by anyio's clock, so that a simulated hour is over at once."""
    ledger = MemoryLedger()
    await ledger.open_incident(_incident("inc_1"), lease_seconds=3600)
    await anyio.sleep(3601)
    await ledger.open_incident(_incident("inc_2"), lease_seconds=3600)
    old = await ledger.incident("inc_1")
    assert old is not None
    assert old.outcome is not None


def _incident(name: str) -> Incident:
    return Incident(
        id=name,
        environment="production",
        from_deployment="v2",
        to_deployment="v1",
        reason="bad",
        opened_at=START,
    )
