"""The stand-in keeps and deletes as Vercel does, and denies what Vercel denies."""

from collections.abc import Iterator

import httpx
import pytest

from stack.backends import Stack


@pytest.fixture
def api(fresh: Stack) -> Iterator[httpx.Client]:
    """A client that may do everything."""
    settings = fresh.environment
    with httpx.Client(
        base_url=settings["VERCEL_API_URL"],
        headers={"Authorization": f"Bearer {settings['VERCEL_TOKEN']}"},
        params={"teamId": settings["VERCEL_TEAM_ID"]},
        trust_env=False,
    ) as client:
        yield client


PROJECT = "/v9/projects/prj_wedsync"
KEEP = f"{PROJECT}/deployment-expiration"


def variables(api: httpx.Client) -> dict[str, dict[str, object]]:
    """The list, by key, though it was asked to decrypt."""
    answer = api.get("/v10/projects/prj_wedsync/env", params={"decrypt": "true"})
    return {each["key"]: each for each in answer.json()["envs"]}


def test_the_list_shows_ciphertext_and_one_variable_plain_text(
    api: httpx.Client,
) -> None:
    """Another ciphertext each time, `decrypted` false; by its id it is opened."""
    first, second = (variables(api)["SENTRY_ENVIRONMENT"] for _ in range(2))
    assert (first["type"], first["decrypted"]) == ("encrypted", False)
    assert first["value"] != second["value"]
    one = api.get(f"/v1/projects/prj_wedsync/env/{first['id']}").json()
    assert (one["value"], one["decrypted"]) == ("production", True)


def test_a_sensitive_value_is_not_opened_by_its_id(api: httpx.Client) -> None:
    """Nobody reads it, ever."""
    hidden = variables(api)["DATABASE_URL"]
    one = api.get(f"/v1/projects/prj_wedsync/env/{hidden['id']}").json()
    assert (one["value"], one["decrypted"]) == ("", False)
    assert api.get("/v1/projects/prj_wedsync/env/none").status_code == 404


def test_retention_is_written_in_labels_and_read_in_days(api: httpx.Client) -> None:
    """At an address of its own; the rest of the setting stays."""
    answer = api.patch(KEEP, json={"expirationProduction": "3m"})
    assert answer.json() == {"deploymentExpiration": {"expirationProduction": "3m"}}
    kept = api.get(PROJECT).json()["deploymentExpiration"]
    assert kept["expirationDaysProduction"] == 90
    assert (kept["expirationDays"], kept["deploymentsToKeep"]) == (180, 10)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"deploymentsToKeep": 20},
        {"expirationDaysProduction": 90},
        {"expirationProduction": "unlimited"},
        {"expirationProduction": 90},
    ],
)
def test_what_cannot_be_written_is_refused(
    api: httpx.Client, body: dict[str, object]
) -> None:
    """Days, a number of deployments to keep, and what is no longer to be had."""
    assert api.patch(KEEP, json=body).status_code == 400
    kept = api.get(PROJECT).json()["deploymentExpiration"]
    assert kept["expirationDaysProduction"] == 365


def test_the_project_itself_takes_no_retention(api: httpx.Client) -> None:
    """The setting is read-only there."""
    wanted = {"deploymentExpiration": {"expirationDaysProduction": 90}}
    assert api.patch(PROJECT, json=wanted).status_code == 400


def test_what_retention_deleted_serves_no_more(api: httpx.Client, fresh: Stack) -> None:
    """Known by its id, marked, in no list, and nothing to roll back to."""
    v1 = fresh.deployments["v1"]
    api.post("/_control/deleted", json={"deployments": [v1]}).raise_for_status()
    shown = api.get(f"/v13/deployments/{v1}").json()
    assert shown["softDeletedByRetention"] is True
    listed = api.get("/v6/deployments", params={"projectId": "prj_wedsync"}).json()
    assert v1 not in [each["uid"] for each in listed["deployments"]]
    refused = api.post(f"/v1/projects/prj_wedsync/rollback/{v1}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (410, "gone")
