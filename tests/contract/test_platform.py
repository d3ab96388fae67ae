"""The contract of the port `Platform`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import anyio
import httpx
import pytest

from rollback.adapters.memory import AnyioClock, MemoryPlatform
from rollback.adapters.vercel import VercelPlatform
from rollback.errors import (
    NotATarget,
    PlatformBusy,
    PlatformDenied,
    PlatformUnreachable,
)
from rollback.model import AliasRequest, PlatformDeployment, RollingRelease
from rollback.ports import Platform
from stack.backends import Stack

pytestmark = pytest.mark.anyio

UPGRADE = "To roll back further, upgrade to pro"
HOSTS = ("127.0.0.1:3000", "wedsync.localhost")


class Trial(Protocol):
    """A platform with two deployments, and what can be done to it."""

    platform: Platform
    good: str
    bad: str
    """The one that is live."""
    good_host: str
    good_sha: str

    def deny(self) -> None:
        """Refuse the next rollback for the plan that is paid."""

    def lose_reply(self) -> None:
        """Take the next rollback, and drop the connection in place of an answer."""

    def hang(self) -> None:
        """Let jobs go on for ever."""

    def fail(self) -> None:
        """Let jobs fail, with nothing moved."""

    def fail_builds(self) -> None:
        """Let what is built again end as an error."""

    def be_busy(self) -> None:
        """Refuse the next change for now, for seven seconds."""

    def roll_out(self) -> None:
        """Make the good one live, and roll the bad one out in stages."""


class MemoryTrial:
    """On the adapter in memory."""

    good, bad = "dpl_v1", "dpl_v2"
    good_host, good_sha = "127.0.0.1:3001", "1" * 40

    def __init__(self) -> None:
        self.double = MemoryPlatform(
            clock=AnyioClock(),
            deployments=[
                _deployment(self.good, 3001, self.good_sha),
                _deployment(self.bad, 3002, "2" * 40),
            ],
            hosts=dict.fromkeys(HOSTS, self.bad),
            move_seconds=0.3,
        )
        self.platform: Platform = self.double

    def deny(self) -> None:
        """As the protocol."""
        self.double.refuse = PlatformDenied(UPGRADE)

    def lose_reply(self) -> None:
        """As the protocol."""
        self.double.lose_reply = True

    def hang(self) -> None:
        """As the protocol."""
        self.double.hang = True

    def fail(self) -> None:
        """As the protocol."""
        self.double.fail = True

    def fail_builds(self) -> None:
        """As the protocol."""
        self.double.fail = True

    def be_busy(self) -> None:
        """As the protocol."""
        self.double.refuse = [PlatformBusy("Too early.", wait_seconds=7)]

    def roll_out(self) -> None:
        """As the protocol."""
        self.double.taken_over(self.good)
        self.double.rolling = RollingRelease(base=self.good, canary=self.bad)


@dataclass
class VercelTrial:
    """On the stand-in for Vercel."""

    stack: Stack
    control: httpx.Client

    def __post_init__(self) -> None:
        given = self.stack.environment
        self.platform: Platform = VercelPlatform(
            token=given["VERCEL_TOKEN"],
            team_id=given["VERCEL_TEAM_ID"],
            project_id=given["VERCEL_PROJECT_ID"],
            url=given["VERCEL_API_URL"],
        )
        self.good, self.bad = self.stack.deployments["v1"], self.stack.deployments["v2"]
        self.good_host = self.stack.deployment_urls["v1"].removeprefix("http://")
        self.good_sha = self.stack.git_shas["v1"]
        self.url = self.stack.addresses["platform"]
        self.control.post(f"{self.url}/_control/reset").raise_for_status()

    def faults(self, **faults: Any) -> None:
        """Put faults in force."""
        self.control.post(f"{self.url}/_control/faults", json=faults).raise_for_status()

    def deny(self) -> None:
        """As the protocol."""
        self.faults(rollback={"status": 402, "message": UPGRADE, "times": 9})

    def lose_reply(self) -> None:
        """As the protocol."""
        self.faults(lose_reply=True)

    def hang(self) -> None:
        """As the protocol."""
        self.faults(hang=True)

    def fail(self) -> None:
        """As the protocol."""
        self.faults(job_status="failed")

    def fail_builds(self) -> None:
        """As the protocol."""
        self.faults(build_fails=True)

    def be_busy(self) -> None:
        """As the protocol."""
        busy = {"status": 429, "message": "Too early", "retry_after": 7}
        self.faults(rollback=busy, promote=busy)

    def roll_out(self) -> None:
        """As the protocol."""
        body = {"deployment": self.good}
        self.control.post(f"{self.url}/_control/live", json=body).raise_for_status()
        self.faults(rolling={"canary": self.bad, "percentage": 10})


@pytest.fixture
def trial(kind: str, request: pytest.FixtureRequest, control: httpx.Client) -> Trial:
    """A platform on which v2 is live, and v1 can be rolled back to."""
    if kind == "real":
        return VercelTrial(request.getfixturevalue("stack"), control)
    return MemoryTrial()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds."""
    with anyio.fail_after(10):
        while not await holds():  # noqa: ASYNC110 - it is in another process
            await anyio.sleep(0.05)


