"""What the edge says itself."""

from itertools import count

from stack.platform.cache import Header
from stack.serving import Send

REGION = "lhr1"
LOGIN_PAGE = b"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Authentication Required</title></head>
<body><h1>Authentication Required</h1>
<p>This page requires Vercel authentication.</p></body>
</html>
"""

_numbers = count(1)


def request_id() -> bytes:
    """Give an ``x-vercel-id``: the region, and a number of its own."""
    return f"{REGION}::{REGION}::{next(_numbers):012x}".encode()


async def send_whole(
    send: Send, status: int, headers: list[Header], body: bytes
) -> None:
    """Send an answer that is known whole."""
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status}
    await send(start | {"headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def send_login(send: Send, headers: list[Header]) -> None:
    """Answer 401 with a page: a deployment's own host asks who is there."""
    own = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store, max-age=0"),
        (b"x-robots-tag", b"noindex"),
    ]
    await send_whole(send, 401, headers + own, LOGIN_PAGE)


async def send_error(
    send: Send, status: int, code: str, headers: list[Header], *, number: bytes
) -> None:
    """Answer with one of Vercel's codes, in ``x-vercel-error`` and in the text."""
    own = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"cache-control", b"public, max-age=0, must-revalidate"),
        (b"x-vercel-error", code.encode()),
    ]
    text = f"An error occurred with this application\n\n{code}\n\n{number.decode()}\n"
    await send_whole(send, status, headers + own, text.encode())
