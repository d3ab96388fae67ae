"""What the adapters that speak HTTP have in common."""

import logging
from typing import Any

import httpx

from rollback.errors import SettingsInvalid

__all__ = [
    "LOST",
    "TryAgain",
    "bearer",
    "client",
    "raise_if_passing",
    "reason",
    "sentence",
    "worth_retrying",
]

LONGEST_WAIT_SECONDS = 5.0
TOO_MANY = 429

# Without a handler of its own, each retry would be a bare line on the user's stderr.
logging.getLogger("stamina").addHandler(logging.NullHandler())

LOST = (httpx.HTTPError, httpx.InvalidURL, TimeoutError)
"""What a request raises when no usable answer came."""


def client(*, timeout_seconds: float, **options: Any) -> httpx.AsyncClient:
    """A client that follows no redirect and keeps no connection.

    So a secret goes nowhere but where it was sent, a measurement begins before the
    connection, and nothing has to be closed. Loopback is never reached by a proxy.
    """
    return httpx.AsyncClient(
        timeout=timeout_seconds,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        mounts={"all://127.0.0.1": None, "all://localhost": None},
        **options,
    )


def bearer(token: str, name: str) -> dict[str, str]:
    """The header of a token, which the setting `name` gives.

    What cannot stand in a header would be shown by the error of the client.
    """
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise SettingsInvalid(
            f"{name} holds a character that no token has.",
            mend=f"Set {name} again, without spaces and line ends.",
        )
    return {"authorization": f"Bearer {token}"}


class TryAgain(Exception):
    """The server could not answer now: its limit is reached, or it broke.

    Says nothing of the address, which may be a secret and which stamina would log.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        super().__init__(f"status {response.status_code}")


def raise_if_passing(response: httpx.Response) -> None:
    """Raise `TryAgain` for what may be better a moment later."""
    if response.status_code == TOO_MANY or response.is_server_error:
        raise TryAgain(response)


def worth_retrying(error: Exception) -> bool | float:
    """Tell stamina whether a safe request may be sent again, and after how long.

    What asks for a longer wait than a rollback has is given up at once.
    """
    if isinstance(error, TryAgain):
        wait = retry_after(error.response)
        return True if wait is None else wait <= LONGEST_WAIT_SECONDS and wait
    if isinstance(error, httpx.UnsupportedProtocol):
        return False
    return isinstance(error, (httpx.TransportError, TimeoutError))


def retry_after(response: httpx.Response) -> float | None:
    """The seconds that the server asks to wait, where it says so as a number."""
    try:
        return max(0.0, float(response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def reason(error: Exception) -> str:
    """What a client says of an answer that did not come, without its full stop."""
    return str(error).rstrip(".") or type(error).__name__


def sentence(response: httpx.Response) -> str:
    """What the vendor says of an error, in the shapes that vendors use."""
    try:
        body = response.json()
    except ValueError:
        body = response.text
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    if isinstance(body, dict):
        body = body.get("message", body)
    text = " ".join(str(body).split())[:300].rstrip(".")
    return f"{text or response.reason_phrase} ({response.status_code})"