async def until_live(trial: Trial, deployment: str) -> None:
    """Wait until every production host serves the deployment."""

    async def moved() -> bool:
        return set((await trial.platform.live()).values()) == {deployment}

    await until(moved)


async def request_of(trial: Trial) -> AliasRequest:
    """The last request, which must be there."""
    request = await trial.platform.last_request()
    assert request is not None
    return request


async def test_a_deployment_is_found_by_id_and_by_host(trial: Trial) -> None:
    """Its id, its own host and a production host that it serves all lead to it."""
    good = await trial.platform.deployment(trial.good)
    assert good is not None
    assert (good.id, good.git_sha) == (trial.good, trial.good_sha)
    assert good.url == f"http://{trial.good_host}"
    assert (good.ready, good.candidate, good.served) == (True, True, True)
    assert good.created_at.tzinfo is not None
    assert await trial.platform.deployment(trial.good_host) == good
    (host, *_) = await trial.platform.production_hosts()
    bad = await trial.platform.deployment(host)
    assert bad is not None
    assert bad.id == trial.bad


async def test_an_unknown_deployment_is_none(trial: Trial) -> None:
    """Neither an id nor a host that the platform does not know is an error."""
    assert await trial.platform.deployment("dpl_unknown") is None
    assert await trial.platform.deployment("nowhere.localhost") is None


async def test_every_production_host_is_looked_at(trial: Trial) -> None:
    """Live is told for each host on which production is served."""
    hosts = await trial.platform.production_hosts()
    assert len(hosts) == 2
    assert await trial.platform.live() == dict.fromkeys(hosts, trial.bad)


async def test_a_dry_run_names_the_hosts(trial: Trial) -> None:
    """The hosts that a rollback would move are known before anything is asked."""
    moves = await trial.platform.moves(trial.good)
    assert set(moves) == set(await trial.platform.production_hosts())
    assert await trial.platform.moves(trial.bad) == ()
    assert await trial.platform.last_request() is None


async def test_a_rollback_moves_every_host_in_time(trial: Trial) -> None:
    """It is accepted at once, and the hosts follow."""
    await trial.platform.roll_back(trial.good, description="INC-1: 5xx & <more>")
    asked = await request_of(trial)
    assert (asked.kind, asked.to_deployment) == ("rollback", trial.good)
    assert asked.from_deployment == trial.bad
    assert asked.status in ("pending", "in-progress", "succeeded")
    await until_live(trial, trial.good)

    async def succeeded() -> bool:
        return (await request_of(trial)).status == "succeeded"

    await until(succeeded)
    assert (await request_of(trial)).requested_at == asked.requested_at


