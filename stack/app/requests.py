"""How an endpoint reads what was sent."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from stack.app.errors import BadJson, InvalidInput, NotFound
from stack.app.services import Services

LONGEST = 200


def services(request: Request) -> Services:
    """Give what the endpoints of this deployment work with."""
    found: Services = request.app.state.services
    return found


async def body_of(request: Request) -> dict[str, Any]:
    """Give the JSON object that was sent.

    Raises:
        BadJson: there is none.

    """
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise BadJson from error
    if not isinstance(body, dict):
        raise BadJson
    return body


def text(body: Mapping[str, Any], field: str, longest: int = LONGEST) -> str:
    """Give a field that holds some text, and not too much.

    Raises:
        InvalidInput: it does not.

    """
    value = body.get(field)
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{field} must be text.")
    # JSON may hold NUL and lone surrogates, which no database takes.
    if len(value) > longest or not value.isprintable():
        raise InvalidInput(f"{field} must be at most {longest} printable characters.")
    return value


def identifier(value: object) -> uuid.UUID:
    """Read an id.

    Raises:
        NotFound: it is none of ours, so nothing goes by it.

    """
    try:
        return uuid.UUID(str(value))
    except ValueError:
        raise NotFound from None
