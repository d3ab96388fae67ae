"""The platform: Vercel's REST API. Its traps are in `targets/application.py`."""

import ipaddress
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from rollback.errors import NotATarget
from rollback.model import AliasRequest, PlatformDeployment, RollingRelease

from . import web
from .vercel_api import CONFLICT, UNKNOWN, VercelApi, accepted, read_as

__all__ = ["VercelPlatform"]

T = TypeVar("T")

QUEUED = 202
PAGE = 100
PAGES = 20
AUTOMATIC = ".vercel.app"  # branches and deployments get such names by themselves
PROJECT_ID = "prj_"
DESCRIPTION_LENGTH = 250
MARK = "rollbackRecovery"
FAILED = ("ERROR", "CANCELED", "DELETED", "BLOCKED")
SHA_KEYS = ("githubCommitSha", "gitlabCommitSha", "bitbucketCommitSha")


class VercelPlatform(VercelApi):
    """One Vercel project (port `Platform`)."""

    async def deployment(self, id_or_host: str) -> PlatformDeployment | None:
        """One deployment, by id or by a host that it serves; None if unknown."""
        response = await self._served(id_or_host)
        if response.status_code == UNKNOWN:
            return None
        found = read_as(_deployment, accepted(response))
        owner = read_as(_owner, response)
        return found if owner in (None, await self._id()) else None

    async def production_hosts(self) -> tuple[str, ...]:
        """The hosts on which production is served."""
        return read_as(_hosts, await self._project_now())

    async def site_url(self) -> str:
        """The first production host, with its scheme."""
        hosts = await self.production_hosts()
        if not hosts:
            raise NotATarget(
                f"The project {self._project} serves production on no host.",
                mend="Assign a domain to the project, or set ROLLBACK_SITE_URL.",
            )
        return with_scheme(hosts[0])

    async def live(self) -> Mapping[str, str]:
        """Which deployment each production host serves; one that serves none is out."""
        hosts = await self.production_hosts()
        found = {host: await self.deployment(host) for host in hosts}
        return {host: served.id for host, served in found.items() if served}

    async def dark_hosts(self) -> tuple[str, ...]:
        """The production hosts of which Vercel knows no deployment at all."""
        hosts = await self.production_hosts()
        found = {host: await self._served(host) for host in hosts}
        return tuple(h for h, answer in found.items() if answer.status_code == UNKNOWN)

    async def candidates(self) -> tuple[PlatformDeployment, ...]:
        """The latest builds that it would roll production back to, newest first."""
        response = await self._read(
            "/v6/deployments",
            projectId=self._project,
            target="production",
            state="READY",
            rollbackCandidate="true",
            limit=str(PAGE),
        )
        return read_as(_listed, accepted(response))

    async def moves(self, deployment_id: str) -> tuple[str, ...]:
        """Dry run: the hosts that a rollback to this deployment would move."""
        query = {"projectId": self._project, "rollbackDeploymentId": deployment_id}
        return await self._all("/v4/aliases", query, _aliases)

    async def other_hosts(self, deployment_id: str) -> tuple[str, ...]:
        """Custom aliases: Vercel moves the project's own domains, and leaves these."""
        path = f"/v2/deployments/{quote(deployment_id)}/aliases"
        leading = read_as(_aliases, accepted(await self._read(path)))
        own = await self.production_hosts()
        return tuple(
            host for host in leading if host not in own and not host.endswith(AUTOMATIC)
        )

    async def rolling_release(self) -> RollingRelease | None:
        """The release that is being rolled out in stages now, if there is one."""
        path = f"/v1/projects/{quote(self._project)}/rolling-release"
        response = await self._read(path, state="ACTIVE")
        if response.status_code == UNKNOWN:
            return None
        return read_as(_rolling, accepted(response))

    async def last_request(self) -> AliasRequest | None:
        """The last request to move the aliases, whoever made it."""
        return read_as(_alias_request, await self._project_now())

    async def auto_assigns(self) -> bool | None:
        """False since a rollback: new production builds do not go live by themselves.

        `lastRollbackTarget` would be null all the while.
        """
        return read_as(_auto_assigns, await self._project_now())

    async def set_auto_assign(self, *, on: bool) -> None:
        """Put the setting back that a promotion changes."""
        path = f"/v9/projects/{quote(self._project)}"
        wanted = {"autoAssignCustomDomains": on}
        accepted(await self._ask_once(path, {}, json=wanted, method="PATCH"))

    async def roll_back(self, deployment_id: str, *, description: str) -> None:
        """Ask once to move production to this deployment; see the port."""
        response = await self._ask_once(
            f"/v1/projects/{quote(self._project)}/rollback/{quote(deployment_id)}",
            {"description": description[:DESCRIPTION_LENGTH]},
        )
        if not _is_so_already(response):
            accepted(response)

    async def promote(self, deployment_id: str) -> bool:
        """Ask once to move production forward to this deployment; see the port."""
        path = f"/v10/projects/{quote(self._project)}/promote/{quote(deployment_id)}"
        response = await self._ask_once(path, {}, json={})
        return _is_so_already(response) or accepted(response).status_code != QUEUED

    async def assign(self, deployment_id: str, host: str) -> None:
        """Point one host at a deployment; already so is fine."""
        path = f"/v2/deployments/{quote(deployment_id)}/aliases"
        response = await self._ask_once(path, {}, json={"alias": host})
        if response.status_code != CONFLICT:
            accepted(response)

    async def redeploy(self, deployment_id: str, *, token: str) -> None:
        """Ask as `vercel redeploy` does; `meta` is kept, and shown in the list."""
        name = read_as(lambda body: str(body["name"]), await self._project_now())
        wanted = {
            "name": name,
            "deploymentId": deployment_id,
            "target": "production",
            "meta": {"action": "redeploy", MARK: token},
        }
        query = {"forceNew": "1"}
        accepted(await self._ask_once("/v13/deployments", query, json=wanted))

    async def redeployed(self, token: str) -> PlatformDeployment | None:
        """Looked for in the list: the answer that named its id may have been lost."""
        response = await self._read(
            "/v6/deployments", projectId=self._project, target="production", limit="20"
        )
        return read_as(lambda body: _marked(body, token), accepted(response))

    async def _served(self, id_or_host: str) -> httpx.Response:
        return await self._read(f"/v13/deployments/{quote(id_or_host, safe=':')}")

    async def _all(
        self, path: str, query: Mapping[str, str], read: Callable[[Any], list[T]]
    ) -> tuple[T, ...]:
        """What is on all pages of a list."""
        asked, found = {**query, "limit": str(PAGE)}, list[T]()
        for _ in range(PAGES):
            response = accepted(await self._read(path, **asked))
            found.extend(read_as(read, response))
            more = read_as(_next_page, response)
            if more is None:
                break
            asked["until"] = more
        return tuple(found)

    async def _id(self) -> str:
        """The id of the project, of which the settings may know the name alone."""
        if self._project.startswith(PROJECT_ID):
            return self._project
        return read_as(lambda body: str(body["id"]), await self._project_now())


