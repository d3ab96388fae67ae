"""@vercel/sdk accepts the stand-in's answers: its schemas raise on a missing key."""

from typing import Any

import pytest

from tests.conformance.vercel.world import (
    BROKEN,
    CUSTOM,
    NAMED,
    PROJECT,
    TOKEN,
    V0,
    V1,
    V2,
    Platform,
    Sdk,
)
from tests.integration.processes import until


def test_list(sdk: Sdk) -> None:
    """The list has the candidates for a rollback, the newest first."""
    found = sdk.value(
        "deployments",
        "getDeployments",
        projectId=PROJECT,
        target="production",
        state="READY",
        rollbackCandidate=True,
    )
    assert [each["uid"] for each in found["deployments"]] == [V2, V1, V0]


def test_list_by_pages(sdk: Sdk) -> None:
    """The next page begins where the last one ended."""
    first = sdk.value("deployments", "getDeployments", projectId=PROJECT, limit=2)
    until_ = first["pagination"]["next"]
    second = sdk.value("deployments", "getDeployments", projectId=PROJECT, until=until_)
    seen = [each["uid"] for page in (first, second) for each in page["deployments"]]
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize(("name", "found"), [(V1, V1), (NAMED, V2), (BROKEN, BROKEN)])
def test_get(sdk: Sdk, name: str, found: str) -> None:
    """A deployment is found by its id and by a host that leads to it."""
    shown = sdk.value("deployments", "getDeployment", idOrUrl=name)
    assert shown["id"] == found


def test_project(sdk: Sdk) -> None:
    """The project is valid as it is at first, and tells what is live."""
    shown = sdk.value("projects", "getProject", idOrName=PROJECT)
    assert shown["targets"]["production"]["id"] == V2


def test_rollback(sdk: Sdk, platform: Platform) -> None:
    """A rollback is accepted, and the project is valid while it runs and after."""
    asked = {"projectId": PROJECT, "deploymentId": V1, "description": "INC-42"}
    assert sdk.value("projects", "requestRollback", **asked) is None
    sdk.value("projects", "getProject", idOrName=PROJECT)
    until(lambda: platform.live == V1, "the domains have moved")
    shown = sdk.value("projects", "getProject", idOrName=PROJECT)
    assert shown["autoAssignCustomDomains"] is False
    assert shown["rollbackDescription"]["description"] == "INC-42"


def test_promote(sdk: Sdk, platform: Platform) -> None:
    """A promotion is accepted; before and after, its alias results are valid."""
    assert sdk.value("projects", "listPromoteAliases", projectId=PROJECT) == {}
    platform.roll_back(V1)
    asked = {"projectId": PROJECT, "deploymentId": V2}
    assert sdk.value("projects", "requestPromote", **asked) is None
    results = sdk.value("projects", "listPromoteAliases", projectId=PROJECT)
    assert NAMED in [each["alias"] for each in results["aliases"]]


def test_aliases(sdk: Sdk, platform: Platform) -> None:
    """The team's aliases, and in a dry run those that a rollback would move."""
    domains = set(platform.state()["domains"])
    for more in ({}, {"rollbackDeploymentId": V1}):
        found = sdk.value("aliases", "listAliases", projectId=PROJECT, **more)
        assert {each["alias"] for each in found["aliases"]} == domains


def test_aliases_of_a_deployment(sdk: Sdk) -> None:
    """The hosts that lead to one deployment."""
    found = sdk.value("aliases", "listDeploymentAliases", id=V2)
    assert NAMED in [each["alias"] for each in found["aliases"]]


def test_assign_alias(sdk: Sdk) -> None:
    """A custom alias is assigned, and moved with the name of where it was."""
    for deployment, before in ((V1, None), (V2, V1)):
        moved = sdk.value(
            "aliases", "assignAlias", id=deployment, requestBody={"alias": CUSTOM}
        )
        assert (moved["alias"], moved.get("oldDeploymentId")) == (CUSTOM, before)


def test_env(sdk: Sdk) -> None:
    """The environment variables are valid, and a sensitive one has no value."""
    found = sdk.value("projects", "filterProjectEnvs", idOrName=PROJECT)
    values = {each["key"]: each["value"] for each in found["envs"]}
    assert values["DATABASE_URL"] == ""
    assert values["NEXT_PUBLIC_SITE_NAME"] == "WedSync"


