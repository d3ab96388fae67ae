"""The vercel command does against the stand-in what it does against Vercel."""

from typing import Any

import pytest

from tests.conformance.vercel.world import (
    BROKEN,
    CUSTOM,
    NAMED,
    PREVIEW,
    V0,
    V1,
    V2,
    Cli,
    Platform,
)


def test_ls(cli: Cli, platform: Platform) -> None:
    """`vercel ls` lists every deployment by its address."""
    said = cli.run("ls")
    assert said.code == 0, said.text
    urls = [each["url"] for each in platform.state()["deployments"]]
    assert len(urls) == 5
    assert all(f"https://{url}" in said.text for url in urls)
    assert "● Error" in said.text


def test_rollback(cli: Cli, platform: Platform) -> None:
    """`vercel rollback` moves the domains, waits for it, and says so."""
    said = cli.run("rollback", V1, "--yes")
    assert said.code == 0, said.text
    assert "Success! wedsync was rolled back to" in said.text
    state = platform.state()
    assert set(state["domains"].values()) == {V1}
    assert state["auto_assign_custom_domains"] is False


def test_rollback_without_waiting(cli: Cli, platform: Platform) -> None:
    """With a timeout of 0 it asks, and leaves."""
    said = cli.run("rollback", V1, "--yes", "--timeout", "0")
    assert said.code == 0, said.text
    assert "Successfully requested rollback" in said.text
    assert platform.state()["last_alias_request"]["toDeploymentId"] == V1


def test_rollback_status(cli: Cli, platform: Platform) -> None:
    """`vercel rollback status` names the deployment that was rolled back to."""
    platform.roll_back(V1)
    said = cli.run("rollback", "status")
    assert said.code == 0, said.text
    assert "Success! wedsync was rolled back to" in said.text
    assert f"({V1})" in said.text


def test_rollback_status_of_none(cli: Cli) -> None:
    """Where nothing was asked for, it says so."""
    said = cli.run("rollback", "status")
    assert (said.code, "No deployment rollback in progress" in said.text) == (0, True)


@pytest.mark.parametrize(
    ("faults", "goal", "says"),
    [
        ({}, "dpl_none", "Can't find the deployment"),
        ({}, V2, "is already the current production deployment (409)"),
        ({}, BROKEN, "(422)"),
        ({}, PREVIEW, "(422)"),
        (
            {"hobby": True},
            V0,
            "https://vercel.com/docs/plans/pro (402)",
        ),
        ({"rollback": {"status": 403, "message": "Not authorized"}}, V1, "(403)"),
        ({"job_status": "failed"}, V1, "Failed to remap all aliases"),
        ({"failed_domains": [NAMED]}, V1, f"failed       {NAMED} ({V2})"),
    ],
)
def test_rollback_fails(
    cli: Cli, platform: Platform, faults: dict[str, Any], goal: str, says: str
) -> None:
    """A rollback that is refused or fails ends with 1, and with the reason."""
    platform.control("faults", faults)
    said = cli.run("rollback", goal, "--yes")
    assert said.code == 1, said.text
    assert says in said.text
    assert platform.live == V2


def test_rollback_that_hangs(cli: Cli, platform: Platform) -> None:
    """After its deadline the command ends with 1, and the job goes on."""
    platform.control("faults", {"hang": True})
    said = cli.run("rollback", V1, "--yes", "--timeout", "1s")
    assert said.code == 1, said.text
    assert "exceeded its deadline" in said.text
    assert platform.job == "in-progress"


def test_promote_undoes(cli: Cli, platform: Platform) -> None:
    """`vercel promote` goes forward again, and lets new builds be live."""
    platform.roll_back(V1)
    said = cli.run("promote", V2, "--yes")
    assert said.code == 0, said.text
    assert "Success! wedsync was promoted to" in said.text
    state = platform.state()
    assert (state["live"], state["auto_assign_custom_domains"]) == (V2, True)


def test_promote_of_what_is_live(cli: Cli) -> None:
    """To promote what is live ends with 1 and Vercel's 409."""
    said = cli.run("promote", V2, "--yes")
    assert said.code == 1, said.text
    assert "is already the current production deployment (409)" in said.text


def test_alias_ls(cli: Cli, platform: Platform) -> None:
    """`vercel alias ls` lists each host with the deployment that it leads to."""
    said = cli.run("alias", "ls")
    assert said.code == 0, said.text
    assert all(host in said.text for host in platform.state()["domains"])


def test_alias_set(cli: Cli, platform: Platform) -> None:
    """`vercel alias set` moves a custom alias, and is content if it was there."""
    for _ in range(2):
        said = cli.run("alias", "set", V1, CUSTOM)
        assert said.code == 0, said.text
        assert f"https://{CUSTOM} now points to {V1}" in said.text
        assert platform.state()["custom_aliases"] == {CUSTOM: V1}


@pytest.mark.parametrize(
    ("deployment", "says"),
    [
        ("dpl_none", "Failed to find ID or URL dpl_none"),
        (BROKEN, f"https://{BROKEN} is not ready"),
    ],
)
def test_alias_set_fails(
    cli: Cli, platform: Platform, deployment: str, says: str
) -> None:
    """An alias that cannot be moved ends with 1, and nothing has moved."""
    said = cli.run("alias", "set", deployment, CUSTOM)
    assert said.code == 1, said.text
    assert says in said.text
    assert platform.state()["custom_aliases"] == {}


def test_wrong_token(cli: Cli) -> None:
    """A token that is not known reaches no team, and the command says so."""
    said = cli.run("ls", token="wrong")
    assert said.code == 1, said.text
    assert "You do not have access to the specified account" in said.text