def _deployment(body: Any) -> PlatformDeployment:
    """`isRollbackCandidate` is not in every version of this answer.

    Where it is missing: every ready production deployment is one, as observed.
    """
    meta = body.get("meta") or {}
    ready = body["readyState"] == "READY" and not body.get("softDeletedByRetention")
    candidate = body.get("isRollbackCandidate")
    if candidate is None:
        candidate = body.get("target") == "production"
    return PlatformDeployment(
        id=body.get("id") or body["uid"],
        url=with_scheme(body["url"]),
        git_sha=next((meta[key] for key in SHA_KEYS if meta.get(key)), ""),
        created_at=_time(body["createdAt"]),
        ready=ready,
        candidate=ready and bool(candidate),
        served=body.get("readySubstate") == "PROMOTED",
    )


def _listed(body: Any) -> tuple[PlatformDeployment, ...]:
    """A list calls `uid` what one deployment calls `id`."""
    return tuple(
        _deployment({**each, "id": each["uid"]}) for each in body["deployments"]
    )


def _marked(body: Any, token: str) -> PlatformDeployment | None:
    for each in body["deployments"]:
        if (each.get("meta") or {}).get(MARK) == token:
            if each["readyState"] in FAILED:
                raise NotATarget(
                    f"Vercel could not build {each['uid']}: {each['readyState']}.",
                    mend=f"Look at {each.get('inspectorUrl') or 'its build log'}.",
                )
            return _deployment({**each, "id": each["uid"]})
    return None


def _hosts(body: Any) -> tuple[str, ...]:
    production = (body.get("targets") or {}).get("production") or {}
    return tuple(production.get("alias") or ())


def _owner(body: Any) -> str | None:
    owner: str | None = body.get("projectId")
    return owner


def _aliases(body: Any) -> list[str]:
    return [alias["alias"] for alias in body["aliases"]]


def _next_page(body: Any) -> str | None:
    more = (body.get("pagination") or {}).get("next")
    return None if more is None else str(more)


def _rolling(body: Any) -> RollingRelease | None:
    release = body.get("rollingRelease")
    if not release or release.get("state") != "ACTIVE":
        return None
    return RollingRelease(
        base=release["currentDeployment"]["id"],
        canary=release["canaryDeployment"]["id"],
    )


def _auto_assigns(body: Any) -> bool | None:
    on = body.get("autoAssignCustomDomains")
    return None if on is None else bool(on)


def _is_so_already(response: httpx.Response) -> bool:
    """409 "already the current production deployment" is no error."""
    said = web.sentence(response).lower()
    return response.status_code == CONFLICT and "already" in said


def _alias_request(body: Any) -> AliasRequest | None:
    request = body.get("lastAliasRequest")
    if not request:
        return None
    return AliasRequest(
        kind=request["type"],
        from_deployment=request.get("fromDeploymentId"),
        to_deployment=request["toDeploymentId"],
        status=request["jobStatus"],
        requested_at=_time(request["requestedAt"]),
    )


def _time(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def with_scheme(url: str) -> str:
    """Vercel names addresses without a scheme. Only loopback is without TLS."""
    if "://" in url:
        return url
    host = httpx.URL(f"https://{url}").host
    return f"{'http' if _is_loopback(host) else 'https'}://{url}"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
