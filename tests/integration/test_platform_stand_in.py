"""The stand-in for Vercel's REST API: moves aliases slowly, denies as Vercel does."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

ROOT = Path(__file__).parents[2]
V0, V1, V2, BROKEN, PREVIEW = (
    f"dpl_{name}" for name in ("v0", "v1", "v2", "broken", "preview")
)
LATER = "dpl_later"
PROJECT = "/v9/projects/prj_wedsync"
NAMED = "wedsync.localhost"
CUSTOM = "shop.example.com"
TEAM = {"teamId": "team_wedsync"}
TOKEN = {"Authorization": "Bearer vercel_test_token"}
T = TypeVar("T")


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    """Describe a project: two releases before v2, a failed build and a preview."""
    ports = _free_ports(8)
    fates: dict[str, dict[str, str]] = {
        BROKEN: {"state": "ERROR"},
        PREVIEW: {"target": "preview", "substate": "STAGED"},
    }
    deployments = [
        {"id": name, "name": name, "git_sha": f"{port:040x}", "port": port}
        | {"upstream": "http://127.0.0.1:9"}
        | fates.get(name, {})
        for name, port in zip((V0, V1, V2, BROKEN, PREVIEW), ports, strict=False)
    ]
    later = {"id": LATER, "name": "later", "git_sha": "1" * 40, "port": ports[7]}
    return {
        "api_port": ports[5],
        "edge_port": ports[6],
        "token": "vercel_test_token",
        "team_id": "team_wedsync",
        "project": {"id": "prj_wedsync", "name": "wedsync"},
        "bypass_secret": "bypass_test_secret",
        "domains": [f"127.0.0.1:{ports[6]}", NAMED],
        "deployments": deployments,
        "later": [later | {"upstream": "http://127.0.0.1:9"}],
        "live": V2,
    }


@pytest.fixture(scope="module")
def url(config: dict[str, Any]) -> Iterator[str]:
    """Run the platform as its own process."""
    command = [sys.executable, "-m", "stack.platform", json.dumps(config)]
    process = subprocess.Popen(command, cwd=ROOT)  # noqa: S603 - our own words
    address = f"http://127.0.0.1:{config['api_port']}"
    try:
        _until(lambda: _answers(address))
        yield address
    finally:
        process.terminate()
        assert process.wait(10) == 0


@pytest.fixture(scope="module")
def clients(url: str) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Open both clients once: reading certificates takes longer than a test."""
    with ExitStack() as stack:
        known = httpx.Client(base_url=url, headers=TOKEN, params=TEAM, trust_env=False)
        unknown = httpx.Client(base_url=url, trust_env=False)
        yield stack.enter_context(known), stack.enter_context(unknown)


@pytest.fixture
def api(clients: tuple[httpx.Client, httpx.Client]) -> httpx.Client:
    """Give a client that may do everything, of a platform as it was at start."""
    clients[0].post("/_control/reset").raise_for_status()
    return clients[0]


@pytest.fixture
def stranger(clients: tuple[httpx.Client, httpx.Client]) -> httpx.Client:
    """Give a client with neither token nor team, of the same platform."""
    clients[1].post("/_control/reset").raise_for_status()
    return clients[1]


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        taken = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(number)
        ]
        return [each.getsockname()[1] for each in taken]


