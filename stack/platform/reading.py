"""The endpoints that change nothing."""

from typing import Any

from starlette.responses import JSONResponse, Response

from stack.platform import answers
from stack.platform.calls import Call
from stack.platform.config import Deployment
from stack.platform.errors import ApiError
from stack.platform.jobs import Kind

LIST_LIMIT = 20
MAX_LIMIT = 100


def user(_: Call) -> Response:
    """Whose token it is."""
    return JSONResponse(answers.user())


def teams(call: Call) -> Response:
    """The teams that the token reaches."""
    team = answers.team(call.world)
    pages = answers.page([team["createdAt"]], more=False)
    return JSONResponse({"teams": [team], "pagination": pages})


def team(call: Call) -> Response:
    """One team, by id or slug."""
    config = call.world.config
    if call.path["team"] not in (config.team_id, config.team_slug):
        raise ApiError(404, "Could not find the team")
    return JSONResponse(answers.team(call.world))


def deployments(call: Call) -> Response:
    """Deployments, newest first. Without a team: those of a person, who has none."""
    asked = call.query.get("projectId") or call.query.get("app")
    if call.in_team and asked is not None:
        call.check_project(asked)
    found = [each for each in _newest_first(call) if _wanted(call, each)]
    limit = min(call.number("limit", LIST_LIMIT), MAX_LIMIT)
    shown = [answers.listed(call.world, each) for each in found[:limit]]
    moments = [each["created"] for each in shown]
    pages = answers.page(moments, more=len(found) > limit)
    return JSONResponse({"deployments": shown, "pagination": pages})


def deployment(call: Call) -> Response:
    """One deployment, by id, by its own host, or by a host that leads to it."""
    return JSONResponse(answers.shown(call.world, call.deployment()))


def project(call: Call) -> Response:
    """The project. Its last alias request is null unless ``rollbackInfo=true``."""
    call.check_project(call.path["project"])
    asked = call.query.get("rollbackInfo") == "true"
    return JSONResponse(answers.project(call.world, rollback_info=asked))


def rollback_aliases(call: Call) -> Response:
    """Where each domain's move of the last rollback is."""
    return JSONResponse(_alias_results(call, "rollback"))


def promote_aliases(call: Call) -> Response:
    """The same of the last promotion, as the CLI reads it."""
    return JSONResponse(_alias_results(call, "promote"))


def promote_aliases_flat(call: Call) -> Response:
    """The same as the OpenAPI has it: hosts are strings; ``{}`` when there is none."""
    results = _alias_results(call, "promote")
    if not results["aliases"]:
        return JSONResponse({})
    flat = [each | {"alias": each["alias"]["alias"]} for each in results["aliases"]]
    return JSONResponse(results | {"aliases": flat})


def aliases(call: Call) -> Response:
    """Domains and custom aliases; of a rollback, those that it would move."""
    world = call.world
    if "projectId" in call.query and call.in_team:
        call.check_project(call.query["projectId"])
    hosts = list(world.hosts) if call.in_team else []
    goal = call.query.get("rollbackDeploymentId")
    if goal is not None:
        there = world.deployment(goal).id
        hosts = [host for host in world.config.domains if world.hosts[host] != there]
    if "domain" in call.query:
        hosts = [host for host in hosts if host == call.query["domain"]]
    return JSONResponse(_alias_page(call, [answers.alias(world, h) for h in hosts]))


def domain(call: Call) -> Response:
    """Whether a domain is the team's own, which the CLI asks before it assigns."""
    name = call.path["domain"]
    owned = (*call.world.hosts, *call.world.config.owned_domains)
    if not any(name == each or name.endswith(f".{each}") for each in owned):
        raise ApiError(404, f"Could not find the domain: {name}")
    return JSONResponse({"domain": answers.domain(name)})


def deployment_aliases(call: Call) -> Response:
    """The hosts that lead to one deployment."""
    hosts = answers.leading_to(call.world, call.deployment())
    return JSONResponse({"aliases": [answers.alias(call.world, h) for h in hosts]})


def rolling_release(call: Call) -> Response:
    """The release that is rolled out in stages now, if there is one."""
    call.check_project(call.path["project"])
    world, wanted = call.world, call.query.get("state", "ACTIVE")
    if world.rolling is None or wanted != "ACTIVE":
        return JSONResponse({"rollingRelease": None})
    created = {each.id: world.created_at(each) for each in world.deployments.values()}
    return JSONResponse({"rollingRelease": world.rolling.answer(created)})


def _newest_first(call: Call) -> list[Deployment]:
    return call.world.newest_first() if call.in_team else []


def _wanted(call: Call, deployment: Deployment) -> bool:
    query = call.query
    created = call.world.created_at(deployment)
    candidate = "true" if answers.rollback_candidate(deployment) else "false"
    return (
        query.get("target", deployment.target) == deployment.target
        and deployment.state in query.get("state", deployment.state).split(",")
        and deployment.id not in call.world.deleted
        and query.get("rollbackCandidate", candidate) == candidate
        and query.get("sha", deployment.git_sha) == deployment.git_sha
        and call.number("since", 0) < created < call.number("until", created + 1)
    )


def _alias_results(call: Call, kind: Kind) -> dict[str, Any]:
    call.check_project(call.path["project"])
    job = call.world.job
    domains = job.domains if job is not None and job.kind == kind else ()
    results = [
        {
            "id": answers.alias_id(host),
            "status": job.alias_status(host),
            "alias": {"alias": host, "deploymentId": call.world.hosts[host]},
        }
        for host in domains
        if job is not None
    ]
    if call.query.get("failedOnly") == "true":
        results = [each for each in results if each["status"] == "failed"]
    return _alias_page(call, results)


def _alias_page(call: Call, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Give as many as the limit lets through. A project has few: no second page."""
    shown = found[: min(call.number("limit", LIST_LIMIT), MAX_LIMIT)]
    moments = [answers.INSTALLED_AT_MS] * len(shown)
    return {"aliases": shown, "pagination": answers.page(moments, more=False)}
