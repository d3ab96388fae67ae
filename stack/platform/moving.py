"""The endpoints that change something."""

import re

from starlette.responses import JSONResponse, Response

from stack.platform import answers
from stack.platform.calls import Call
from stack.platform.config import Deployment
from stack.platform.errors import ApiError
from stack.platform.jobs import Kind
from stack.platform.replies import LostReply

HOBBY = (
    "To roll back further than the previous production deployment, "
    "upgrade to pro: https://vercel.com/docs/plans/pro"
)
MAX_DESCRIPTION = 250
MAX_TAGS = 16
MAX_TAG_LENGTH = 256
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d+)?", re.IGNORECASE)


def rollback(call: Call) -> Response:
    """Accept an instant rollback: 201 at once, the domains follow."""
    call.check_project(call.path["project"])
    deployment = call.serving_deployment()
    world = call.world
    if world.faults.table.get("hobby") and deployment.id not in (
        world.live,
        world.predecessor(),
    ):
        raise ApiError(402, HOBBY)
    reason = _checked(call.query.get("description", ""))
    reply = _move(call, "rollback", deployment)
    if reason:
        world.rollback_description = answers.description(reason)
    return reply


def promote(call: Call) -> Response:
    """Accept a promotion: as a rollback, but new builds are live at once again."""
    call.check_project(call.path["project"])
    deployment = call.serving_deployment()
    if call.world.rolling:
        return Response(status_code=202)
    return _move(call, "promote", deployment)


def redeploy(call: Call) -> Response:
    """Build a production deployment's sources again; sources are not taken here."""
    world, source = call.world, call.body.get("deploymentId")
    if call.body.get("name") != world.config.project_name:
        raise ApiError(400, "`name` should be the project's name")
    meta = call.body.get("meta", {})
    if not isinstance(meta, dict) or not all(
        isinstance(each, str) for each in meta.values()
    ):
        raise ApiError(400, "`meta` should be an object of strings")
    if not isinstance(source, str):
        raise ApiError(400, "The stand-in builds nothing but what it has")
    found = world.deployment(source)
    if found.id in world.deleted:
        raise ApiError(410, f"Deployment {found.id} has been deleted")
    if call.world.faults.loses_request():
        return LostReply()
    built = world.redeploy(found, meta)
    lost = call.world.faults.loses_reply()
    return LostReply() if lost else JSONResponse(answers.shown(world, built))


def update_description(call: Call) -> Response:
    """Change the reason of the rollback that holds."""
    call.check_project(call.path["project"])
    deployment = call.deployment()
    job = call.world.job
    if job is None or (job.kind, job.goes_to) != ("rollback", deployment.id):
        raise ApiError(409, f"The project is not rolled back to {deployment.id}")
    reason = _checked(call.body.get("description"))
    call.world.rollback_description = answers.description(reason)
    return Response()


def assign_alias(call: Call) -> Response:
    """Point one host at a deployment, at once."""
    deployment = call.deployment()
    host = call.body.get("alias")
    if not isinstance(host, str) or not HOST.fullmatch(host):
        raise ApiError(400, "The alias is not a valid host", code="invalid_alias")
    if deployment.state != "READY":
        message = f"Deployment {deployment.id} is not ready"
        raise ApiError(400, message, code="deployment_not_ready")
    number = answers.alias_id(host)
    before = call.world.assign(host, deployment)
    if before == deployment.id:
        message = "The domain is already assigned to the given deployment"
        raise ApiError(409, message, uid=number, alias=host)
    created = answers.iso(answers.INSTALLED_AT_MS)
    answer = {"uid": number, "alias": host, "created": created}
    return JSONResponse(answer | ({"oldDeploymentId": before} if before else {}))


def update_project(call: Call) -> Response:
    """Change ``autoAssignCustomDomains``; the stand-in keeps no other setting."""
    call.check_project(call.path["project"])
    wanted = call.body.get("autoAssignCustomDomains")
    if len(call.body) != 1 or not isinstance(wanted, bool):
        raise ApiError(400, "Expected `autoAssignCustomDomains` alone, a boolean")
    call.world.auto_assign = wanted
    return JSONResponse(answers.project(call.world, rollback_info=False))


def invalidate_by_tags(call: Call) -> Response:
    """Mark the entries of the tags: the next request gets them stale, once."""
    call.world.cache.invalidate(_tags(call), lambda name: _purged(call, name))
    return Response()


def delete_by_tags(call: Call) -> Response:
    """Drop the entries of the tags: the next request waits for the app."""
    call.world.cache.delete(_tags(call), lambda name: _purged(call, name))
    return Response()


def _move(call: Call, kind: Kind, deployment: Deployment) -> Response:
    if call.world.faults.loses_request():
        return LostReply()
    call.world.move(kind, deployment)
    lost = call.world.faults.loses_reply()
    return LostReply() if lost else Response(status_code=201)


def _checked(reason: object) -> str:
    if not isinstance(reason, str) or len(reason) > MAX_DESCRIPTION:
        message = f"`description` should be a string of {MAX_DESCRIPTION} at most"
        raise ApiError(400, message)
    return reason


def _tags(call: Call) -> list[str]:
    call.check_project(call.query.get("projectIdOrName"))
    given = call.body.get("tags")
    tags = given.split(",") if isinstance(given, str) else given
    if not isinstance(tags, list) or not 1 <= len(tags) <= MAX_TAGS:
        raise ApiError(400, f"`tags` should hold 1 to {MAX_TAGS} items")
    if not all(isinstance(tag, str) and 0 < len(tag) <= MAX_TAG_LENGTH for tag in tags):
        raise ApiError(400, f"A tag has 1 to {MAX_TAG_LENGTH} characters")
    return tags


def _purged(call: Call, deployment_id: str) -> bool:
    target = call.world.deployments[deployment_id].target
    return call.body.get("target") in (None, target)