def _until(look: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + 20
    while not (seen := look()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.03)
    return seen


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/_control/state", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _state(api: httpx.Client) -> dict[str, Any]:
    state: dict[str, Any] = api.get("/_control/state").json()
    return state


def _job(api: httpx.Client) -> dict[str, Any]:
    answer = api.get(PROJECT, params={"rollbackInfo": "true"})
    job: dict[str, Any] = answer.raise_for_status().json()["lastAliasRequest"]
    return job


def _ended(api: httpx.Client) -> dict[str, Any]:
    """Wait until the last request is over; give it."""

    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = _state(api)["last_alias_request"]
        return None if job["jobStatus"] in ("pending", "in-progress") else job

    return _until(look)


def _rollback(api: httpx.Client, deployment: str) -> httpx.Response:
    return api.post(f"/v1/projects/prj_wedsync/rollback/{deployment}")


def _promote(api: httpx.Client, deployment: str) -> httpx.Response:
    return api.post(f"/v10/projects/prj_wedsync/promote/{deployment}", json={})


def _fault(api: httpx.Client, **faults: Any) -> None:
    api.post("/_control/faults", json=faults).raise_for_status()


def _live(api: httpx.Client, deployment: str) -> None:
    body = {"deployment": deployment}
    api.post("/_control/live", json=body).raise_for_status()


def _rolling(api: httpx.Client) -> Any:
    path = "/v1/projects/prj_wedsync/rolling-release"
    answer = api.get(path, params={"state": "ACTIVE"}).raise_for_status()
    return answer.json()["rollingRelease"]


def _visited(api: httpx.Client) -> str:
    """Give the deployment that a visit of production is led to."""
    (production, *_) = _state(api)["domains"]
    visit = httpx.get(f"http://{production}/", trust_env=False)
    return visit.headers["x-deployment-id"]


def _refusal(answer: httpx.Response) -> tuple[int, str]:
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"]["message"]
    return answer.status_code, answer.json()["error"]["code"]


# Who may ask


@pytest.mark.parametrize("token", [None, "Bearer wrong", "vercel_test_token"])
def test_without_the_token_every_call_is_refused(
    stranger: httpx.Client, token: str | None
) -> None:
    """A missing or wrong token is answered 403, and nothing is changed."""
    headers = {} if token is None else {"Authorization": token}
    answer = stranger.post(
        f"/v1/projects/prj_wedsync/rollback/{V1}", params=TEAM, headers=headers
    )
    assert _refusal(answer) == (403, "forbidden")
    assert _state(stranger)["last_alias_request"] is None


def test_without_a_team_the_list_is_empty(stranger: httpx.Client) -> None:
    """The trap: who forgets the team is told that there are no deployments, not no."""
    answer = stranger.get(
        "/v6/deployments", params={"projectId": "prj_wedsync"}, headers=TOKEN
    )
    assert answer.status_code == 200
    assert answer.json()["deployments"] == []


@pytest.mark.parametrize("path", [PROJECT, f"/v13/deployments/{V1}"])
def test_without_a_team_nothing_of_it_is_shown(
    stranger: httpx.Client, path: str
) -> None:
    """The project and its deployments belong to the team: 403."""
    assert _refusal(stranger.get(path, headers=TOKEN)) == (403, "forbidden")


def test_a_foreign_team_is_refused(stranger: httpx.Client) -> None:
    """Naming a team that the token does not reach is 403, also for the list."""
    answer = stranger.get(
        "/v7/deployments", params={"teamId": "team_other"}, headers=TOKEN
    )
    assert _refusal(answer) == (403, "forbidden")


def test_the_slug_names_the_team(stranger: httpx.Client) -> None:
    """``slug`` serves as well as ``teamId``."""
    answer = stranger.get(PROJECT, params={"slug": "wedsync"}, headers=TOKEN)
    assert answer.json()["accountId"] == "team_wedsync"


def test_who_am_i(stranger: httpx.Client) -> None:
    """The user and the teams are told without naming a team."""
    user = stranger.get("/v2/user", headers=TOKEN).json()["user"]
    teams = stranger.get("/v1/teams", headers=TOKEN).json()["teams"]
    one = stranger.get("/v2/teams/team_wedsync", headers=TOKEN).json()
    assert user["username"]
    assert [team["slug"] for team in teams] == [one["slug"]] == ["wedsync"]


def test_an_unknown_route_has_vercels_shape(api: httpx.Client) -> None:
    """What the stand-in does not know is 404 in the envelope, and can be seen later."""
    assert _refusal(api.get("/v1/analytics")) == (404, "not_found")
    assert _refusal(api.delete(PROJECT)) == (405, "method_unknown")
    seen = [(call["path"], call["endpoint"]) for call in _state(api)["calls"]]
    assert seen == [("/v1/analytics", None), (PROJECT, None)]


# Looking


def test_the_list_is_newest_first(api: httpx.Client) -> None:
    """The list calls the id ``uid``, and holds every deployment of the project."""
    for version in ("v6", "v7"):
        answer = api.get(f"/{version}/deployments", params={"projectId": "wedsync"})
        found = answer.json()["deployments"]
        assert [each["uid"] for each in found] == [PREVIEW, BROKEN, V2, V1, V0]
        assert "id" not in found[0]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"target": "production"}, [BROKEN, V2, V1, V0]),
        ({"state": "READY"}, [PREVIEW, V2, V1, V0]),
        ({"state": "ERROR,CANCELED"}, [BROKEN]),
        ({"rollbackCandidate": "true"}, [V2, V1, V0]),
        ({"target": "production", "state": "READY", "limit": "1"}, [V2]),
    ],
)
def test_the_list_is_filtered(
    api: httpx.Client, query: dict[str, str], found: list[str]
) -> None:
    """Target, state and rollback candidacy narrow the list."""
    answer = api.get("/v6/deployments", params=query).json()
    assert [each["uid"] for each in answer["deployments"]] == found


