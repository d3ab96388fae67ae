"""What only the adapter for Vercel has to promise: what is retried, what is not."""

import socket
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest

from rollback.adapters.vercel import VercelPlatform, with_scheme
from rollback.errors import (
    NotATarget,
    PlatformDenied,
    PlatformUnreachable,
    SettingsInvalid,
)
from stack.backends import Stack

TOKEN = "vercel_secret_token"

pytestmark = pytest.mark.anyio


@pytest.fixture
def kind() -> str:
    """Only the real adapter."""
    return "real"


class StandIn:
    """The stand-in's controls."""

    def __init__(self, stack: Stack, http: httpx.Client) -> None:
        self.url, self._http = stack.addresses["platform"], http
        self._http.post(f"{self.url}/_control/reset").raise_for_status()

    def faults(self, **faults: Any) -> None:
        """Put faults in force."""
        self._http.post(f"{self.url}/_control/faults", json=faults).raise_for_status()

    def calls(self) -> list[dict[str, Any]]:
        """What it was asked."""
        state = self._http.get(f"{self.url}/_control/state").json()
        calls: list[dict[str, Any]] = state["calls"]
        return calls

    def asked(self, endpoint: str) -> list[int]:
        """The statuses that an endpoint answered."""
        return [c["status"] for c in self.calls() if c["endpoint"] == endpoint]


@pytest.fixture
def stand_in(stack: Stack, control: httpx.Client) -> StandIn:
    """The stand-in as it is after its start."""
    return StandIn(stack, control)


def connect(stack: Stack, **changed: Any) -> VercelPlatform:
    """An adapter for the stand-in, with some settings that differ."""
    given = stack.environment
    settings: dict[str, Any] = {
        "token": given["VERCEL_TOKEN"],
        "team_id": given["VERCEL_TEAM_ID"],
        "project_id": given["VERCEL_PROJECT_ID"],
        "url": given["VERCEL_API_URL"],
    }
    return VercelPlatform(**{**settings, **changed})


@pytest.fixture
def platform(stack: Stack, stand_in: StandIn) -> VercelPlatform:
    """An adapter for a fresh stand-in."""
    del stand_in
    return connect(stack)


async def test_a_read_is_sent_again(
    platform: VercelPlatform, stand_in: StandIn
) -> None:
    """A server's error on a read is no more than a delay."""
    stand_in.faults(project={"status": 500, "times": 2})
    assert await platform.production_hosts()
    assert stand_in.asked("project") == [500, 500, 200]


async def test_a_read_is_given_up(platform: VercelPlatform, stand_in: StandIn) -> None:
    """A read that fails again and again is told as the platform tells it."""
    stand_in.faults(project={"status": 503, "message": "We are down", "times": 99})
    with pytest.raises(PlatformUnreachable, match="We are down"):
        await platform.production_hosts()
    assert stand_in.asked("project") == [503] * 4


async def test_a_limit_is_waited_for(
    platform: VercelPlatform, stand_in: StandIn
) -> None:
    """A read that came too early is sent again after the time that was asked for."""
    stand_in.faults(project={"status": 429, "retry_after": 1})
    began = anyio.current_time()
    assert await platform.production_hosts()
    assert 1 <= anyio.current_time() - began < 5
    assert stand_in.asked("project") == [429, 200]


async def test_a_long_limit_is_not_waited_for(
    platform: VercelPlatform, stand_in: StandIn
) -> None:
    """A wait that no rollback has time for is given up at once."""
    stand_in.faults(project={"status": 429, "retry_after": 3600, "times": 9})
    with anyio.fail_after(3), pytest.raises(PlatformUnreachable):
        await platform.production_hosts()
    assert stand_in.asked("project") == [429]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_change_is_sent_once(
    platform: VercelPlatform, stand_in: StandIn, stack: Stack, status: int
) -> None:
    """Neither a rollback nor an alias is asked for a second time."""
    stand_in.faults(
        rollback={"status": status, "times": 9},
        assign_alias={"status": status, "times": 9},
    )
    good = stack.deployments["v1"]
    with pytest.raises(PlatformUnreachable):
        await platform.roll_back(good, description="")
    with pytest.raises(PlatformUnreachable):
        await platform.assign(good, "wedsync.localhost")
    assert stand_in.asked("rollback") == [status]
    assert stand_in.asked("assign_alias") == [status]


@pytest.mark.parametrize("status", [400, 404, 409, 410, 422])
async def test_an_unsuitable_target_is_told(
    platform: VercelPlatform, stand_in: StandIn, stack: Stack, status: int
) -> None:
    """What the platform says of a target that it cannot use is passed on."""
    stand_in.faults(rollback={"status": status, "message": "No such luck"})
    with pytest.raises(NotATarget, match="No such luck"):
        await platform.roll_back(stack.deployments["v1"], description="")


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_denial_is_not_sent_again(
    platform: VercelPlatform, stand_in: StandIn, status: int
) -> None:
    """Credentials do not get better by trying again."""
    stand_in.faults(deployment={"status": status, "message": "Upgrade", "times": 9})
    with pytest.raises(PlatformDenied, match="Upgrade"):
        await platform.deployment("dpl_any")
    assert stand_in.asked("deployment") == [status]


