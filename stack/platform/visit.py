"""One request at the edge, on its way to one deployment."""

from urllib.parse import parse_qs

from stack.platform.cache import Header, Key
from stack.platform.config import Deployment
from stack.platform.forward import RequestBody, end_to_end
from stack.platform.pages import request_id
from stack.serving import Message, Receive, Send

BYPASS = "x-vercel-protection-bypass"
VERSION = b"x-deployment-version"
OWN_REQUEST_HEADERS = frozenset(
    (
        BYPASS.encode(),
        b"expect",
        b"x-deployment-id",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-vercel-deployment-url",
        b"x-vercel-id",
    )
)
"""The edge speaks for itself: what a client puts there is not passed on."""
CONDITIONS = frozenset(
    (b"if-match", b"if-modified-since", b"if-none-match", b"if-unmodified-since")
)


def host_of(scope: Message) -> str:
    """Give the host that was asked for, in lower case, with its port if it has one."""
    hosts = (value for name, value in scope["headers"] if name == b"host")
    host: bytes = next(hosts, b"")
    return host.decode("latin-1").lower()


def version_of(scope: Message) -> str | None:
    """Give the colour that was asked for by ``x-deployment-version``."""
    found = (value for name, value in scope["headers"] if name == VERSION)
    value: bytes | None = next(found, None)
    return None if value is None else value.decode("latin-1")


class Visit:
    """What a client asks for, and the way back to it."""

    def __init__(
        self, scope: Message, receive: Receive, send: Send, deployment: Deployment
    ) -> None:
        query: bytes = scope["query_string"]
        self.send = send
        self.deployment = deployment
        self.method: str = scope["method"]
        self.target: bytes = scope["raw_path"] + (b"?" + query if query else b"")
        self.id = request_id()
        self._query = query
        self._host = host_of(scope).encode("latin-1")
        self._client = scope["client"][0].encode() if scope["client"] else b"unknown"
        self._raw: list[Header] = scope["headers"]
        self._headers = dict(self._raw)
        self.body = RequestBody(receive, expected=self._has_body)

    @property
    def may_use_cache(self) -> bool:
        """Whether an answer kept for others will do."""
        own = (b"range", b"authorization")
        return self.method == "GET" and not any(name in self._headers for name in own)

    @property
    def key(self) -> Key:
        """The name of the answer in the cache."""
        encodings = self._headers.get(b"accept-encoding", b"")
        return (self.deployment.id, self._host, self.target, encodings)

    @property
    def common(self) -> list[Header]:
        """What every answer carries."""
        return [
            (b"server", b"Vercel"),
            (b"x-vercel-id", self.id),
            (b"x-deployment-id", self.deployment.id.encode()),
        ]

    def knows(self, secret: str) -> bool:
        """Say whether the bypass secret was sent, as a header or in the query."""
        if self._headers.get(BYPASS.encode()) == secret.encode():
            return True
        if BYPASS.encode() not in self._query:
            return False
        return secret in parse_qs(self._query.decode("latin-1")).get(BYPASS, ())

    def forwarded(self, *, whole: bool = False) -> list[Header]:
        """Give the headers for the deployment; ``whole`` drops every condition."""
        dropped = OWN_REQUEST_HEADERS | (CONDITIONS if whole else frozenset())
        headers = end_to_end(self._raw, dropped)
        if b"transfer-encoding" in self._headers:
            headers.append((b"transfer-encoding", b"chunked"))
        return [
            *headers,
            (b"x-forwarded-for", self._client),
            (b"x-real-ip", self._client),
            (b"x-forwarded-host", self._host),
            (b"x-forwarded-proto", b"http"),
            (b"x-vercel-deployment-url", self.deployment.url.encode()),
            (b"x-vercel-id", self.id),
        ]

    @property
    def _has_body(self) -> bool:
        length = self._headers.get(b"content-length", b"0")
        return length != b"0" or b"transfer-encoding" in self._headers
