"""The HTTP API: its routes, statuses and words."""

import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from stack.toxiproxy.decode import first_value
from stack.toxiproxy.errors import ApiError
from stack.toxiproxy.proxies import Proxies
from stack.toxiproxy.proxy import Proxy

VERSION = "2.12.0"

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


def app(proxies: Proxies) -> Starlette:
    """Build the API over these proxies."""
    handlers = {ApiError: _refuse, HTTPException: _no_route}
    api = _Api(proxies)
    made = Starlette(
        routes=api.routes(),
        middleware=[Middleware(_Doorman)],
        exception_handlers=handlers,
    )
    # To Go's router, a slash at the end is another path.
    made.router.redirect_slashes = False
    return made


class _Api:
    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    def routes(self) -> list[Route]:
        proxy = "/proxies/{proxy}"
        toxics = f"{proxy}/toxics"
        toxic = f"{toxics}/{{toxic}}"
        return [
            Route("/version", _version, methods=["GET"]),
            Route("/reset", self.reset, methods=["POST"]),
            Route("/populate", self.populate, methods=["POST"]),
            Route("/proxies", self.proxies, methods=["GET", "POST"]),
            Route(proxy, self.show_proxy, methods=["GET"]),
            Route(proxy, self.update_proxy, methods=["POST", "PATCH"]),
            Route(proxy, self.delete_proxy, methods=["DELETE"]),
            Route(toxics, self.list_toxics, methods=["GET"]),
            Route(toxics, self.add_toxic, methods=["POST"]),
            Route(toxic, self.show_toxic, methods=["GET"]),
            Route(toxic, self.update_toxic, methods=["POST", "PATCH"]),
            Route(toxic, self.delete_toxic, methods=["DELETE"]),
        ]

    async def reset(self, _: Request) -> Response:
        await self._proxies.reset()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def populate(self, request: Request) -> Response:
        done, error = await self._proxies.populate(await request.body())
        # A Go slice that was never appended to is null.
        answer = {"proxies": [proxy.as_json() for proxy in done] or None}
        if error is not None:
            return JSONResponse(error.as_json() | answer, error.status)
        return JSONResponse(answer, HTTPStatus.CREATED)

    async def proxies(self, request: Request) -> Response:
        if request.method != "POST":
            return JSONResponse(self._proxies.as_json())
        proxy = await self._proxies.add(await _body(request))
        return JSONResponse(proxy.as_json(), HTTPStatus.CREATED)

    async def show_proxy(self, request: Request) -> Response:
        proxy = self._proxy(request)
        return JSONResponse(proxy.as_json() | {"stats": proxy.stats.as_json()})

    async def update_proxy(self, request: Request) -> Response:
        name = self._proxy(request).name
        proxy = await self._proxies.update(name, await _body(request))
        return JSONResponse(proxy.as_json())

    async def delete_proxy(self, request: Request) -> Response:
        await self._proxies.remove(request.path_params["proxy"])
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def list_toxics(self, request: Request) -> Response:
        return JSONResponse(self._proxy(request).toxics_as_json())

    async def add_toxic(self, request: Request) -> Response:
        proxy = self._proxy(request)
        return JSONResponse(proxy.add_toxic(await _body(request)).as_json())

    async def show_toxic(self, request: Request) -> Response:
        toxic = self._proxy(request).toxic(request.path_params["toxic"])
        return JSONResponse(toxic.as_json())

    async def update_toxic(self, request: Request) -> Response:
        proxy, name = self._proxy(request), request.path_params["toxic"]
        proxy.toxic(name)
        return JSONResponse(proxy.update_toxic(name, await _body(request)).as_json())

    async def delete_toxic(self, request: Request) -> Response:
        self._proxy(request).remove_toxic(request.path_params["toxic"])
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _proxy(self, request: Request) -> Proxy:
        return self._proxies[request.path_params["proxy"]]


class _Doorman:
    """Turns browsers away, for any page could call this API; names each answer."""

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        async def named(message: _Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Toxiproxy-Request-Id"] = secrets.token_hex(10)
            await send(message)

        if scope["type"] == "http" and _is_browser(scope):
            forbidden = _text("User agent not allowed", HTTPStatus.FORBIDDEN)
            await forbidden(scope, receive, named)
        else:
            await self._app(scope, receive, named)


def _is_browser(scope: _Message) -> bool:
    return Headers(scope=scope).get("user-agent", "").startswith("Mozilla/")


async def _version(_: Request) -> Response:
    kind = "application/json;charset=utf-8"
    return Response(f'{{"version": "{VERSION}"}}\n', headers={"content-type": kind})


async def _body(request: Request) -> Any:
    return first_value(await request.body())


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    body = json.dumps(error.as_json(), separators=(",", ":"), ensure_ascii=False)
    return _text(body, error.status)


async def _no_route(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.NOT_FOUND:
        return _text("404 page not found", HTTPStatus.NOT_FOUND)
    return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED)


def _text(body: str, status: HTTPStatus) -> Response:
    # As Go's http.Error, which calls even the API's JSON plain text.
    headers = {"X-Content-Type-Options": "nosniff"}
    return PlainTextResponse(f"{body}\n", status, headers)