def test_the_list_has_pages(api: httpx.Client) -> None:
    """Passing ``pagination.next`` as ``until`` walks to the end."""
    found = []
    until: dict[str, int] = {}
    while True:
        page = api.get("/v6/deployments", params={"limit": 2} | until).json()
        found += [each["uid"] for each in page["deployments"]]
        if page["pagination"]["next"] is None:
            break
        until = {"until": page["pagination"]["next"]}
    assert found == [PREVIEW, BROKEN, V2, V1, V0]


def test_a_deployment_tells_whether_it_ever_served(api: httpx.Client) -> None:
    """STAGED turns to PROMOTED when it becomes live; a failed build has neither."""
    staged = api.get(f"/v13/deployments/{PREVIEW}").json()
    assert staged["readySubstate"] == "STAGED"
    assert "readySubstate" not in api.get(f"/v13/deployments/{BROKEN}").json()
    assert api.get(f"/v13/deployments/{V2}").json()["readySubstate"] == "PROMOTED"


def test_a_host_resolves_to_what_it_serves(
    api: httpx.Client, config: dict[str, Any]
) -> None:
    """A deployment is found by id, by its own host, and by a production host."""
    own = f"127.0.0.1:{config['deployments'][1]['port']}"
    ids = [
        api.get(f"/v13/deployments/{name}").json()["id"]
        for name in (V1, own, NAMED, config["domains"][0])
    ]
    assert ids == [V1, V1, V2, V2]
    missing = api.get("/v13/deployments/dpl_nowhere")
    assert _refusal(missing) == (404, "not_found")


def test_sensitive_values_cannot_be_read(api: httpx.Client) -> None:
    """Names and types of the variables are shown, and only plain values."""
    answer = api.get("/v10/projects/prj_wedsync/env", params={"decrypt": "true"})
    envs = {
        each["key"]: (each["type"], each["value"]) for each in answer.json()["envs"]
    }
    assert envs["DATABASE_URL"] == ("sensitive", "")
    assert envs["NEXT_PUBLIC_SITE_NAME"] == ("plain", "WedSync")


def test_no_release_is_rolling(api: httpx.Client) -> None:
    """There is no staged rollout to abort."""
    answer = api.get("/v1/projects/prj_wedsync/rolling-release")
    assert answer.json() == {"rollingRelease": None}


# Moving


def test_a_rollback_moves_each_domain_in_its_own_time(api: httpx.Client) -> None:
    """201 comes before anything moved; then one domain has moved and one has not."""
    answer = _rollback(api, V1)
    assert (answer.status_code, answer.content) == (201, b"")
    statuses: list[str] = []
    places: list[set[str]] = []
    while not statuses or statuses[-1] != "succeeded":
        state = _state(api)
        statuses.append(state["last_alias_request"]["jobStatus"])
        places.append(set(state["domains"].values()))
    assert list(dict.fromkeys(statuses)) == ["pending", "in-progress", "succeeded"]
    assert places[0] == {V2}
    assert {V1, V2} in places
    assert places[-1] == {V1}


