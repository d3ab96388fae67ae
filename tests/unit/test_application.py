"""Moving production back: asked once, and believed only when every host serves it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

from rollback.adapters.memory import AnyioClock, MemoryPlatform
from rollback.errors import (
    PlatformBusy,
    PlatformDenied,
    PlatformUnreachable,
    StepFailed,
)
from rollback.model import AliasRequest, PlatformDeployment, RollingRelease, Step
from rollback.targets.application import Application

START = datetime(2026, 1, 1, tzinfo=UTC)
MAIN, CUSTOM = "wedsync.example", "book.example"
STEP = Step(
    target="application",
    name="point production at dpl_v1",
    from_deployment="dpl_v2",
    to_deployment="dpl_v1",
)
Scene = Callable[[MemoryPlatform, Application], Awaitable[None]]


class Watched(MemoryPlatform):
    """A platform on which somebody else acts right after our request for the past."""

    then: Callable[[], None] | None = None

    async def last_request(self) -> AliasRequest | None:
        """As the platform's; then the other one acts, once."""
        found = await super().last_request()
        then, self.then = self.then, None
        if then:
            then()
        return found


def deployment(name: str) -> PlatformDeployment:
    """A release as the platform knows it."""
    return PlatformDeployment(
        id=f"dpl_{name}",
        url=f"https://{name}.example",
        git_sha=name * 20,
        created_at=START - timedelta(days=1),
        ready=True,
        candidate=True,
        served=True,
    )


def play(scene: Scene, hosts: Mapping[str, str] | None = None) -> None:
    """Play a scene: v2 on the main and on a custom host that no job moves."""

    async def run() -> None:
        platform = Watched(
            clock=AnyioClock(START),
            deployments=[deployment(name) for name in ("v1", "v2", "v3")],
            hosts=dict.fromkeys((MAIN, CUSTOM), "dpl_v2") if hosts is None else hosts,
            move_seconds=2.0,
            stays=[CUSTOM],
        )
        await trio.sleep(1)
        await scene(platform, Application(platform, timeout_seconds=60))

    trio.run(run, clock=MockClock(autojump_threshold=0))


def request(status: str, *, to: str = "dpl_v1", at: float = 0) -> AliasRequest:
    """A rollback from v2 that is on the platform's record."""
    return AliasRequest(
        kind="rollback",
        from_deployment="dpl_v2",
        to_deployment=to,
        status=status,
        requested_at=START + timedelta(seconds=at),
    )


def verbs(platform: MemoryPlatform) -> list[tuple[str, ...]]:
    """What the platform was asked to change, without the descriptions."""
    return [(verb, what) for verb, _, what in platform.asked if verb == "assign"] + [
        (verb,) for verb, *_ in platform.asked if verb != "assign"
    ]


def test_a_custom_host_that_the_job_left_behind_is_assigned() -> None:
    """The platform moves its own hosts; the others are moved one by one."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        await target.apply(STEP, reason="bad")
        assert "every production host" in await target.verify(STEP)

        assert set((await platform.live()).values()) == {"dpl_v1"}
        assert verbs(platform) == [("assign", CUSTOM), ("roll_back",)]

    play(scene)


def test_a_custom_host_is_not_assigned_before_the_job_has_ended() -> None:
    """While our job runs nobody interferes with it."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.hang = True
        await target.apply(STEP, reason="bad")
        with pytest.raises(StepFailed, match="may still run"):
            await target.verify(STEP)

        assert verbs(platform) == [("roll_back",)]

    play(scene)


def test_a_hotfix_that_came_meanwhile_is_not_rolled_over() -> None:
    """When the bad one is live nowhere any more, nothing is asked of the platform."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        assert isinstance(platform, Watched)
        platform.then = lambda: platform.taken_over("dpl_v3")
        with pytest.raises(StepFailed, match=r"dpl_v2 is no longer live: .*dpl_v3"):
            await target.apply(STEP, reason="bad")

        assert platform.asked == []
        assert set((await platform.live()).values()) == {"dpl_v3"}

    play(scene)


def test_a_hotfix_that_comes_during_the_move_is_left_alone() -> None:
    """What somebody else pointed elsewhere after we asked is not taken from them."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        await target.apply(STEP, reason="bad")
        await trio.sleep(3)
        await platform.live()
        platform.taken_over("dpl_v3")
        with pytest.raises(StepFailed, match=MAIN):
            await target.verify(STEP)

        assert set((await platform.live()).values()) == {"dpl_v3"}

    play(scene)


