"""A feature switched off, or back: in the store, at the edge, and on record."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote

import anyio
import pytest
import trio
from trio.testing import MockClock

from rollback.adapters.memory import (
    AnyioClock,
    CountedTokens,
    MemoryCache,
    MemoryChannel,
    MemoryFlags,
    MemoryLedger,
    MemoryPlatform,
    MemorySite,
    SiteRequest,
)
from rollback.decide import Limits
from rollback.errors import (
    FlagsUnreachable,
    NothingSaved,
    PlatformDenied,
    PlatformUnreachable,
    UnknownFlag,
)
from rollback.model import Answer, Incident, Outcome, StepStatus
from rollback.ports import Ledger
from rollback.response import Policy
from rollback.switch import Switch
from rollback.targets.flags import EdgeCache, Flags

SITE = "https://wedsync.example"
POLICY = Policy(
    environment="production",
    site_url=None,
    limits=Limits(thresholds=(), critical_errors=()),
)


@dataclass
class World:
    """An app that shows what its flag says, and an edge that keeps what it showed.

    `late` is how many old answers are still to arrive at the edge; `status` what the
    app answers; while `stubborn`, the edge forgets nothing.
    """

    store: MemoryFlags = field(default_factory=lambda: MemoryFlags(timeline=b"enabled"))
    cache: MemoryCache = field(default_factory=MemoryCache)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    channel: MemoryChannel = field(default_factory=MemoryChannel)
    clock: AnyioClock = field(default_factory=AnyioClock)
    tokens: CountedTokens = field(default_factory=CountedTokens)
    late: int = 0
    status: int = 200
    stubborn: bool = False

    def __post_init__(self) -> None:
        """Nobody has looked yet."""
        self.bodies: dict[str, bytes] = {}
        self.site = MemorySite(self.answer)
        self.platform = MemoryPlatform(
            clock=self.clock, deployments=[], hosts={"wedsync.example": "dpl_v2"}
        )

    def switch(self, ledger: Ledger | None = None) -> Switch:
        """What is tested."""
        edge = EdgeCache(self.cache, self.site, self.platform, timeout_seconds=30)
        return Switch(
            ledger=ledger or self.ledger,
            channels=(self.channel,),
            targets={"flags": Flags(self.store, self.clock), "cdn": edge},
            clock=self.clock,
            tokens=self.tokens,
            policy=POLICY,
            notice=lambda _: None,
        )

    def answer(self, request: SiteRequest) -> Answer:
        """What the edge answers: what it keeps, or what the app says now."""
        url = request.url
        if self.status != 200:
            return Answer(status=self.status, seconds=0.01)
        if url not in self.cache.kept and not (self.stubborn and url in self.bodies):
            name = unquote(url.partition("?")[0].rpartition("/")[2])
            shown = self.store.states[name] == b"enabled"
            if self.late and "?" not in url:
                self.late, shown = self.late - 1, not shown
            self.bodies[url] = json.dumps({"name": name, "enabled": shown}).encode()
            self.cache.kept[url] = frozenset({f"feature:{name}"})
        return Answer(status=200, seconds=0.01, body=self.bodies[url])

    def shown(self, name: str = "timeline") -> bool:
        """What a visitor gets."""
        url = f"{SITE}/api/features/{name}"
        answer = self.answer(SiteRequest(method="GET", url=url))
        return bool(json.loads(answer.body)["enabled"])

    async def do(self, name: str = "timeline", *, back: bool = False) -> Incident:
        """Switch it."""
        switch = self.switch()
        planned = await switch.plan(name, reason="wrong times", back=back)
        return await switch.carry_out(planned)

    async def last(self) -> Incident:
        """The newest incident on record."""
        (found,) = await self.ledger.incidents("production", limit=1)
        return found


def play(scene: Callable[[World], Awaitable[None]]) -> None:
    """Play a scene on a clock that jumps over every wait."""

    async def run() -> None:
        await scene(World())

    trio.run(run, clock=MockClock(autojump_threshold=0))


def statuses(incident: Incident) -> list[StepStatus]:
    """How its steps ended."""
    return [step.status for step in incident.steps]


DONE, ALREADY = StepStatus.DONE, StepStatus.ALREADY
FAILED, SKIPPED = StepStatus.FAILED, StepStatus.SKIPPED


def test_a_feature_is_off_for_visitors_who_saw_it_a_moment_ago() -> None:
    """The flag, the edge, the record and the channel agree."""

    async def scene(world: World) -> None:
        assert world.shown()

        ended = await world.do()

        assert (ended.outcome, statuses(ended)) == (Outcome.RESTORED, [DONE, DONE])
        assert world.store.states == {"timeline": b"disabled"}
        assert world.cache.purged == [("feature:timeline",)]
        assert not world.shown()
        kept = await world.last()
        assert (kept.id, kept.outcome, kept.reason) == (
            ended.id,
            Outcome.RESTORED,
            "wrong times",
        )
        assert (kept.part, kept.from_deployment) == ("flags", "feature:timeline")
        assert [entry.event for entry in kept.journal] == [
            "step_begins",
            "step_accepted",
            "step_done",
        ] * 2
        assert [message.title for message in world.channel.messages] == [
            "Switching feature:timeline off in production",
            "Production: feature:timeline is disabled",
        ]
        assert {phase.name for phase in kept.phases} >= {"initiate", "verify"}

    play(scene)


def test_it_is_put_back_and_seen_to_be() -> None:
    """What the edge kept of the time without it is gone too."""

    async def scene(world: World) -> None:
        await world.do()
        assert not world.shown()

        ended = await world.do(back=True)

        assert (ended.outcome, statuses(ended)) == (Outcome.RESTORED, [DONE, DONE])
        assert world.store.states == {"timeline": b"enabled"}
        assert world.shown()
        assert world.channel.messages[-1].title == (
            "Production: feature:timeline is as it was"
        )

    play(scene)


def test_doing_it_twice_does_no_harm() -> None:
    """The flag is so already; the edge is purged again, as one look proves little."""

    async def scene(world: World) -> None:
        await world.do()
        saved = dict(world.store.saved)

        ended = await world.do()

        assert (ended.outcome, statuses(ended)) == (Outcome.RESTORED, [ALREADY, DONE])
        assert world.store.saved == saved
        assert len(world.cache.purged) == 2
        assert len(await world.ledger.incidents("production", limit=9)) == 2

    play(scene)


def test_an_old_answer_that_arrives_late_is_purged_again() -> None:
    """It was under way when the edge was purged, and would have been kept."""

    async def scene(world: World) -> None:
        world.late = 1

        ended = await world.do()

        assert ended.outcome is Outcome.RESTORED
        assert len(world.cache.purged) == 2
        assert not world.shown()

    play(scene)


def test_an_old_answer_that_comes_back_is_noticed() -> None:
    """One good look is not enough."""

    async def scene(world: World) -> None:
        looks = 0

        def meddle(request: SiteRequest) -> Answer:
            nonlocal looks
            looks += 1
            if looks == 2:
                url = f"{SITE}/api/features/timeline"
                world.bodies[url] = b'{"enabled": true}'
            return world.answer(request)

        world.site = MemorySite(meddle)

        ended = await world.do()

        assert ended.outcome is Outcome.RESTORED
        assert len(world.cache.purged) == 2
        assert not world.shown()

    play(scene)


@pytest.mark.parametrize("back", [False, True])
def test_an_edge_that_does_not_forget_is_told_and_undoes_nothing(*, back: bool) -> None:
    """Escalated, and the flag is what it was switched to."""

    async def scene(world: World) -> None:
        if back:
            await world.do()
        world.shown()
        world.stubborn = True

        ended = await world.do(back=back)

        assert (ended.outcome, statuses(ended)) == (Outcome.ESCALATED, [DONE, FAILED])
        assert "answers as before" in ended.detail
        expected = b"enabled" if back else b"disabled"
        assert world.store.states == {"timeline": expected}
        assert "NOT restored" in world.channel.messages[-1].title

    play(scene)


@pytest.mark.parametrize(
    "problem", [PlatformUnreachable("no answer"), PlatformDenied("not you")]
)
def test_a_purge_that_fails_does_not_undo_the_flag(
    problem: PlatformUnreachable | PlatformDenied,
) -> None:
    """It is told as what it is; running it again finishes it."""

    async def scene(world: World) -> None:
        world.shown()
        world.cache.problems = [problem]

        ended = await world.do()

        assert (ended.outcome, statuses(ended)) == (Outcome.ESCALATED, [DONE, FAILED])
        assert problem.message in ended.detail
        assert "again does no harm" in ended.detail
        assert world.store.states == {"timeline": b"disabled"}
        assert (await world.last()).outcome is Outcome.ESCALATED

        again = await world.do()

        assert (again.outcome, statuses(again)) == (Outcome.RESTORED, [ALREADY, DONE])
        assert not world.shown()

    play(scene)


def test_a_site_that_cannot_tell_is_not_taken_for_off() -> None:
    """An error says nothing about the feature."""

    async def scene(world: World) -> None:
        world.status = 503

        ended = await world.do()

        assert (ended.outcome, statuses(ended)) == (Outcome.ESCALATED, [DONE, FAILED])
        assert "answered 503" in ended.detail

    play(scene)


def test_the_site_s_address_may_be_unknown_for_a_while() -> None:
    """The flag does not wait for the platform; the look at the edge does."""

    async def scene(world: World) -> None:
        world.platform.down = "not now"

        async def recover() -> None:
            await anyio.sleep(5)
            assert world.store.states == {"timeline": b"disabled"}
            world.platform.down = None

        async with anyio.create_task_group() as group:
            group.start_soon(recover)
            ended = await world.do()

        assert ended.outcome is Outcome.RESTORED

    play(scene)


def test_a_feature_s_name_is_escaped_in_its_address() -> None:
    """It is one part of the path, whatever it holds."""

    async def scene(world: World) -> None:
        name = "a/b c?d"
        world.store.states[name] = b"enabled"

        ended = await world.do(name)

        assert ended.outcome is Outcome.RESTORED
        assert world.cache.purged == [("feature:a/b c?d",)]
        assert {request.url for request in world.site.asked} == {
            f"{SITE}/api/features/a%2Fb%20c%3Fd"
        }

    play(scene)


def test_the_ledger_s_outage_does_not_stop_it() -> None:
    """It is done, told, and says that it is not on record."""

    async def scene(world: World) -> None:
        world.ledger.down = "the database is down"

        ended = await world.do()

        assert ended.outcome is Outcome.RESTORED
        assert "was not saved: the database is down" in ended.detail
        assert not world.shown()
        assert len(world.channel.messages) == 2

    play(scene)


class Slow(MemoryLedger):
    """A ledger that takes its time."""

    async def open_incident(self, incident: Incident, *, lease_seconds: float) -> None:
        """As the ledger's, much later."""
        await anyio.sleep(60)
        await super().open_incident(incident, lease_seconds=lease_seconds)


