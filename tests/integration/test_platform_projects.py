"""The platform stand-in with two projects: what is of one is nothing to the other."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from stack.backends import Stack

SITE, API = "prj_wedsync", "prj_wedsync_api"


@pytest.fixture
def platform(fresh: Stack) -> Iterator[httpx.Client]:
    """The platform's API, asked with the token, for the team."""
    settings = fresh.environment
    with httpx.Client(
        base_url=fresh.addresses["platform"],
        headers={"authorization": f"Bearer {settings['VERCEL_TOKEN']}"},
        params={"teamId": settings["VERCEL_TEAM_ID"]},
        trust_env=False,
    ) as client:
        yield client


def live(platform: httpx.Client, project: str) -> str:
    """The production deployment of a project, as it says."""
    body: dict[str, Any] = platform.get(f"/v9/projects/{project}").json()
    found: str = body["targets"]["production"]["id"]
    return found


def test_each_project_has_its_own_production(
    fresh: Stack, platform: httpx.Client
) -> None:
    """Deployments, hosts and dry runs are those of the project that is asked."""
    assert live(platform, SITE) == fresh.deployments["v2"]
    assert live(platform, API) == fresh.deployments["green"]

    asked = {"projectId": API, "rollbackDeploymentId": fresh.deployments["blue"]}
    aliases = platform.get("/v4/aliases", params=asked).json()["aliases"]

    assert fresh.addresses["api"] in {f"http://{each['alias']}" for each in aliases}
    assert {each["projectId"] for each in aliases} == {API}


def test_a_deployment_of_the_other_project_is_refused(
    fresh: Stack, platform: httpx.Client
) -> None:
    """The site cannot be rolled back to a build of the API; nothing moves."""
    blue = fresh.deployments["blue"]

    answer = platform.post(f"/v1/projects/{SITE}/rollback/{blue}")

    assert answer.status_code == 404, answer.text
    assert live(platform, SITE) == fresh.deployments["v2"]
    assert platform.get(f"/v13/deployments/{blue}").json()["projectId"] == API


def test_a_fault_of_one_project_leaves_the_other_alone(
    fresh: Stack, platform: httpx.Client
) -> None:
    """Refused for the API, taken for the site; a reset takes the fault away."""
    fault = {"rollback": {"status": 500, "times": 2}}
    platform.post("/_control/faults", params={"projectId": API}, json=fault)

    def roll_back(project: str, name: str) -> int:
        path = f"/v1/projects/{project}/rollback/{fresh.deployments[name]}"
        return platform.post(path).status_code

    assert (roll_back(API, "blue"), roll_back(SITE, "v1")) == (500, 201)
    fresh.reset()
    assert roll_back(API, "blue") == 201


def test_a_fault_of_a_project_that_nobody_has_is_refused(
    platform: httpx.Client,
) -> None:
    """A name with a typo would else break the site in the API's place."""
    answer = platform.get("/v9/projects/prj_nobody")

    assert answer.status_code == 404, answer.text
    fault = {"projectId": "prj_nobody"}
    refused = platform.post("/_control/faults", params=fault, json={"hang": True})
    assert refused.status_code == 404, refused.text
