"""Vercel's REST API: who asks, how often, and what a refusal means."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import stamina
from anyio import fail_after

from rollback.errors import (
    NotATarget,
    PlatformBusy,
    PlatformDenied,
    PlatformUnreachable,
)

from . import web

__all__ = ["CONFLICT", "UNKNOWN", "VercelApi", "accepted", "read_as"]

T = TypeVar("T")

UNKNOWN = 404
CONFLICT = 409
DENIED = frozenset({401, 402, 403})
UNSUITABLE = frozenset({400, 404, 409, 410, 422})
ATTEMPTS = 4


class VercelApi:
    """One Vercel project. `timeout_seconds` is for each request.

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
        self._team = _scope(team_id)
        self._timeout = timeout_seconds
        self._client = web.client(
            timeout_seconds=timeout_seconds,
            base_url=url,
            headers=web.bearer(token, "VERCEL_TOKEN"),
        )

    async def _project_now(self) -> httpx.Response:
        """Without `rollbackInfo` the last request is null even after a success."""
        path = f"/v9/projects/{quote(self._project)}"
        response = await self._read(path, rollbackInfo="true")
        if response.status_code == UNKNOWN:
            raise PlatformDenied(
                f"Vercel does not know the project {self._project} in this team."
            )
        return accepted(response)

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
        self,
        path: str,
        query: Mapping[str, str],
        *,
        json: Any = None,
        method: str = "POST",
    ) -> httpx.Response:
        try:
            return await self._send(method, path, query, json=json)
        except web.LOST as error:
            raise PlatformUnreachable(
                f"No answer from Vercel to {method} {path}, which it may have taken: "
                f"{web.reason(error)}."
            ) from error

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], *, json: Any = None
    ) -> httpx.Response:
        with fail_after(self._timeout):
            return await self._client.request(
                method, path, params={**query, **self._team}, json=json
            )


def accepted(response: httpx.Response) -> httpx.Response:
    """The response if it is a success; otherwise the error that it stands for."""
    if response.is_success:
        return response
    request, said = response.request, web.sentence(response)
    asked = f"{request.method} {request.url.path}"
    if response.status_code in DENIED:
        raise PlatformDenied(f"Vercel refused {asked}: {said}.")
    if response.status_code in UNSUITABLE:
        raise NotATarget(f"Vercel cannot do {asked}: {said}.")
    problem = f"Vercel could not answer {asked}: {said}."
    if response.status_code == web.TOO_MANY:
        raise PlatformBusy(problem, wait_seconds=web.retry_after(response))
    raise PlatformUnreachable(problem)


def _scope(team: str | None) -> dict[str, str]:
    """What every call says of the team: its id, or its slug; nothing without one."""
    if not team:
        return {}
    return {"teamId" if team.startswith("team_") else "slug": team}


def read_as(read: Callable[[Any], T], response: httpx.Response) -> T:
    """What `read` makes of the answer; `PlatformUnreachable` if it is another shape."""
    try:
        return read(response.json())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PlatformUnreachable(
            f"Vercel's answer to {response.request.url.path} cannot be read: {error!r}."
        ) from error