def test_a_host_that_is_not_reported_is_behind() -> None:
    """No answer for a host is not the answer that it serves the target."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.dark = {CUSTOM}
        assert not await target.check(STEP)

    play(scene, {MAIN: "dpl_v1", CUSTOM: "dpl_v1"})


def test_a_host_that_serves_nothing_is_assigned_too() -> None:
    """The move ends when the platform resolves each production host."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.dark = {CUSTOM}
        await target.apply(STEP, reason="bad")
        await target.verify(STEP)

        assert await platform.live() == dict.fromkeys((MAIN, CUSTOM), "dpl_v1")

    play(scene)


def test_no_hosts_at_all_are_no_success() -> None:
    """An empty answer proves nothing: not done before, and not done after."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        assert not await target.check(STEP)
        with pytest.raises(StepFailed, match="on no host"):
            await target.verify(STEP)
        assert platform.asked == []

    play(scene, {})


def test_what_a_killed_run_left_behind_is_finished() -> None:
    """The job is done and nothing newer comes: the remaining host is still moved."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.note(request("succeeded"))
        await target.apply(STEP, reason="again")
        await target.verify(STEP)

        assert set((await platform.live()).values()) == {"dpl_v1"}

    play(scene, {MAIN: "dpl_v1", CUSTOM: "dpl_v2"})


def test_an_older_failed_job_does_not_end_ours() -> None:
    """That a rollback failed once does not keep a new one from being finished."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.note(request("failed"))
        await target.apply(STEP, reason="again")
        await target.verify(STEP)

        assert set((await platform.live()).values()) == {"dpl_v1"}

    play(scene, {MAIN: "dpl_v1", CUSTOM: "dpl_v2"})


def test_an_older_job_that_still_runs_is_waited_for() -> None:
    """A killed run's job is on its way: nothing is assigned before it has ended."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.hang = True
        platform.note(request("in-progress"))
        await target.apply(STEP, reason="again")
        with pytest.raises(StepFailed, match=CUSTOM):
            await target.verify(STEP)

        assert ("assign", CUSTOM) not in verbs(platform)

    play(scene, {MAIN: "dpl_v1", CUSTOM: "dpl_v2"})


def test_our_failed_job_ends_the_step_at_once() -> None:
    """No waiting for what will not come; the hosts that stayed are named."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.fail = True
        await target.apply(STEP, reason="bad")
        began = trio.current_time()
        with pytest.raises(StepFailed, match=rf"ended as failed.*{CUSTOM}, {MAIN}"):
            await target.verify(STEP)

        assert trio.current_time() - began < 5
        assert verbs(platform) == [("roll_back",)]

    play(scene)


def test_a_newer_request_of_somebody_else_is_not_interfered_with() -> None:
    """Who moves production elsewhere after us is not pushed back."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        await target.apply(STEP, reason="bad")
        platform.note(request("succeeded", to="dpl_v3", at=30))
        with pytest.raises(StepFailed):
            await target.verify(STEP)

        assert verbs(platform) == [("roll_back",)]

    play(scene)


def test_an_older_request_is_not_taken_for_ours() -> None:
    """After a lost reply only a newer request proves that ours was taken."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.note(request("succeeded"))
        platform.refuse = PlatformUnreachable("The answer was lost.")
        with pytest.raises(StepFailed, match="did not take"):
            await target.apply(STEP, reason="bad")

    play(scene)


def test_a_newer_request_of_another_kind_or_target_is_not_ours() -> None:
    """After a lost reply a promotion, or a move elsewhere, proves nothing either."""
    newer = request("succeeded", at=30)
    others = (
        replace(newer, kind="promote"),
        replace(newer, to_deployment="dpl_v3"),
    )
    for other in others:

        async def scene(
            platform: MemoryPlatform,
            target: Application,
            other: AliasRequest = other,
        ) -> None:
            assert isinstance(platform, Watched)
            platform.then = lambda: platform.note(other)
            platform.refuse = PlatformUnreachable("The answer was lost.")
            with pytest.raises(StepFailed, match="did not take"):
                await target.apply(STEP, reason="bad")

        play(scene)


def test_a_platform_that_is_silent_for_a_moment_is_asked_again() -> None:
    """One unanswered look does not give up a move that goes on."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        await target.apply(STEP, reason="bad")
        platform.down = "502"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(target.verify, STEP)
            await trio.sleep(10)
            platform.down = None

        assert set((await platform.live()).values()) == {"dpl_v1"}

    play(scene)