async def test_rolling_back_to_what_is_live_is_accepted(trial: Trial) -> None:
    """The platform's "already the current one" is no error, and no new request."""
    await trial.platform.roll_back(trial.good, description="once")
    await until_live(trial, trial.good)
    await anyio.sleep(0.3)
    before = await request_of(trial)
    await trial.platform.roll_back(trial.good, description="twice")
    assert (await request_of(trial)).requested_at == before.requested_at
    await until_live(trial, trial.good)


async def test_an_unknown_target_is_refused(trial: Trial) -> None:
    """Nothing can be rolled back, or pointed, to a deployment that is not there."""
    with pytest.raises(NotATarget):
        await trial.platform.roll_back("dpl_unknown", description="")
    (host, *_) = await trial.platform.production_hosts()
    with pytest.raises(NotATarget):
        await trial.platform.assign("dpl_unknown", host)
    with pytest.raises(NotATarget):
        await trial.platform.moves("dpl_unknown")


async def test_a_refusal_is_in_the_platform_s_words(trial: Trial) -> None:
    """What the plan does not include is told as the platform tells it."""
    trial.deny()
    with pytest.raises(PlatformDenied, match=UPGRADE):
        await trial.platform.roll_back(trial.good, description="")
    assert await trial.platform.last_request() is None


async def test_a_lost_reply_may_have_been_taken(trial: Trial) -> None:
    """The error leaves open whether the request was taken; here it was."""
    trial.lose_reply()
    with pytest.raises(PlatformUnreachable):
        await trial.platform.roll_back(trial.good, description="")
    assert (await request_of(trial)).to_deployment == trial.good
    await until_live(trial, trial.good)


async def test_a_job_that_hangs_moves_nothing(trial: Trial) -> None:
    """A request that the platform accepted may still stay in progress."""
    trial.hang()
    await trial.platform.roll_back(trial.good, description="")
    await anyio.sleep(0.8)
    assert (await request_of(trial)).status == "in-progress"
    assert set((await trial.platform.live()).values()) == {trial.bad}


async def test_a_job_that_fails_says_so(trial: Trial) -> None:
    """A request that the platform accepted may still fail."""
    trial.fail()
    await trial.platform.roll_back(trial.good, description="")

    async def failed() -> bool:
        return (await request_of(trial)).status == "failed"

    await until(failed)
    assert set((await trial.platform.live()).values()) == {trial.bad}


async def test_one_host_can_be_assigned(trial: Trial) -> None:
    """Only that host moves, and again is fine."""
    first, second = await trial.platform.production_hosts()
    for _ in range(2):
        await trial.platform.assign(trial.good, second)
    live = await trial.platform.live()
    assert (live[first], live[second]) == (trial.bad, trial.good)


async def test_a_refusal_for_now_names_its_end(trial: Trial) -> None:
    """It was certainly not taken, and the platform says when to come again."""
    trial.be_busy()
    with pytest.raises(PlatformBusy) as caught:
        await trial.platform.roll_back(trial.good, description="")
    assert caught.value.wait_seconds == 7
    assert await trial.platform.last_request() is None


async def test_a_rollback_stops_new_builds_and_a_promotion_lets_them_go(
    trial: Trial,
) -> None:
    """What is promoted goes live; meanwhile a team that is not told waits in vain."""
    assert await trial.platform.auto_assigns() is True
    await trial.platform.roll_back(trial.good, description="")
    await until_live(trial, trial.good)
    assert await trial.platform.auto_assigns() is False

    assert await trial.platform.promote(trial.bad) is True
    await until_live(trial, trial.bad)
    assert await trial.platform.auto_assigns() is True
    asked = await request_of(trial)
    assert (asked.kind, asked.to_deployment) == ("promote", trial.bad)


