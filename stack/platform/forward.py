"""The way from the edge to a deployment: one attempt, streamed both ways."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import httpx
from anyio import CancelScope

from stack.platform.cache import Header
from stack.serving import Receive

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Headers that concern one connection (RFC 9110, 7.6.1), beside those it names."""
IDLE_CONNECTIONS = 100
IDLE_S = 15.0
"""Shorter than a server here keeps one (``stack.serving``), so that it never closes
under a request: the edge does not try again."""


class UpstreamError(Exception):
    """The deployment did not answer: the status and code that Vercel gives instead."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class ClientGoneError(Exception):
    """The client left before its request was complete."""


class RequestBody(httpx.AsyncByteStream):
    """The client's body as it arrives, and afterwards a watch on the client."""

    def __init__(self, receive: Receive, *, expected: bool) -> None:
        self._receive = receive
        self._read = asyncio.Event()
        if not expected:
            self._read.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the chunks.

        Raises:
            ClientGoneError: the client left before the last.

        """
        while not self._read.is_set():
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            if not message.get("more_body"):
                self._read.set()
            if message.get("body"):
                yield message["body"]

    async def cancel_when_gone(self, scope: CancelScope) -> None:
        """Wait until the client is gone, then cancel: nobody waits for the answer."""
        await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


class Forwarder:
    """Sends requests to deployments. It never tries twice, and keeps no cookies.

    It is httpx's transport without its client: a client stores the cookies of one
    visitor's answer, decodes bodies and follows redirects, none of which a proxy may.
    """

    def __init__(self, timeout_s: float) -> None:
        limits = httpx.Limits(
            max_connections=None,
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_S,
        )
        self._transport = httpx.AsyncHTTPTransport(limits=limits)
        self._timeout = httpx.Timeout(timeout_s, pool=None).as_dict()
        self._origins: dict[str, httpx.URL] = {}

    async def send(
        self,
        origin: str,
        method: str,
        target: bytes,
        headers: list[Header],
        body: httpx.AsyncByteStream,
    ) -> httpx.Response:
        """Send it; give the answer as soon as its headers are there.

        ``target`` goes out as it came in. The caller closes the answer.

        Raises:
            UpstreamError: 502, refused or cut; 504, silent for too long.
            ClientGoneError: the client left while it was sending.

        """
        request = httpx.Request(
            method,
            self._url(origin),
            headers=headers,
            stream=body,
            extensions={"timeout": self._timeout, "target": target},
        )
        try:
            return await self._transport.handle_async_request(request)
        except httpx.ConnectError:
            raise UpstreamError(502, "ROUTER_CANNOT_MATCH") from None
        except httpx.TimeoutException:
            raise UpstreamError(504, "FUNCTION_INVOCATION_TIMEOUT") from None
        except httpx.TransportError:
            raise UpstreamError(502, "NO_RESPONSE_FROM_FUNCTION") from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    def _url(self, origin: str) -> httpx.URL:
        if origin not in self._origins:
            self._origins[origin] = httpx.URL(origin)
        return self._origins[origin]


def end_to_end(headers: Iterable[Header], dropped: frozenset[bytes]) -> list[Header]:
    """Leave out what concerns one connection alone, and the headers ``dropped``."""
    pairs = [(name.lower(), value) for name, value in headers]
    named = b",".join(value for name, value in pairs if name == b"connection")
    out = HOP_BY_HOP | dropped | {each.strip().lower() for each in named.split(b",")}
    return [(name, value) for name, value in pairs if name not in out]