def test_a_rollback_is_told_by_the_project(api: httpx.Client) -> None:
    """Afterwards the project names its new target, and new builds stay off it."""
    _rollback(api, V1)
    job = _ended(api)
    assert (job["type"], job["jobStatus"]) == ("rollback", "succeeded")
    assert (job["fromDeploymentId"], job["toDeploymentId"]) == (V2, V1)
    project = api.get(PROJECT).json()
    assert project["autoAssignCustomDomains"] is False
    assert project["targets"]["production"]["id"] == V1
    assert project["lastRollbackTarget"] is None


def test_the_job_hides_without_rollback_info(api: httpx.Client) -> None:
    """The trap: ``lastAliasRequest`` is null unless ``rollbackInfo=true`` is asked."""
    _rollback(api, V1)
    assert api.get(PROJECT).json()["lastAliasRequest"] is None
    assert _job(api)["toDeploymentId"] == V1


def test_promoting_ends_the_rollback(api: httpx.Client) -> None:
    """A promotion moves the domains too, and lets new builds go live again."""
    _rollback(api, V1)
    before = _ended(api)
    assert _promote(api, V2).status_code == 201
    job = _ended(api)
    assert (job["type"], job["toDeploymentId"]) == ("promote", V2)
    assert job["requestedAt"] > before["requestedAt"]
    state = _state(api)
    assert set(state["domains"].values()) == {V2}
    assert state["auto_assign_custom_domains"] is True


@pytest.mark.parametrize("ask", [_rollback, _promote])
def test_the_live_deployment_is_refused(
    api: httpx.Client, ask: Callable[[httpx.Client, str], httpx.Response]
) -> None:
    """Asking for what is live already is 409, and says so."""
    answer = ask(api, V2)
    assert _refusal(answer) == (409, "conflict")
    message = answer.json()["error"]["message"]
    assert "already the current production deployment" in message


@pytest.mark.parametrize(
    ("deployment", "refusal"),
    [
        ("dpl_nowhere", (404, "not_found")),
        (BROKEN, (422, "unprocessable_entity")),
        (PREVIEW, (422, "unprocessable_entity")),
    ],
)
def test_what_cannot_serve_is_refused(
    api: httpx.Client, deployment: str, refusal: tuple[int, str]
) -> None:
    """Unknown is 404; not READY, or not built for production, is 422."""
    assert _refusal(_rollback(api, deployment)) == refusal
    assert _refusal(_promote(api, deployment)) == refusal


def test_the_hobby_plan_goes_back_one_step(api: httpx.Client) -> None:
    """On that plan anything but the deployment before is 402 with Vercel's sentence."""
    _fault(api, hobby=True)
    answer = _rollback(api, V0)
    assert _refusal(answer) == (402, "payment_required")
    assert "further than the previous production" in answer.json()["error"]["message"]
    assert _rollback(api, V1).status_code == 201


def test_custom_aliases_stay_behind(api: httpx.Client) -> None:
    """The trap: a rollback succeeds, and a custom alias still leads to the bad one."""
    assign = f"/v2/deployments/{V2}/aliases"
    assert api.post(assign, json={"alias": CUSTOM}).json()["alias"] == CUSTOM
    _rollback(api, V1)
    assert _ended(api)["jobStatus"] == "succeeded"
    state = _state(api)
    assert set(state["domains"].values()) == {V1}
    assert state["custom_aliases"] == {CUSTOM: V2}


def test_an_alias_is_assigned_at_once(api: httpx.Client) -> None:
    """It tells where the host led before; the same again is 409 and names the alias."""
    api.post(f"/v2/deployments/{V2}/aliases", json={"alias": CUSTOM})
    answer = api.post(f"/v2/deployments/{V1}/aliases", json={"alias": CUSTOM})
    assert answer.json()["oldDeploymentId"] == V2
    assert api.get(f"/v13/deployments/{CUSTOM}").json()["id"] == V1
    again = api.post(f"/v2/deployments/{V1}/aliases", json={"alias": CUSTOM})
    assert _refusal(again) == (409, "conflict")
    assert again.json()["error"]["alias"] == CUSTOM
    listed = api.get(f"/v2/deployments/{V1}/aliases").json()["aliases"]
    assert [each["alias"] for each in listed] == [CUSTOM]