def test_neither_a_slow_ledger_nor_a_dead_channel_holds_up_the_flag() -> None:
    """The flag is off before either has answered."""

    async def scene(world: World) -> None:
        world.channel.down = "no answer"
        began, off = anyio.current_time(), []
        disable = world.store.disable

        async def noted(name: str, *, at: datetime) -> None:
            await disable(name, at=at)
            off.append(anyio.current_time() - began)

        world.store.disable = noted  # type: ignore[method-assign]  # to see when
        switch = world.switch(Slow())

        ended = await switch.carry_out(
            await switch.plan("timeline", reason="x", back=False)
        )

        assert off == [0.0]
        assert ended.outcome is Outcome.RESTORED
        assert [sent.problem for sent in ended.deliveries] == ["no answer"] * 2
        assert "communicate" not in {phase.name for phase in ended.phases}

    play(scene)


def test_somebody_else_at_it_is_no_reason_to_wait() -> None:
    """Both do the same; the second closes its own incident."""

    async def scene(world: World) -> None:
        other = Incident(
            id="inc-other",
            environment="production",
            from_deployment="feature:timeline",
            to_deployment="disabled",
            reason="x",
            opened_at=world.clock.now(),
        )
        await world.ledger.open_incident(other, lease_seconds=900)
        await anyio.sleep(1)

        ended = await world.do()

        assert ended.outcome is Outcome.RESTORED
        kept = await world.ledger.incident(ended.id)
        assert kept is not None
        assert kept.outcome is Outcome.RESTORED

    play(scene)


