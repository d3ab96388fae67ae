"""The platform: Vercel's REST API. Its traps are in `targets/application.py`."""

import ipaddress
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import stamina
from anyio import fail_after

from rollback.errors import NotATarget, PlatformDenied, PlatformUnreachable
from rollback.model import AliasRequest, PlatformDeployment

from . import web

__all__ = ["VercelPlatform"]

T = TypeVar("T")

UNKNOWN = 404
CONFLICT = 409
DENIED = frozenset({401, 402, 403})
UNSUITABLE = frozenset({400, 404, 409, 410, 422})

ATTEMPTS = 4
PAGE = 100
PAGES = 20
DESCRIPTION_LENGTH = 250
SHA_KEYS = ("githubCommitSha", "gitlabCommitSha", "bitbucketCommitSha")


class VercelPlatform:
    """One Vercel project (port `Platform`). `timeout_seconds` is for each request.

    Reads are sent up to four times; requests that change something once.
    """

    def __init__(
        self,
        *,
        token: str,
        team_id: str | None,
        project_id: str,
        url: str = "https://api.vercel.com",
        timeout_seconds: float = 10.0,
    ) -> None:
        self._project = project_id
        self._team = {"teamId": team_id} if team_id else {}
        self._timeout = timeout_seconds
        self._client = web.client(
            timeout_seconds=timeout_seconds,
            base_url=url,
            headers={"authorization": f"Bearer {token}"},
        )

    async def deployment(self, id_or_host: str) -> PlatformDeployment | None:
        """One deployment, by id or by a host that it serves; None if unknown."""
        response = await self._read(f"/v13/deployments/{quote(id_or_host, safe=':')}")
        if response.status_code == UNKNOWN:
            return None
        return _read_as(_deployment, _accepted(response))

    async def production_hosts(self) -> tuple[str, ...]:
        """The hosts on which production is served."""
        return _read_as(_hosts, await self._project_now())

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
            page, more = _read_as(_aliases, _accepted(response))
            hosts.extend(page)
            if more is None:
                break
            query["until"] = more
        return tuple(hosts)

    async def last_request(self) -> AliasRequest | None:
        """The last request to move the aliases, whoever made it."""
        return _read_as(_alias_request, await self._project_now())

    async def roll_back(self, deployment_id: str, *, description: str) -> None:
        """Ask once to move production to this deployment; see the port."""
        response = await self._ask_once(
            f"/v1/projects/{quote(self._project)}/rollback/{quote(deployment_id)}",
            {"description": description[:DESCRIPTION_LENGTH]},
        )
        said = web.sentence(response).lower()
        if response.status_code != CONFLICT or "already" not in said:
            _accepted(response)

    async def assign(self, deployment_id: str, host: str) -> None:
        """Point one host at a deployment; already so is fine."""
        path = f"/v2/deployments/{quote(deployment_id)}/aliases"
        response = await self._ask_once(path, {}, json={"alias": host})
        if response.status_code != CONFLICT:
            _accepted(response)

    async def _project_now(self) -> httpx.Response:
        """Without `rollbackInfo` the last request is null even after a success."""
        path = f"/v9/projects/{quote(self._project)}"
        response = await self._read(path, rollbackInfo="true")
        if response.status_code == UNKNOWN:
            raise PlatformDenied(
                f"Vercel does not know the project {self._project} in this team."
            )
        return _accepted(response)

    async def _read(self, path: str, **query: str) -> httpx.Response:
        """Send a request that changes nothing, again where that may help."""
        try:
            async for attempt in stamina.retry_context(
                on=web.worth_retrying,
                attempts=ATTEMPTS,
                timeout=2 * self._timeout,
                wait_max=2.0,
                wait_jitter=0.2,
            ):
                with attempt:
                    response = await self._send("GET", path, query)
                    web.raise_if_passing(response)
        except web.TryAgain as error:
            return error.response
        except web.LOST as error:
            raise PlatformUnreachable(
                f"Vercel's API at {self._client.base_url} does not answer: "
                f"{web.reason(error)}."
            ) from error
        return response

    async def _ask_once(
        self, path: str, query: Mapping[str, str], *, json: Any = None
    ) -> httpx.Response:
        try:
            return await self._send("POST", path, query, json=json)
        except web.LOST as error:
            raise PlatformUnreachable(
                f"No answer from Vercel to POST {path}, which it may have taken: "
                f"{web.reason(error)}."
            ) from error

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], *, json: Any = None
    ) -> httpx.Response:
        with fail_after(self._timeout):
            return await self._client.request(
                method, path, params={**query, **self._team}, json=json
            )


def _accepted(response: httpx.Response) -> httpx.Response:
    """The response if it is a success; otherwise the error that it stands for."""
    if response.is_success:
        return response
    request, said = response.request, web.sentence(response)
    asked = f"{request.method} {request.url.path}"
    if response.status_code in DENIED:
        raise PlatformDenied(f"Vercel refused {asked}: {said}.")
    if response.status_code in UNSUITABLE:
        raise NotATarget(f"Vercel cannot do {asked}: {said}.")
    raise PlatformUnreachable(f"Vercel could not answer {asked}: {said}.")


def _read_as(read: Callable[[Any], T], response: httpx.Response) -> T:
    try:
        return read(response.json())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PlatformUnreachable(
            f"Vercel's answer to {response.request.url.path} cannot be read: {error!r}."
        ) from error


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