def test_a_bad_alias_is_refused(api: httpx.Client) -> None:
    """A host that is none, and a build that is not ready, are 400 with their codes."""
    bad = api.post(f"/v2/deployments/{V1}/aliases", json={"alias": "no host"})
    early = api.post(f"/v2/deployments/{BROKEN}/aliases", json={"alias": CUSTOM})
    assert _refusal(bad) == (400, "invalid_alias")
    assert _refusal(early) == (400, "deployment_not_ready")


def test_a_rollback_can_be_tried_dry(api: httpx.Client) -> None:
    """The dry run names the domains that would move, no custom alias; none moves."""
    api.post(f"/v2/deployments/{V2}/aliases", json={"alias": CUSTOM})
    everything = api.get("/v4/aliases", params={"projectId": "prj_wedsync"}).json()
    dry = api.get("/v4/aliases", params={"rollbackDeploymentId": V1}).json()
    state = _state(api)
    assert {each["alias"] for each in everything["aliases"]} == {
        CUSTOM,
        *state["domains"],
    }
    assert [each["alias"] for each in dry["aliases"]] == list(state["domains"])
    assert set(state["domains"].values()) == {V2}


def test_auto_assignment_can_be_put_back(api: httpx.Client) -> None:
    """The setting that a rollback turned off is turned on by PATCH; others are 400."""
    _rollback(api, V1)
    answer = api.patch(PROJECT, json={"autoAssignCustomDomains": True})
    assert answer.json()["autoAssignCustomDomains"] is True
    assert _refusal(api.patch(PROJECT, json={"name": "x"})) == (400, "bad_request")


def test_the_reason_is_kept(api: httpx.Client) -> None:
    """The reason comes with the rollback, and can be changed to a short one."""
    path = f"/v1/projects/prj_wedsync/rollback/{V1}"
    api.post(path, params={"description": "INC-42"}).raise_for_status()
    assert _state(api)["rollback_description"]["description"] == "INC-42"
    change = f"{path}/update-description"
    assert api.patch(change, json={"description": "INC-43"}).status_code == 200
    too_long = api.patch(change, json={"description": "x" * 251})
    assert _refusal(too_long) == (400, "bad_request")
    assert api.get(PROJECT).json()["rollbackDescription"]["description"] == "INC-43"


@pytest.mark.parametrize(
    "tags", [[], ["x"] * 17, ["x" * 257], "", None, [1]], ids=lambda tags: str(tags)[:9]
)
@pytest.mark.parametrize("verb", ["invalidate", "dangerously-delete"])
def test_a_purge_names_one_to_sixteen_tags(
    api: httpx.Client, verb: str, tags: object
) -> None:
    """Fewer, more, longer or other tags are 400."""
    path = f"/v1/edge-cache/{verb}-by-tags"
    project = {"projectIdOrName": "wedsync"}
    answer = api.post(path, params=project, json={"tags": tags})
    assert _refusal(answer) == (400, "bad_request")
    good = api.post(path, params=project, json={"tags": ["x"] * 16})
    assert (good.status_code, good.content) == (200, b"")


# What goes wrong on request


def test_the_pace_is_limited(api: httpx.Client) -> None:
    """The 61st call of one endpoint is 429 and says when; other endpoints go on."""
    path = "/v1/projects/prj_wedsync/rolling-release"
    answers = [api.get(path) for _ in range(61)]
    assert {answer.status_code for answer in answers[:60]} == {200}
    assert _refusal(answers[60]) == (429, "rate_limited")
    assert 1 <= int(answers[60].headers["Retry-After"]) <= 10
    assert answers[60].json()["error"]["limit"]["total"] == 60
    assert api.get(PROJECT).status_code == 200


def test_an_endpoint_fails_as_often_as_told(api: httpx.Client) -> None:
    """The error comes N times and changes nothing; then the endpoint works again."""
    _fault(api, rollback={"status": 503, "times": 2, "retry_after": 3})
    failed = [_rollback(api, V1) for _ in range(2)]
    assert [answer.status_code for answer in failed] == [503, 503]
    assert failed[0].headers["Retry-After"] == "3"
    assert _state(api)["last_alias_request"] is None
    assert _rollback(api, V1).status_code == 201


