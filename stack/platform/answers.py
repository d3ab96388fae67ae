"""Vercel's shapes. The SDK refuses an answer that lacks one of its keys."""

import hashlib
import time
from datetime import UTC, datetime
from typing import Any

from stack.platform.config import Deployment
from stack.platform.world import World

USER_ID = "usr_wedsync"
USERNAME = "wedsync-bot"
INSTALLED_AT_MS = 1_700_000_000_000
"""Stands for every moment before the stand-in was started."""


def user() -> dict[str, Any]:
    """Give the owner of the token."""
    return {
        "user": {
            "id": USER_ID,
            "email": "bot@wedsync.test",
            "name": "WedSync Bot",
            "username": USERNAME,
            "avatar": None,
            "defaultTeamId": None,
            "limited": True,
        }
    }


def team(world: World) -> dict[str, Any]:
    """Give the one team."""
    return {
        "id": world.config.team_id,
        "slug": world.config.team_slug,
        "name": world.config.team_slug,
        "avatar": None,
        "createdAt": INSTALLED_AT_MS,
        "created": iso(INSTALLED_AT_MS),
        "limited": True,
        "limitedBy": ["scope"],
        "membership": {
            "uid": USER_ID,
            "role": "OWNER",
            "confirmed": True,
            "confirmedAt": INSTALLED_AT_MS,
            "created": INSTALLED_AT_MS,
            "createdAt": INSTALLED_AT_MS,
        },
    }


def listed(world: World, deployment: Deployment) -> dict[str, Any]:
    """Give a deployment as the list has it: its id is called ``uid`` there."""
    created = world.created_at(deployment)
    return _common(world, deployment) | {
        "uid": deployment.id,
        "created": created,
        "ready": created + 60_000,
        "state": deployment.state,
        "aliasAssigned": created + 61_000,
        "isRollbackCandidate": rollback_candidate(deployment),
    }


def shown(world: World, deployment: Deployment) -> dict[str, Any]:
    """Give a deployment as asked for by name: its id is called ``id`` here."""
    created = world.created_at(deployment)
    config = world.config
    return _common(world, deployment) | {
        "id": deployment.id,
        "alias": leading_to(world, deployment),
        "aliasAssigned": deployment.state != "BUILDING",
        "bootedAt": created + 1_000,
        "build": {"env": []},
        "buildSkipped": False,
        "buildingAt": created + 1_000,
        "createdIn": "lhr1",
        "env": [variable.key for variable in config.env],
        "isInConcurrentBuildsQueue": False,
        "isInSystemBuildsQueue": False,
        "ownerId": config.team_id,
        "plan": "hobby" if world.faults.table.get("hobby") else "pro",
        "projectSettings": {},
        "public": False,
        "regions": ["lhr1"],
        "routes": None,
        "status": deployment.state,
        "team": {"id": config.team_id, "name": config.team_slug}
        | {"slug": config.team_slug},
        "version": 2,
    }


def project(world: World, *, rollback_info: bool) -> dict[str, Any]:
    """Give the project. Without ``rollback_info`` its last request reads null."""
    job = world.job
    asked = rollback_info and job is not None
    config = world.config
    return _settings(world) | {
        "id": config.project_id,
        "name": config.project_name,
        "accountId": config.team_id,
        "alias": [],
        "autoAssignCustomDomains": world.auto_assign,
        "lastAliasRequest": job.answer() if asked and job else None,
        "rollbackDescription": world.rollback_description,
        "lastRollbackTarget": None,
        "targets": {"production": _production(world)},
    }


def alias(world: World, host: str) -> dict[str, Any]:
    """Give one domain or custom alias."""
    deployment = world.deployments[world.hosts[host]]
    return {
        "uid": alias_id(host),
        "alias": host,
        "created": iso(INSTALLED_AT_MS),
        "createdAt": INSTALLED_AT_MS,
        "updatedAt": INSTALLED_AT_MS,
        "deploymentId": deployment.id,
        "deployment": {"id": deployment.id, "url": deployment.url},
        "projectId": world.config.project_id,
        "redirect": None,
    }


