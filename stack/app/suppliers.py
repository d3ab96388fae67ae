"""Sign-up of suppliers, and the front page that shows them."""

import html
import re
import uuid
from collections.abc import Sequence
from typing import LiteralString

from psycopg.errors import UniqueViolation
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from stack.app.database import Row
from stack.app.errors import EmailTaken, InvalidInput
from stack.app.requests import body_of, services, text
from stack.app.services import Services

SHORTEST_PASSWORD = 8
COOKIE = "wedsync_session"
# From release v3 on a supplier trades under a name, on a schema with that column.
SIGN_UP: LiteralString = """
    INSERT INTO suppliers (id, auth_user_id, name, email) VALUES (%s, %s, %s, %s)
"""
SIGN_UP_V3: LiteralString = """
    INSERT INTO suppliers (id, auth_user_id, trading_name, email)
    VALUES (%s, %s, %s, %s)
"""
NEWEST: LiteralString = """
    SELECT name FROM suppliers ORDER BY created_at DESC LIMIT 10
"""
NEWEST_V3: LiteralString = """
    SELECT trading_name AS name FROM suppliers ORDER BY created_at DESC LIMIT 10
"""
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


async def sign_up(request: Request) -> Response:
    """Make an account, then the supplier, then a session."""
    body = await body_of(request)
    name, email = text(body, "name"), text(body, "email").lower()
    password = text(body, "password")
    if not _EMAIL.fullmatch(email):
        raise InvalidInput("email must be an e-mail address.")
    if len(password) < SHORTEST_PASSWORD:
        raise InvalidInput(f"password needs {SHORTEST_PASSWORD} characters.")
    app = services(request)
    user = await app.auth.create_user(email, password)
    supplier = {"id": str(uuid.uuid4()), "name": name, "email": email}
    try:
        async with app.database.transaction() as connection:
            await connection.execute(
                SIGN_UP_V3 if app.settings.since("v3") else SIGN_UP,
                [supplier["id"], user, name, email],
            )
    except UniqueViolation as error:
        raise EmailTaken from error
    answer = JSONResponse(supplier, 201)
    if token := await app.cache.begin_session(supplier["id"]):
        answer.set_cookie(COOKIE, token, httponly=True, samesite="lax")
    return answer


async def front_page(request: Request) -> Response:
    """Show the newest suppliers, and who is signed in."""
    app = services(request)
    token = request.cookies.get(COOKIE, "")
    supplier, count = await app.cache.front_page(token)
    query = NEWEST_V3 if app.settings.since("v3") else NEWEST
    newest = await app.database.all(query)
    if count is None:
        count = await _count(app)
    return HTMLResponse(_page(newest, count, signed_in=supplier is not None))


async def _count(app: Services) -> int:
    (row,) = await app.database.all("SELECT count(*) AS count FROM suppliers")
    await app.cache.keep_supplier_count(row["count"])
    return int(row["count"])


def _page(newest: Sequence[Row], count: int, *, signed_in: bool) -> str:
    items = "".join(f"<li>{html.escape(row['name'])}</li>" for row in newest)
    greeting = "Welcome back" if signed_in else "Plan your wedding together"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<title>WedSync</title></head><body>"
        f"<h1>WedSync</h1><p>{greeting}</p>"
        f"<p>{count} suppliers, and newly with us:</p><ul>{items}</ul>"
        "</body></html>"
    )
