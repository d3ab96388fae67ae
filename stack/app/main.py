"""One deployment of WedSync as an ASGI app."""

import contextlib
import logging
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stack.app import checkout, features, forms, suppliers
from stack.app.counters import App
from stack.app.errors import AppError
from stack.app.requests import services
from stack.app.services import Services
from stack.app.settings import Settings

ROUTES = [
    Route("/", suppliers.front_page),
    Route("/api/suppliers", suppliers.sign_up, methods=["POST"]),
    Route("/api/forms/{form}/submissions", forms.submit, methods=["POST"]),
    Route("/api/forms/{form}/submissions/{id}", forms.show),
    Route("/api/timeline", forms.timeline),
    Route("/api/payments", checkout.pay, methods=["POST"]),
    Route("/api/payments/{order_id}", checkout.show),
    Route("/api/webhooks/stripe", checkout.webhook, methods=["POST"]),
    Route("/api/features/{name}", features.show),
]

log = logging.getLogger(__name__)
# It tells each failed attempt; that the database is lost is told once, below.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def create_app(settings: Settings) -> App:
    """Give the app; it starts whether or not anything that it needs is there."""
    deployment = Services.of(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with deployment.running() as app.state.health:
            yield

    app = Starlette(
        routes=[Route("/api/health", health), *ROUTES],
        lifespan=lifespan,
        exception_handlers={
            AppError: _explain,
            HTTPException: _refuse,
            Exception: _admit,
        },
    )
    app.state.services = deployment
    return deployment.counters.around(app)


async def health(request: Request) -> Response:
    """Say how each dependency is; 503 if one of them is not well."""
    report: dict[str, str] = await request.app.state.health.report()
    well = all(verdict == "healthy" for verdict in report.values())
    return JSONResponse(
        report, 200 if well else 503, headers={"Cache-Control": "no-store"}
    )


async def _explain(request: Request, error: Exception) -> Response:
    if not isinstance(error, AppError):
        raise error
    if error.critical:
        services(request).reporter.report(error, error.code)
        log.warning("%s: %r", error.code, error.__cause__)
    return _error(error.status, error.code, str(error))


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = error.detail.upper().replace(" ", "_")
    return _error(error.status_code, code, f"{error.detail}.")


async def _admit(request: Request, error: Exception) -> Response:
    """A bug: it is reported, and logged by the server."""
    services(request).reporter.report(error, "INTERNAL")
    return _error(500, "INTERNAL", "Something went wrong on our side.")


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