def test_a_lost_reply_hides_an_accepted_job(api: httpx.Client) -> None:
    """The caller sees the connection drop, and the domains move all the same."""
    _fault(api, lose_reply=True)
    with pytest.raises(httpx.RemoteProtocolError):
        _rollback(api, V1)
    assert _ended(api)["toDeploymentId"] == V1
    assert _promote(api, V2).status_code == 201


def test_a_hanging_job_stays_in_progress(api: httpx.Client) -> None:
    """It moves nothing; once the fault is gone, asking again works."""
    _fault(api, hang=True)
    _rollback(api, V1)
    begun = time.monotonic()
    _until(lambda: time.monotonic() - begun > 0.8)
    assert _job(api)["jobStatus"] == "in-progress"
    assert set(_state(api)["domains"].values()) == {V2}
    _fault(api, hang=None)
    assert _rollback(api, V1).status_code == 201
    assert _ended(api)["jobStatus"] == "succeeded"


def test_a_failing_job_leaves_a_domain_behind(api: httpx.Client) -> None:
    """The project stays on its target, and the domain left behind is named."""
    _fault(api, job_status="failed", failed_domains=[NAMED])
    _rollback(api, V1)
    assert _ended(api)["jobStatus"] == "failed"
    state = _state(api)
    assert state["live"] == V2
    assert set(state["domains"].values()) == {V1, V2}
    path = f"{PROJECT}/rollback/aliases"
    failed = api.get(path, params={"failedOnly": "true", "limit": 20}).json()
    (one,) = failed["aliases"]
    assert one["status"] == "failed"
    assert one["alias"] == {"alias": NAMED, "deploymentId": V2}


def test_promoted_aliases_come_in_two_shapes(api: httpx.Client) -> None:
    """The CLI's version nests the host, the documented one does not; none is ``{}``."""
    flat = "/v1/projects/prj_wedsync/promote/aliases"
    assert api.get(flat).json() == {}
    _promote(api, V1)
    _ended(api)
    hosts = list(_state(api)["domains"])
    nested = api.get(f"{PROJECT}/promote/aliases").json()["aliases"]
    assert [each["alias"]["alias"] for each in nested] == hosts
    assert [each["alias"] for each in api.get(flat).json()["aliases"]] == hosts
    assert {each["status"] for each in nested} == {"completed"}


def test_a_rolling_release_shows_the_canary_to_some(api: httpx.Client) -> None:
    """Some of the visits see it, the project tells, and a promotion is queued."""
    _live(api, V1)
    _fault(api, rolling={"canary": V2, "percentage": 25})

    release = _rolling(api)
    assert release["state"] == "ACTIVE"
    assert release["currentDeployment"]["id"] == V1
    assert release["canaryDeployment"]["id"] == V2
    assert [_visited(api) for _ in range(8)] == [V1, V1, V1, V2] * 2
    assert _promote(api, V2).status_code == 202
    assert _state(api)["last_alias_request"] is None


def test_a_rollback_to_the_base_ends_a_rolling_release(api: httpx.Client) -> None:
    """Though the base is the current deployment, the same request is accepted."""
    _live(api, V1)
    _fault(api, rolling={"canary": V2, "percentage": 50})

    assert _rollback(api, V1).status_code == 201
    assert _rolling(api) is None
    job = _ended(api)
    assert job["fromDeploymentId"] == V2
    assert job["fromRollingReleaseId"] == "rr_1"
    assert {_visited(api) for _ in range(4)} == {V1}


def test_a_request_that_is_lost_changes_nothing(api: httpx.Client) -> None:
    """The connection is dropped before anything is taken."""
    _fault(api, lose_request=1)
    with pytest.raises(httpx.TransportError):
        _rollback(api, V1)
    assert _state(api)["last_alias_request"] is None
    assert _rollback(api, V1).status_code == 201