def domain(name: str) -> dict[str, Any]:
    """Give a domain that the team holds, with its name servers elsewhere."""
    return {
        "id": alias_id(name),
        "name": name,
        "serviceType": "external",
        "nameservers": [],
        "intendedNameservers": [],
        "verified": True,
        "boughtAt": None,
        "expiresAt": None,
        "createdAt": INSTALLED_AT_MS,
        "creator": {"id": USER_ID, "username": USERNAME, "email": "bot@wedsync.test"},
    }


def page(moments: list[int], *, more: bool) -> dict[str, int | None]:
    """Give the paging of a list, newest first; ``next`` is the next ``until``."""
    return {
        "count": len(moments),
        "next": moments[-1] if moments and more else None,
        "prev": moments[0] if moments else None,
    }


def description(text: str) -> dict[str, Any]:
    """Give the reason of a rollback, and who gave it."""
    return {
        "userId": USER_ID,
        "username": USERNAME,
        "description": text,
        "createdAt": int(time.time() * 1000),
    }


def leading_to(world: World, deployment: Deployment) -> list[str]:
    """Give the hosts that lead to this deployment now."""
    return [host for host, goal in world.hosts.items() if goal == deployment.id]


def rollback_candidate(deployment: Deployment) -> bool:
    """Say what Vercel says: every production build that is ready, served or not."""
    return deployment.target == "production" and deployment.state == "READY"


def alias_id(host: str) -> str:
    """Give the id of an alias: the same one each time."""
    return hashlib.sha256(host.encode()).hexdigest()[:24]


def iso(milliseconds: int) -> str:
    """Write a moment as Vercel writes those that are not numbers."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _common(world: World, deployment: Deployment) -> dict[str, Any]:
    config = world.config
    ready = deployment.state == "READY"
    substate = "PROMOTED" if deployment.id in world.promoted else "STAGED"
    host = f"https://vercel.com/{config.team_slug}/{config.project_name}"
    return (
        {
            "name": config.project_name,
            "projectId": _project_of(world, deployment),
            "url": deployment.url,
            "createdAt": world.created_at(deployment),
            "type": "LAMBDAS",
            "readyState": deployment.state,
            "target": "production" if deployment.target == "production" else None,
            "aliasError": None,
            "source": "git",
            "inspectorUrl": f"{host}/{deployment.id}",
            "creator": {"uid": USER_ID, "username": USERNAME},
            "meta": {
                "githubCommitSha": deployment.git_sha,
                "githubCommitRef": "main",
                "githubCommitMessage": f"Release {deployment.name}",
                **dict(deployment.meta),
            },
        }
        | ({"readySubstate": substate} if ready else {})
        | _deletion(world, deployment)
    )


def _project_of(world: World, deployment: Deployment) -> str:
    foreign = deployment.id in world.faults.table.get("foreign", ())
    return "prj_another" if foreign else world.config.project_id


def _deletion(world: World, deployment: Deployment) -> dict[str, Any]:
    """Give what retention leaves of a deployment: it can be restored for a month."""
    if deployment.id not in world.deleted:
        return {}
    deleted = world.created_at(deployment) + 1_800_000
    return {"softDeletedByRetention": True, "deleted": deleted}


def _production(world: World) -> dict[str, Any]:
    deployment = world.deployments[world.live]
    return shown(world, deployment) | {
        "alias": list(world.config.domains),
        "aliasAssigned": world.created_at(deployment) + 61_000,
    }


def _settings(world: World) -> dict[str, Any]:
    resources = {
        "functionDefaultRegions": ["lhr1"],
        "functionDefaultTimeout": 30,
        "functionDefaultMemoryType": "standard",
        "fluid": True,
    }
    return {
        "defaultResourceConfig": resources,
        "resourceConfig": resources,
        "deploymentExpiration": world.retention,
        "directoryListing": False,
        "nodeVersion": "22.x",
        "framework": "nextjs",
        "createdAt": INSTALLED_AT_MS,
        "updatedAt": INSTALLED_AT_MS,
    }