async def test_every_call_names_the_team(
    platform: VercelPlatform, stand_in: StandIn, stack: Stack
) -> None:
    """Without the team Vercel answers for a person, who has nothing to roll back."""
    good = stack.deployments["v1"]
    await platform.live()
    await platform.moves(good)
    await platform.last_request()
    await platform.assign(good, "wedsync.localhost")
    await platform.roll_back(good, description="x" * 300)
    calls = stand_in.calls()
    assert {c["query"]["teamId"] for c in calls} == {"team_wedsync"}
    assert {c["status"] for c in calls} == {200, 201}


@pytest.mark.parametrize(
    "changed",
    [{"token": TOKEN}, {"team_id": "team_other"}, {"project_id": "prj_other"}],
)
async def test_wrong_credentials_are_denied(
    stack: Stack, stand_in: StandIn, changed: dict[str, str]
) -> None:
    """A wrong token, team or project is a denial, and no secret is repeated."""
    del stand_in
    with pytest.raises(PlatformDenied) as caught:
        await connect(stack, **changed).live()
    assert TOKEN not in caught.value.message


async def test_a_slug_names_the_team_too(stand_in: StandIn, stack: Stack) -> None:
    """Teams are known by either; each goes under its own name."""
    await connect(stack, team_id="wedsync").live()
    assert {c["query"].get("slug") for c in stand_in.calls()} == {"wedsync"}


async def test_a_deployment_of_another_project_is_unknown(
    platform: VercelPlatform, stand_in: StandIn, stack: Stack
) -> None:
    """A token that reaches several projects finds it; it is no target for all that."""
    good = stack.deployments["v1"]
    stand_in.faults(foreign=[good])
    assert await platform.deployment(good) is None
    with pytest.raises(NotATarget):
        await platform.roll_back(good, description="")


async def test_a_host_of_another_project_is_not_dark(
    platform: VercelPlatform, stand_in: StandIn, stack: Stack
) -> None:
    """It serves nothing of ours, and somebody all the same."""
    await platform.roll_back(stack.deployments["v1"], description="")
    stand_in.faults(foreign=list(stack.deployments.values()))
    assert await platform.live() == {}
    assert await platform.dark_hosts() == ()


async def test_the_project_may_be_known_by_its_name(
    stand_in: StandIn, stack: Stack
) -> None:
    """Then its id, which deployments tell, is looked up."""
    del stand_in
    platform = connect(stack, project_id="wedsync")
    good = stack.deployments["v1"]
    found = await platform.deployment(good)
    assert found is not None
    assert found.id == good


async def test_names_that_the_platform_gives_are_not_moved_by_hand(
    platform: VercelPlatform, stand_in: StandIn, stack: Stack
) -> None:
    """A branch's name leads to the branch's newest build, and is left alone."""
    del stand_in
    bad = stack.deployments["v2"]
    for host in ("wedsync-git-main-team.vercel.app", "book.example.com"):
        await platform.assign(bad, host)
    assert await platform.other_hosts(bad) == ("book.example.com",)


async def test_an_older_job_of_somebody_else_keeps_its_time(
    platform: VercelPlatform, stand_in: StandIn, stack: Stack
) -> None:
    """So it can be told from one that was asked for after it."""
    good = stack.deployments["v1"]
    older = {"type": "rollback", "to": good, "status": "succeeded", "age_seconds": 60}
    stand_in.faults(older_job=older)
    before = await platform.last_request()
    await platform.roll_back(good, description="")
    after = await platform.last_request()
    assert before is not None
    assert after is not None
    assert (before.status, before.to_deployment) == ("succeeded", good)
    assert (after.requested_at - before.requested_at).total_seconds() > 59


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


async def test_a_silent_platform_is_unreachable(stack: Stack, silent: str) -> None:
    """No answer is waited for longer than the timeout, and the retries, allow."""
    platform = connect(stack, url=silent, timeout_seconds=0.3)
    with anyio.fail_after(5), pytest.raises(PlatformUnreachable, match=r"127\.0\.0\.1"):
        await platform.live()
    with anyio.fail_after(1), pytest.raises(PlatformUnreachable, match="may have"):
        await platform.roll_back("dpl_any", description="")


async def test_another_program_s_answer_is_unreachable(stack: Stack) -> None:
    """An answer that is not Vercel's is told, not stumbled over."""
    platform = connect(stack, url=stack.addresses["toxiproxy"] + "/version?")
    with pytest.raises(PlatformUnreachable, match="cannot be read"):
        await platform.deployment("dpl_any")


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("shop-9jaeg38me.vercel.app", "https://shop-9jaeg38me.vercel.app"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("localhost:3000", "http://localhost:3000"),
        ("v1.localhost", "http://v1.localhost"),
        ("localhost.example.com", "https://localhost.example.com"),
        ("10.0.0.1", "https://10.0.0.1"),
        ("http://given", "http://given"),
    ],
)
def test_only_loopback_is_without_tls(url: str, whole: str) -> None:
    """Vercel's addresses have no scheme; everything but this machine is https."""
    assert with_scheme(url) == whole


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN}é"])
async def test_an_unsendable_token_is_not_repeated(stack: Stack, token: str) -> None:
    """A token that no header can hold is refused without showing it."""
    with pytest.raises(SettingsInvalid, match="VERCEL_TOKEN") as caught:
        connect(stack, token=token)
    assert TOKEN not in caught.value.message
