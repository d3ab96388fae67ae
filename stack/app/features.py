"""Features behind flags: off unless the flag says ``enabled``."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from stack.app.cache import ENABLED
from stack.app.errors import NotFound
from stack.app.requests import services
from stack.app.services import Services

TIMELINE = "timeline"
SINCE = {TIMELINE: "v2"}  # the release that brings a feature


async def is_enabled(app: Services, name: str) -> bool:
    """Tell whether this release has the feature and its flag is on.

    Raises:
        CacheUnavailable: the flag cannot be read.

    """
    return _has(app, name) and await app.cache.flag(name) == ENABLED


async def show(request: Request) -> Response:
    """Say whether a feature is on; the edge keeps the answer for a minute."""
    name, app = request.path_params["name"], services(request)
    state = await app.cache.flag(name)
    if state is None and not (name in SINCE and _has(app, name)):
        raise NotFound("There is no such feature.")
    return JSONResponse(
        {"name": name, "enabled": state == ENABLED and _has(app, name)},
        headers={
            "Cache-Control": "s-maxage=60",
            "Vercel-Cache-Tag": f"feature:{name}",
        },
    )


def _has(app: Services, name: str) -> bool:
    return app.settings.since(SINCE.get(name, "v1"))
