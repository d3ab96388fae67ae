"""Forms that couples fill in; from v2 on they make a timeline, from v3 on a list."""

import re
import uuid
from datetime import date
from typing import Any, LiteralString

from psycopg.errors import ForeignKeyViolation
from psycopg.types.json import Jsonb
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from stack.app.errors import CacheUnavailable, InvalidInput, NotFound
from stack.app.features import TIMELINE, is_enabled
from stack.app.requests import body_of, identifier, services

_FORM = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
SUBMIT: LiteralString = """
    WITH form AS (
        INSERT INTO forms (name) VALUES (%(form)s) ON CONFLICT DO NOTHING
    )
    INSERT INTO submissions (id, form, supplier_id, answers)
    VALUES (%(id)s, %(form)s, %(supplier)s, %(answers)s)
"""
ON_TIMELINE: LiteralString = """
    UPDATE submissions SET wedding_date = %s WHERE id = %s
"""
AS_COUPLE: LiteralString = """
    INSERT INTO couples (names, submission_id) VALUES (%s, %s)
"""


async def submit(request: Request) -> Response:
    """Keep what a couple answered."""
    form = _form(request)
    body = await body_of(request)
    answers = body.get("answers")
    if not isinstance(answers, dict):
        raise InvalidInput("answers must be an object.")
    day = await _timeline_day(request, answers)
    names = _names(request, answers)
    submission = uuid.uuid4()
    values = {
        "id": submission,
        "form": form,
        "supplier": _supplier(body),
        "answers": Jsonb(answers),
    }
    try:
        async with services(request).database.transaction() as connection:
            await connection.execute(SUBMIT, values)
            if day is not None:
                await connection.execute(ON_TIMELINE, [day, submission])
            if names is not None:
                await connection.execute(AS_COUPLE, [names, submission])
    except ForeignKeyViolation as error:
        raise InvalidInput("There is no such supplier.") from error
    return JSONResponse({"id": str(submission), "form": form}, 201)


async def show(request: Request) -> Response:
    """Give a submission back."""
    row = await services(request).database.one(
        "SELECT id::text, form, supplier_id::text, answers FROM submissions"
        " WHERE form = %s AND id = %s",
        [_form(request), identifier(request.path_params["id"])],
    )
    if row is None:
        raise NotFound
    return JSONResponse(row)


async def timeline(request: Request) -> Response:
    """Give the submissions with a wedding date, soonest first."""
    if not await is_enabled(services(request), TIMELINE):
        raise NotFound
    rows = await services(request).database.all(
        "SELECT id::text, form, wedding_date::text FROM submissions"
        " WHERE wedding_date IS NOT NULL ORDER BY wedding_date, id LIMIT 100"
    )
    return JSONResponse({"timeline": rows})


def _form(request: Request) -> str:
    name: str = request.path_params["form"]
    if not _FORM.fullmatch(name):
        raise NotFound
    return name


def _supplier(body: dict[str, Any]) -> uuid.UUID | None:
    if body.get("supplier_id") is None:
        return None
    try:
        return identifier(body["supplier_id"])
    except NotFound:
        raise InvalidInput("There is no such supplier.") from None


def _names(request: Request, answers: dict[str, Any]) -> str | None:
    """Read who the couple are, if this release keeps them."""
    names = answers.get("names")
    kept = services(request).settings.since("v3") and isinstance(names, str)
    return names if kept and names else None


async def _timeline_day(request: Request, answers: dict[str, Any]) -> date | None:
    """Read the wedding date, if there is a timeline to put it on."""
    try:
        day = date.fromisoformat(answers.get("wedding_date", ""))
        return day if await is_enabled(services(request), TIMELINE) else None
    except (TypeError, ValueError):
        return None
    except CacheUnavailable:  # an answer is worth more than its place on the timeline
        return None