def test_a_rolling_release_of_the_bad_one_ends_with_the_same_request() -> None:
    """The bad one serves a part of the visits, though every host names the target."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.rolling = RollingRelease(base="dpl_v1", canary="dpl_v2")
        assert not await target.check(STEP)
        await target.apply(STEP, reason="bad")
        await target.verify(STEP)

        assert platform.rolling is None
        assert verbs(platform) == [("roll_back",)]

    play(scene, {MAIN: "dpl_v1"})


def test_a_rolling_release_that_goes_on_is_no_success() -> None:
    """That the hosts name the target says nothing of the visits that are parted."""

    class Stubborn(MemoryPlatform):
        """A platform whose rolling release outlives the rollback."""

        async def rolling_release(self) -> RollingRelease | None:
            """As before, whatever was asked."""
            return RollingRelease(base="dpl_v1", canary="dpl_v2")

    async def run() -> None:
        platform = Stubborn(
            clock=AnyioClock(START),
            deployments=[deployment("v1"), deployment("v2")],
            hosts={MAIN: "dpl_v1"},
        )
        target = Application(platform, timeout_seconds=60)
        await target.apply(STEP, reason="bad")
        with pytest.raises(StepFailed, match="may still run"):
            await target.verify(STEP)

    trio.run(run, clock=MockClock(autojump_threshold=0))


def test_a_limit_is_waited_for_and_asked_again() -> None:
    """A platform that says when to come again has taken nothing."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.refuse = [PlatformBusy("Limit.", wait_seconds=7)] * 2
        began = trio.current_time()
        await target.apply(STEP, reason="bad")

        assert trio.current_time() - began == pytest.approx(14)
        assert verbs(platform) == [("roll_back",)] * 3
        await target.verify(STEP)

    play(scene)


@pytest.mark.parametrize("wait", [None, 3600.0])
def test_a_limit_without_an_end_in_sight_ends_the_step(wait: float | None) -> None:
    """No rollback has an hour, and without a time there is nothing to wait for."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.refuse = PlatformBusy("Limit.", wait_seconds=wait)
        began = trio.current_time()
        with pytest.raises(StepFailed, match="did not take"):
            await target.apply(STEP, reason="bad")

        assert trio.current_time() - began < 1
        assert verbs(platform) == [("roll_back",)]

    play(scene)


def test_a_hotfix_that_comes_while_waiting_is_not_rolled_over() -> None:
    """Before asking again, what is live is looked at again."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.refuse = [PlatformBusy("Limit.", wait_seconds=5)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fix, platform)
            with pytest.raises(StepFailed, match="no longer live"):
                await target.apply(STEP, reason="bad")

        assert verbs(platform) == [("roll_back",)]

    async def fix(platform: MemoryPlatform) -> None:
        await trio.sleep(2)
        platform.taken_over("dpl_v3")

    play(scene)


def test_a_request_whose_reply_was_lost_may_show_late() -> None:
    """It is looked for during some seconds before it is taken for lost."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.refuse = PlatformUnreachable("The answer was lost.")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show, platform)
            await target.apply(STEP, reason="bad")

        assert verbs(platform) == [("roll_back",)]

    async def show(platform: MemoryPlatform) -> None:
        await trio.sleep(3)
        platform.note(request("in-progress", at=30))

    play(scene)


def test_a_job_that_ends_in_an_unknown_way_has_failed() -> None:
    """A word that the platform did not use before is no success."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        await target.apply(STEP, reason="bad")
        platform.note(request("expired", at=30))
        with pytest.raises(StepFailed, match="ended as expired"):
            await target.verify(STEP)

    play(scene)


