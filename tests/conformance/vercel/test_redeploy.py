"""Vercel's own clients have the stand-in build a deployment again, as ours does."""

from tests.conformance.vercel.world import PROJECT, V1, V2, Cli, Platform, Sdk
from tests.integration.processes import until


def test_redeploy(cli: Cli, platform: Platform) -> None:
    """`vercel redeploy` waits for the build, which goes live as new builds do."""
    said = cli.run("redeploy", V1)
    assert said.code == 0, said.text
    until(lambda: platform.live not in (V1, V2), "the build is live")
    (built,) = (d for d in platform.state()["deployments"] if d["id"] == platform.live)
    assert built["url"] in said.text


def test_redeploy_while_rolled_back(cli: Cli, platform: Platform) -> None:
    """New builds wait after a rollback, and so does this one."""
    platform.roll_back(V1)
    said = cli.run("redeploy", V1, "--no-wait")
    assert said.code == 0, said.text
    assert platform.live == V1


def test_redeploy_by_the_library(sdk: Sdk, platform: Platform) -> None:
    """What is noted with the build is shown in the list."""
    platform.roll_back(V1)
    wanted = {"name": "wedsync", "deploymentId": V1, "target": "production"}
    marked = wanted | {"meta": {"rollbackRecovery": "rec-1"}}
    built = sdk.value(
        "deployments", "createDeployment", forceNew="1", requestBody=marked
    )
    listed = sdk.value("deployments", "getDeployments", projectId=PROJECT)
    (found,) = (d for d in listed["deployments"] if d["uid"] == built["id"])
    assert found["meta"]["rollbackRecovery"] == "rec-1"