async def test_auto_assignment_can_be_put_back(trial: Trial) -> None:
    """As it was before a promotion switched it on."""
    for wanted in (False, True):
        await trial.platform.set_auto_assign(on=wanted)
        assert await trial.platform.auto_assigns() is wanted


async def test_promoting_what_is_live_is_accepted(trial: Trial) -> None:
    """The platform's "already the current one" is no error, and no new request."""
    assert await trial.platform.promote(trial.bad) is True
    assert await trial.platform.last_request() is None
    with pytest.raises(NotATarget):
        await trial.platform.promote("dpl_unknown")


async def test_a_rolling_release_ends_with_a_rollback_to_its_base(trial: Trial) -> None:
    """While it is active it is told, and a promotion is queued behind it."""
    assert await trial.platform.rolling_release() is None
    trial.roll_out()
    rolling = RollingRelease(base=trial.good, canary=trial.bad)
    assert await trial.platform.rolling_release() == rolling
    assert await trial.platform.promote(trial.bad) is False

    await trial.platform.roll_back(trial.good, description="")
    assert await trial.platform.rolling_release() is None


async def test_hosts_that_were_pointed_by_hand_stay_behind(trial: Trial) -> None:
    """They are named, so that they can be moved one by one."""
    assert await trial.platform.other_hosts(trial.bad) == ()
    if isinstance(trial, MemoryTrial):
        trial.double.by_hand = {"book.example.com": trial.bad}
    await trial.platform.assign(trial.bad, "book.example.com")
    assert await trial.platform.other_hosts(trial.bad) == ("book.example.com",)
    assert await trial.platform.other_hosts(trial.good) == ()

    await trial.platform.roll_back(trial.good, description="")
    await until_live(trial, trial.good)
    served = await trial.platform.deployment("book.example.com")
    assert served is not None
    assert served.id == trial.bad
    await trial.platform.assign(trial.good, "book.example.com")
    assert await trial.platform.other_hosts(trial.bad) == ()


def _deployment(name: str, port: int, git_sha: str) -> PlatformDeployment:
    return PlatformDeployment(
        id=name,
        url=f"http://127.0.0.1:{port}",
        git_sha=git_sha,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ready=True,
        candidate=True,
        served=True,
    )


async def test_what_is_built_again_is_another_deployment_of_the_same_sources(
    trial: Trial,
) -> None:
    """It is found by its mark, is ready after a while, and moves nothing yet."""
    platform = trial.platform
    await platform.set_auto_assign(on=False)
    assert await platform.redeployed("rec-1") is None

    await platform.redeploy(trial.good, token="rec-1")

    built = await until_ready(platform, "rec-1")
    assert built.id not in (trial.good, trial.bad)
    assert (built.git_sha, built.served) == (trial.good_sha, False)
    assert set((await platform.live()).values()) == {trial.bad}
    assert await platform.redeployed("rec-2") is None
    assert await platform.promote(built.id)

    async def moved() -> bool:
        return set((await platform.live()).values()) == {built.id}

    await until(moved)


async def test_what_is_built_again_goes_live_where_new_builds_do(trial: Trial) -> None:
    """Nobody has to promote it there."""
    platform = trial.platform
    await platform.set_auto_assign(on=True)

    await platform.redeploy(trial.good, token="rec-1")

    built = await until_ready(platform, "rec-1")
    assert set((await platform.live()).values()) == {built.id}


async def test_a_build_that_fails_is_no_target(trial: Trial) -> None:
    """It is told as what it is."""
    platform = trial.platform
    trial.fail_builds()
    await platform.redeploy(trial.good, token="rec-1")

    with pytest.raises(NotATarget):
        await until_ready(platform, "rec-1")


async def until_ready(platform: Platform, token: str) -> PlatformDeployment:
    """The deployment of this mark, once it is built."""

    async def ready() -> bool:
        found = await platform.redeployed(token)
        return found is not None and found.ready

    await until(ready)
    built = await platform.redeployed(token)
    assert built is not None
    return built