def test_rolling_release(sdk: Sdk) -> None:
    """There is no rolling release."""
    found = sdk.value("rollingRelease", "getRollingRelease", idOrName=PROJECT)
    assert found == {"rollingRelease": None}


def test_auto_assign(sdk: Sdk, platform: Platform) -> None:
    """The setting that a rollback changes can be put back."""
    wanted = {"autoAssignCustomDomains": False}
    shown = sdk.value("projects", "updateProject", idOrName=PROJECT, requestBody=wanted)
    assert shown["autoAssignCustomDomains"] is False
    assert platform.state()["auto_assign_custom_domains"] is False


@pytest.mark.parametrize("method", ["invalidateByTags", "dangerouslyDeleteByTags"])
@pytest.mark.parametrize("tags", [["feature:a", "feature:b"], "feature:a"])
def test_purge(sdk: Sdk, method: str, tags: list[str] | str) -> None:
    """Both ways to purge by tag are accepted, with a list of tags and with one."""
    asked = {"projectIdOrName": PROJECT, "requestBody": {"tags": tags}}
    assert sdk.value("edgeCache", method, **asked) is None


@pytest.mark.parametrize(
    ("group", "method"),
    [("user", "getAuthUser"), ("teams", "getTeams"), ("teams", "getTeam")],
)
def test_who(sdk: Sdk, group: str, method: str) -> None:
    """Whose token it is, and which team it reaches."""
    assert sdk.value(group, method)


ROLLBACK = {"projectId": PROJECT}


@pytest.mark.parametrize(
    ("faults", "goal", "status"),
    [
        ({}, V2, 409),
        ({}, "dpl_none", 404),
        ({}, BROKEN, 422),
        ({"hobby": True}, V0, 402),
        ({"rollback": {"status": 401}}, V1, 401),
        ({"rollback": {"status": 410}}, V1, 410),
        ({"rollback": {"status": 429, "retry_after": 1}}, V1, 429),
        ({"rollback": {"status": 500}}, V1, 500),
    ],
)
def test_rollback_refused(
    sdk: Sdk, platform: Platform, faults: dict[str, Any], goal: str, status: int
) -> None:
    """A refusal is an error with Vercel's status and envelope, and moves nothing."""
    platform.control("faults", faults)
    outcome = sdk.call("projects", "requestRollback", **ROLLBACK, deploymentId=goal)
    assert outcome.get("status") == status, outcome
    assert outcome["refused"] != "ResponseValidationError"
    assert '"error":{"code":' in outcome["message"]
    assert platform.live == V2


def test_reply_that_is_lost(sdk: Sdk, platform: Platform) -> None:
    """Where the reply is lost, the call fails, and the domains move all the same."""
    platform.control("faults", {"lose_reply": 1})
    outcome = sdk.call("projects", "requestRollback", **ROLLBACK, deploymentId=V1)
    assert outcome["refused"] == "ConnectionError", outcome
    until(lambda: platform.live == V1, "the domains have moved")


def test_alias_that_is_there(sdk: Sdk) -> None:
    """A second assignment of an alias is refused with 409."""
    asked = {"id": V1, "requestBody": {"alias": CUSTOM}}
    sdk.value("aliases", "assignAlias", **asked)
    assert sdk.call("aliases", "assignAlias", **asked)["status"] == 409


def test_wrong_token(sdk: Sdk) -> None:
    """A token that is not known is refused with 403."""
    outcome = sdk.call("projects", "getProject", idOrName=PROJECT, token=TOKEN + "x")
    assert outcome["status"] == 403


def test_the_reason_cannot_be_changed_with_this_version(sdk: Sdk) -> None:
    """1.28.35 sends no token with this call: its specification asks for none."""
    outcome = sdk.call(
        "projects",
        "updateProjectsByProjectIdRollbackByDeploymentIdUpdateDescription",
        **ROLLBACK,
        deploymentId=V1,
        requestBody={"description": "INC-43"},
    )
    assert outcome["status"] == 403
    assert "missing an authentication token" in outcome["message"]