def test_an_older_job_of_somebody_else_is_told(api: httpx.Client) -> None:
    """It is the last one until there is a newer one, and moves nothing."""
    older = {"type": "rollback", "to": V1, "status": "succeeded", "age_seconds": 60}
    _fault(api, older_job=older)
    job = _job(api)
    assert (job["toDeploymentId"], job["jobStatus"]) == (V1, "succeeded")
    assert _state(api)["live"] == V2

    _rollback(api, V1)
    assert _job(api)["requestedAt"] > job["requestedAt"]
    assert _ended(api)["jobStatus"] == "succeeded"
    assert _state(api)["live"] == V1


def test_a_deployment_of_another_project_cannot_serve(api: httpx.Client) -> None:
    """It is shown with its project, and is not found by a rollback."""
    _fault(api, foreign=[V1])
    assert api.get(f"/v13/deployments/{V1}").json()["projectId"] == "prj_another"
    assert _refusal(_rollback(api, V1)) == (404, "not_found")
    assert _refusal(_promote(api, V1)) == (404, "not_found")


@pytest.mark.parametrize(
    "faults",
    [
        {"rolback": {"status": 500}},
        {"rollback": {"code": 500}},
        {"older_job": {"to": V1}},
        {"rolling": {"percentage": 5}},
    ],
)
def test_a_fault_that_cannot_bite_is_refused(
    api: httpx.Client, faults: dict[str, Any]
) -> None:
    """A misspelt endpoint, or a fault without a status, is 400."""
    answer = api.post("/_control/faults", json=faults)
    assert _refusal(answer) == (400, "bad_request")


def test_a_scenario_can_be_set_up(api: httpx.Client) -> None:
    """Putting a deployment live is at once and leaves no alias request behind."""
    _rollback(api, V1)
    api.post("/_control/live", json={"deployment": V0}).raise_for_status()
    state = _state(api)
    assert set(state["domains"].values()) == {V0} == {state["live"]}
    assert _job(api) is None
    unknown = api.post("/_control/live", json={"deployment": "dpl_nowhere"})
    assert _refusal(unknown) == (404, "not_found")


def test_a_build_is_deployed_while_it_runs(
    api: httpx.Client, config: dict[str, Any]
) -> None:
    """A later build is nowhere before it is deployed, then the newest, and live."""
    own = f"http://127.0.0.1:{config['later'][0]['port']}"

    def newest() -> dict[str, Any]:
        listed = api.get("/v6/deployments", params={"limit": 1}).json()
        first: dict[str, Any] = listed["deployments"][0]
        return first

    before = newest()
    assert before["uid"] != LATER
    assert _refusal(api.get(f"/v13/deployments/{LATER}")) == (404, "not_found")
    assert httpx.get(own, trust_env=False).status_code == 404

    api.post("/_control/deploy", json={"deployment": LATER}).raise_for_status()

    assert newest()["uid"] == LATER
    assert newest()["created"] > before["created"]
    assert _state(api)["live"] == LATER
    assert httpx.get(own, trust_env=False).status_code == 401
    unknown = api.post("/_control/deploy", json={"deployment": "dpl_nowhere"})
    assert _refusal(unknown) == (404, "not_found")
    api.post("/_control/reset").raise_for_status()
    assert newest() == before


def test_a_build_waits_while_a_rollback_is_in_force(api: httpx.Client) -> None:
    """After a rollback a later build does not go live by itself."""
    _rollback(api, V1)
    _ended(api)

    api.post("/_control/deploy", json={"deployment": LATER}).raise_for_status()

    assert _state(api)["live"] == V1


def test_reset_goes_back_to_the_start(api: httpx.Client) -> None:
    """Aliases, faults, jobs and calls are as they were."""
    fresh = _state(api)
    api.post(f"/v2/deployments/{V2}/aliases", json={"alias": CUSTOM})
    _fault(api, lose_reply=5)
    _fault(api, rollback={"status": 500})
    _promote_quietly(api)
    assert _state(api) != fresh
    api.post("/_control/reset").raise_for_status()
    assert _state(api) == fresh


def _promote_quietly(api: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        _promote(api, V1)
