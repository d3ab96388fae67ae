"""A client of Toxiproxy's HTTP API, ours or the original: no state, and timeouts."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx


class ToxiproxyError(Exception):
    """The fault proxy refused, or cannot be reached.

    Attributes:
        status: of the answer; 0 when there was none.

    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Calls the API and gives its JSON.

    Every method raises ToxiproxyError when the proxy does not do as asked.
    """

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        """Reach the API at ``url``; each call has ``timeout`` seconds."""
        self.url = httpx.URL(url)
        # No proxy from the environment may stand between us and loopback.
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        """Be closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def version(self) -> str:
        """Give the version that it says it is."""
        return str(self.call("GET", "/version")["version"])

    def proxies(self) -> dict[str, Any]:
        """Give all proxies by name."""
        found: dict[str, Any] = self.call("GET", "/proxies")
        return found

    def proxy(self, name: str) -> dict[str, Any]:
        """Give one proxy, with its counters if it has any."""
        found: dict[str, Any] = self.call("GET", _path(name))
        return found

    def create(self, name: str, upstream: str, **fields: object) -> dict[str, Any]:
        """Make a proxy, by default on a free port of 127.0.0.1."""
        body = {"name": name, "upstream": upstream, "listen": "127.0.0.1:0", **fields}
        made: dict[str, Any] = self.call("POST", "/proxies", body)
        return made

    def delete(self, name: str) -> None:
        """Remove a proxy."""
        self.call("DELETE", _path(name))

    def enable(self, name: str, *, enabled: bool) -> None:
        """Let a proxy listen, or refuse."""
        # PATCH is newer than some servers in use; POST does the same on all.
        self.call("POST", _path(name), {"enabled": enabled})

    def add_toxic(self, proxy: str, toxic: Mapping[str, object]) -> dict[str, Any]:
        """Add a toxic, given in the API's words."""
        added: dict[str, Any] = self.call("POST", f"{_path(proxy)}/toxics", toxic)
        return added

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Remove a toxic."""
        self.call("DELETE", f"{_path(proxy)}/toxics/{quote(name, safe='')}")

    def reset(self) -> None:
        """Enable every proxy and remove every toxic."""
        self.call("POST", "/reset")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request; give the JSON of the answer, or None when it has no body."""
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            reason = f"the fault proxy at {self.url} cannot be reached: {error}"
            raise ToxiproxyError(0, reason) from error
        if answer.is_error:
            raise ToxiproxyError(answer.status_code, _reason(answer))
        return answer.json() if answer.content else None


def _path(proxy: str) -> str:
    return f"/proxies/{quote(proxy, safe='')}"


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()
