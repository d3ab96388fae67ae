"""How each process of the practice stack serves HTTP: on loopback, and leaving well."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]


def serve(*apps: tuple[ASGIApp, int]) -> None:
    """Run each app on its port of 127.0.0.1 until SIGTERM or SIGINT; then return.

    Open requests have one second to end. A second signal does not wait for them.

    Raises:
        SystemExit: a port is taken, or an app's lifespan failed to start.

    """
    servers = [_Server(_config(app, port)) for app, port in apps]
    loop_factory = servers[0].config.get_loop_factory()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(servers))


def control(state: Callable[[], object], reset: Callable[[], None]) -> list[Route]:
    """Give the routes by which a test looks into a stand-in and starts it afresh.

    ``GET /_control/state`` answers 200 with ``state()`` as JSON, ``POST
    /_control/reset`` calls ``reset()`` and answers 204.
    """

    async def show(_: Request) -> JSONResponse:
        return JSONResponse(state())

    async def start_afresh(_: Request) -> Response:
        reset()
        return Response(status_code=204)

    return [
        Route("/_control/state", show),
        Route("/_control/reset", start_afresh, methods=["POST"]),
    ]


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn's own handler would stop one server of many."""
        yield


def _config(app: ASGIApp, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        http="httptools",
        ws="none",
        access_log=False,
        lifespan="on",
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        # Longer than any client here keeps an idle connection: else a reused one is
        # closed under a request now and then, and a drill reports that as a fault.
        timeout_keep_alive=75,
    )


async def _serve(servers: list[_Server]) -> None:
    def leave() -> None:
        for server in servers:
            server.force_exit = server.should_exit
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    await asyncio.gather(*(server.serve() for server in servers))