def test_hosts_that_were_pointed_by_hand_are_moved_by_hand() -> None:
    """The platform does not count them to production, and visitors use them."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.by_hand = {CUSTOM: "dpl_v2"}
        step = replace(STEP, hosts=(CUSTOM,))
        assert not await target.check(step)
        await target.apply(step, reason="bad")
        await target.verify(step)

        assert platform.by_hand == {CUSTOM: "dpl_v1"}
        assert await target.check(step)

    play(scene, {MAIN: "dpl_v2"})


def test_a_queued_promotion_is_told_at_once() -> None:
    """It is not waited for: it comes whenever the rolling release has ended."""

    class Late(MemoryPlatform):
        """A platform on which a rolling release begins when nobody looks."""

        async def promote(self, deployment_id: str) -> bool:
            """As the platform's, behind a rolling release."""
            self.rolling = RollingRelease(base="dpl_v2", canary="dpl_v3")
            return await super().promote(deployment_id)

    async def run() -> None:
        platform = Late(
            clock=AnyioClock(START),
            deployments=[deployment("v1"), deployment("v2")],
            hosts={MAIN: "dpl_v2"},
        )
        with pytest.raises(StepFailed, match="queued dpl_v1 behind"):
            await Application(platform).apply(replace(STEP, forward=True), reason="")

    trio.run(run, clock=MockClock(autojump_threshold=0))


def test_what_new_builds_do_is_not_known_and_told() -> None:
    """The move is done all the same."""

    class Shy(MemoryPlatform):
        """A platform that does not tell of its settings."""

        async def auto_assigns(self) -> bool | None:
            """Refuse."""
            raise PlatformDenied("No right to see the settings.")

    async def run() -> None:
        platform = Shy(
            clock=AnyioClock(START),
            deployments=[deployment("v1"), deployment("v2")],
            hosts={MAIN: "dpl_v2"},
        )
        target = Application(platform)
        await target.apply(STEP, reason="bad")
        assert "is not known: No right" in await target.verify(STEP)

    trio.run(run, clock=MockClock(autojump_threshold=0))


def test_what_served_something_else_when_we_asked_is_left_to_its_owner() -> None:
    """A host that somebody pointed at a fix before is no host of the bad one."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.by_hand = {"shop.example": "dpl_v3"}
        step = replace(STEP, hosts=("shop.example",))
        await target.apply(step, reason="bad")
        with pytest.raises(StepFailed, match=r"shop\.example serves dpl_v3"):
            await target.verify(step)

        assert platform.by_hand == {"shop.example": "dpl_v3"}
        assert verbs(platform) == [("assign", CUSTOM), ("roll_back",)]

    play(scene)


@pytest.mark.parametrize("host", [CUSTOM, "shop.example"])
def test_a_host_of_another_project_is_not_taken_for_dark(host: str) -> None:
    """The platform names no deployment of ours, and it serves somebody all the same."""

    async def scene(platform: MemoryPlatform, target: Application) -> None:
        platform.foreign = {host}
        step = replace(STEP, hosts=("shop.example",))
        await target.apply(step, reason="bad")
        with pytest.raises(StepFailed, match=f"{host} serves nothing of this project"):
            await target.verify(step)

        assert ("assign", host) not in verbs(platform)

    play(scene)


def test_a_host_that_cannot_be_assigned_does_not_hold_the_others() -> None:
    """All are tried; the refused ones are named when the others have moved."""

    class Picky(MemoryPlatform):
        """A platform on which one host is somebody else's."""

        async def assign(self, deployment_id: str, host: str) -> None:
            """Refuse the first one."""
            if host == "a.example":
                raise PlatformDenied("Not yours.")
            await super().assign(deployment_id, host)

    async def run() -> None:
        platform = Picky(
            clock=AnyioClock(START),
            deployments=[deployment("v1"), deployment("v2")],
            hosts={MAIN: "dpl_v2"},
        )
        platform.by_hand = {"a.example": "dpl_v2", "b.example": "dpl_v2"}
        step = replace(STEP, hosts=tuple(platform.by_hand))
        target = Application(platform, timeout_seconds=60)
        await target.apply(step, reason="bad")
        with pytest.raises(PlatformDenied, match=r"a\.example: Not yours"):
            await target.verify(step)

        assert platform.by_hand == {"a.example": "dpl_v2", "b.example": "dpl_v1"}

    trio.run(run, clock=MockClock(autojump_threshold=0))
