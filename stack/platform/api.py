"""The REST API: what every endpoint asks before it answers, and the controls."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stack.platform.calls import Call
from stack.platform.endpoints import ENDPOINTS, Endpoint
from stack.platform.errors import ApiError
from stack.platform.limits import Limits
from stack.platform.projects import Projects
from stack.platform.world import World
from stack.serving import control

WRONG_METHOD = 405


def build(projects: Projects) -> Starlette:
    """Build the API of these projects, with the controls of the practice stack."""
    return Api(projects).app()


class Api:
    """Lets calls in, or refuses them, and hands them to their endpoint."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._config = projects.first.config
        self._limits = Limits()

    def app(self) -> Starlette:
        """Give the ASGI app."""
        return Starlette(
            routes=[
                *self._routes(),
                *control(self._projects.state, self._reset),
                Route("/_control/faults", self._set_faults, methods=["POST"]),
                Route("/_control/live", self._set_live, methods=["POST"]),
                Route("/_control/deploy", self._deploy, methods=["POST"]),
                Route("/_control/deleted", self._set_deleted, methods=["POST"]),
                Route("/_control/retention", self._set_retention, methods=["POST"]),
            ],
            exception_handlers={ApiError: _refuse, HTTPException: self._unknown},
        )

    def _routes(self) -> Iterator[Route]:
        for endpoint in ENDPOINTS:
            for path in endpoint.paths():
                yield Route(path, self._serve(endpoint), methods=[endpoint.method])

    def _serve(self, endpoint: Endpoint) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                response = await self._answer(endpoint, request)
            except ApiError as error:
                response = error.response()
            self._record(endpoint.name, request, response)
            return response

        return answer

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        self._check_token(request.headers)
        self._limits.admit(endpoint.name)
        in_team = self._check_team(endpoint, request.query_params)
        body = await _body(request)
        world = self._asked(request)
        world.faults.refuse(endpoint.name)
        call = Call(
            world=world,
            path=request.path_params,
            query=request.query_params,
            body=body,
            in_team=in_team,
        )
        return endpoint.handle(call)

    def _asked(self, request: Request) -> World:
        return self._projects.asked(request.path_params, request.query_params)

    def _check_token(self, headers: Mapping[str, str]) -> None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            message = "The request is missing an authentication token"
            raise ApiError(403, message, missingToken=True)
        if token.strip() != self._config.token:
            raise ApiError(403, "Not authorized", invalidToken=True)

    def _check_team(self, endpoint: Endpoint, query: Mapping[str, str]) -> bool:
        config = self._config
        named = query.get("teamId") or query.get("slug")
        if named is None and endpoint.team != "required":
            return False
        if named not in (config.team_id, config.team_slug):
            message = "You don't have permission to access this resource."
            raise ApiError(403, message)
        return True

    async def _unknown(self, request: Request, error: Exception) -> Response:
        refusal = ApiError(404, "The requested API endpoint was not found")
        if isinstance(error, HTTPException) and error.status_code == WRONG_METHOD:
            refusal = ApiError(405, "This endpoint does not respond to this method")
        self._record(None, request, refusal.response())
        return refusal.response()

    def _record(
        self, endpoint: str | None, request: Request, response: Response
    ) -> None:
        self._asked(request).calls.append(
            {
                "at": time.time(),
                "endpoint": endpoint,
                "method": request.method,
                "path": request.url.path,
                "query": dict(request.query_params),
                "status": response.status_code,
            }
        )

    def _reset(self) -> None:
        self._projects.reset()
        self._limits.clear()

    async def _set_faults(self, request: Request) -> Response:
        names = [endpoint.name for endpoint in ENDPOINTS]
        wanted = await _body(request)
        world = self._projects.broken(request.query_params.get("projectId"))
        world.faults.merge(wanted, names)
        world.set_up(wanted)
        return Response(status_code=204)

    async def _set_live(self, request: Request) -> Response:
        live = (await _body(request)).get("deployment", "")
        self._projects.holding(live).put_live(live)
        return Response(status_code=204)

    async def _deploy(self, request: Request) -> Response:
        self._asked(request).deploy((await _body(request)).get("deployment", ""))
        return Response(status_code=204)

    async def _set_retention(self, request: Request) -> Response:
        wanted = await _body(request)
        world = self._asked(request)
        world.retention = {**world.retention, **wanted}
        return Response(status_code=204)

    async def _set_deleted(self, request: Request) -> Response:
        self._asked(request).delete((await _body(request)).get("deployments", []))
        return Response(status_code=204)


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        raise ApiError(400, "Invalid JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, "The body should be an object")
    return body


async def _refuse(_: Request, error: Exception) -> Response:
    refusal = error if isinstance(error, ApiError) else ApiError(500, str(error))
    return refusal.response()
