"""The platform: Vercel's REST API. Its traps are in `targets/application.py`."""

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from rollback.errors import NotATarget
from rollback.model import AliasRequest, PlatformDeployment

from . import web
from .vercel_api import CONFLICT, UNKNOWN, VercelApi, accepted, read_as

__all__ = ["VercelPlatform"]

PAGE = 100
PAGES = 20
DESCRIPTION_LENGTH = 250
SHA_KEYS = ("githubCommitSha", "gitlabCommitSha", "bitbucketCommitSha")


class VercelPlatform(VercelApi):
    """One Vercel project (port `Platform`)."""

    async def deployment(self, id_or_host: str) -> PlatformDeployment | None:
        """One deployment, by id or by a host that it serves; None if unknown."""
        response = await self._read(f"/v13/deployments/{quote(id_or_host, safe=':')}")
        if response.status_code == UNKNOWN:
            return None
        return read_as(_deployment, accepted(response))

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

    async def moves(self, deployment_id: str) -> tuple[str, ...]:
        """Dry run: the hosts that a rollback to this deployment would move."""
        query = {
            "projectId": self._project,
            "rollbackDeploymentId": deployment_id,
            "limit": str(PAGE),
        }
        hosts: list[str] = []
        for _ in range(PAGES):
            response = await self._read("/v4/aliases", **query)
            page, more = read_as(_aliases, accepted(response))
            hosts.extend(page)
            if more is None:
                break
            query["until"] = more
        return tuple(hosts)

    async def last_request(self) -> AliasRequest | None:
        """The last request to move the aliases, whoever made it."""
        return read_as(_alias_request, await self._project_now())

    async def roll_back(self, deployment_id: str, *, description: str) -> None:
        """Ask once to move production to this deployment; see the port."""
        response = await self._ask_once(
            f"/v1/projects/{quote(self._project)}/rollback/{quote(deployment_id)}",
            {"description": description[:DESCRIPTION_LENGTH]},
        )
        said = web.sentence(response).lower()
        if response.status_code != CONFLICT or "already" not in said:
            accepted(response)

    async def assign(self, deployment_id: str, host: str) -> None:
        """Point one host at a deployment; already so is fine."""
        path = f"/v2/deployments/{quote(deployment_id)}/aliases"
        response = await self._ask_once(path, {}, json={"alias": host})
        if response.status_code != CONFLICT:
            accepted(response)


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
        id=body["id"],
        url=with_scheme(body["url"]),
        git_sha=next((meta[key] for key in SHA_KEYS if meta.get(key)), ""),
        created_at=_time(body["createdAt"]),
        ready=ready,
        candidate=ready and bool(candidate),
        served=body.get("readySubstate") == "PROMOTED",
    )


def _hosts(body: Any) -> tuple[str, ...]:
    production = (body.get("targets") or {}).get("production") or {}
    return tuple(production.get("alias") or ())


def _aliases(body: Any) -> tuple[list[str], str | None]:
    """The hosts of one page, and where the next one begins."""
    more = (body.get("pagination") or {}).get("next")
    return [a["alias"] for a in body["aliases"]], None if more is None else str(more)


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