def test_a_store_that_falls_away_is_escalated_and_nothing_is_purged() -> None:
    """What is not known to be off is not called so."""

    async def scene(world: World) -> None:
        switch = world.switch()
        planned = await switch.plan("timeline", reason="x", back=False)
        world.store.down = "Redis is gone"

        ended = await switch.carry_out(planned)

        assert ended.outcome is Outcome.ESCALATED
        assert statuses(ended) == [FAILED, SKIPPED]
        assert "Redis is gone" in ended.detail
        assert world.cache.purged == []

    play(scene)


def test_a_flag_that_is_switched_on_again_at_once_is_noticed() -> None:
    """Read again after it was written: it is not what it should be."""

    async def scene(world: World) -> None:
        disable = world.store.disable

        async def undone(name: str, *, at: datetime) -> None:
            await disable(name, at=at)
            world.store.states[name] = b"enabled"

        world.store.disable = undone  # type: ignore[method-assign]  # somebody else

        ended = await world.do()

        assert (ended.outcome, statuses(ended)) == (
            Outcome.ESCALATED,
            [FAILED, SKIPPED],
        )
        assert "somebody switches it too" in ended.detail

    play(scene)


def test_what_cannot_be_switched_is_told_before_anything_is_announced() -> None:
    """An unknown flag, nothing to put back, a store that is down: no incident."""

    async def scene(world: World) -> None:
        with pytest.raises(UnknownFlag):
            await world.do("nope")
        with pytest.raises(NothingSaved):
            await world.do(back=True)
        world.store.down = "no answer"
        with pytest.raises(FlagsUnreachable):
            await world.do()

        assert world.channel.messages == []
        assert await world.ledger.incidents("production", limit=9) == ()

    play(scene)


def test_an_interruption_leaves_word() -> None:
    """The flag stays off, and the record says that a person is needed."""

    async def scene(world: World) -> None:
        world.shown()
        world.stubborn = True
        with anyio.move_on_after(3) as cut:
            await world.do()

        assert cut.cancelled_caught
        kept = await world.last()
        assert kept.outcome is Outcome.ESCALATED
        assert "interrupted" in kept.detail
        assert [entry.event for entry in kept.journal][:3] == [
            "step_begins",
            "step_accepted",
            "step_done",
        ]
        assert world.store.states == {"timeline": b"disabled"}
        assert "NOT restored" in world.channel.messages[-1].title

    play(scene)
