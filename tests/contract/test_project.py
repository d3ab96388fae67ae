"""The contract of the port `Project`: environment variables, and what is kept."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from rollback.adapters.clock import SystemClock
from rollback.adapters.memory import MemoryProject
from rollback.adapters.vercel_project import VercelProject
from rollback.errors import PlatformDenied, PlatformUnreachable
from rollback.model import Retention, Variable
from rollback.ports import Project
from stack.backends import Stack

pytestmark = pytest.mark.anyio

VARIABLES = (
    Variable(name="DATABASE_URL"),
    Variable(name="NEXT_PUBLIC_SITE_NAME", value="WedSync"),
    Variable(name="SENTRY_ENVIRONMENT", value="production"),
    Variable(name="STRIPE_SECRET_KEY"),
)


def vercel(stack: Stack, **changed: Any) -> VercelProject:
    """The project of the practice stack."""
    settings = stack.environment
    facts = {
        "token": settings["VERCEL_TOKEN"],
        "team_id": settings["VERCEL_TEAM_ID"],
        "project_id": settings["VERCEL_PROJECT_ID"],
        "url": settings["VERCEL_API_URL"],
    }
    return VercelProject(**(facts | changed))


@pytest.fixture
def project(kind: str, request: pytest.FixtureRequest) -> Project:
    """A project with readable variables and others."""
    if kind != "real":
        return MemoryProject(VARIABLES, Retention(days=365, kept=10))
    return vercel(request.getfixturevalue("fresh"))


def fault(control: httpx.Client, stack: Stack, **faults: Any) -> None:
    """Put faults in force at the stand-in."""
    url = f"{stack.addresses['platform']}/_control/faults"
    control.post(url, json=faults).raise_for_status()


async def test_production_s_variables_are_told_by_name(project: Project) -> None:
    """Values where they can be read; a preview's are not production's."""
    assert await project.variables() == VARIABLES


async def test_deployments_are_kept_longer_on_request(project: Project) -> None:
    """In days, as it is read; how many of the newest are kept stays."""
    assert await project.retention() == Retention(days=365, kept=10)
    await project.keep_longer(days=90)
    assert await project.retention() == Retention(days=90, kept=10)


# -- Vercel alone -------------------------------------------------------------------


@pytest.fixture
def anyio_backend(kind: str) -> str:
    """Whatever is the contract's; asyncio for what is Vercel's."""
    return "trio" if kind == "memory-trio" else "asyncio"


@pytest.mark.parametrize("kind", ["real"])
async def test_ciphertext_is_no_value(fresh: Stack) -> None:
    """It is another one each time: its fingerprint would have changed for ever."""
    project = vercel(fresh)

    first, second = await project.variables(), await project.variables()

    assert first == second


@pytest.mark.parametrize("kind", ["real"])
async def test_what_this_token_may_not_read_is_known_by_name(
    fresh: Stack, control: httpx.Client
) -> None:
    """One refusal costs one value and not the record."""
    fault(control, fresh, env_one={"status": 403})

    found = {each.name: each.value for each in await vercel(fresh).variables()}

    assert found["SENTRY_ENVIRONMENT"] is None
    assert found["NEXT_PUBLIC_SITE_NAME"] == "WedSync"


@pytest.mark.parametrize("kind", ["real"])
async def test_a_plan_that_keeps_less_says_so(
    fresh: Stack, control: httpx.Client
) -> None:
    """A month is all that it allows: denied, with what to do instead."""
    fault(control, fresh, hobby=True)

    with pytest.raises(PlatformDenied, match="one month"):
        await vercel(fresh).keep_longer(days=90)


@pytest.mark.parametrize("kind", ["real"])
async def test_a_project_that_is_not_ours_is_denied(fresh: Stack) -> None:
    """Named, and the token is not."""
    stranger = vercel(fresh, token="tok_hush")

    with pytest.raises(PlatformDenied) as caught:
        await stranger.variables()

    assert "tok_hush" not in caught.value.message


@pytest.mark.parametrize("kind", ["real"])
async def test_nobody_at_the_address_is_unreachable(fresh: Stack) -> None:
    """Not empty: a project without variables would be recorded."""
    nowhere = vercel(fresh, url="http://127.0.0.1:9", timeout_seconds=0.5)

    with pytest.raises(PlatformUnreachable):
        await nowhere.variables()


@pytest.mark.parametrize("kind", ["real"])
async def test_the_clock_is_held_against_the_platform_s(fresh: Stack) -> None:
    """One machine, one clock; a clock that is off is off by so much."""
    clock = SystemClock()

    def ahead() -> datetime:
        return clock.now() + timedelta(minutes=2)

    assert abs(await vercel(fresh).clock_skew(clock.now)) < 60
    assert 60 < await vercel(fresh).clock_skew(ahead) < 180
