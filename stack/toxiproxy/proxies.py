"""All proxies of the program, by name."""

import asyncio
from collections.abc import Mapping
from typing import Any

from stack.toxiproxy.decode import first_value, members
from stack.toxiproxy.errors import (
    ApiError,
    bad_body,
    missing,
    proxy_exists,
    proxy_not_found,
)
from stack.toxiproxy.proxy import Proxy

_MEMBERS = {"name": str, "listen": str, "upstream": str, "enabled": bool}


class Proxies:
    """The proxies, changed by one request at a time."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._proxies: dict[str, Proxy] = {}
        # Listening takes a turn of the loop, in which another request could come.
        self._lock = asyncio.Lock()

    def __getitem__(self, name: str) -> Proxy:
        """Give a proxy.

        Raises:
            ApiError: 404, there is none of that name.

        """
        try:
            return self._proxies[name]
        except KeyError:
            raise proxy_not_found() from None

    def as_json(self) -> dict[str, Any]:
        """Describe them all, in the order of their names as Go's maps are."""
        return {name: self._proxies[name].as_json() for name in sorted(self._proxies)}

    async def add(self, body: Any) -> Proxy:
        """Make a proxy.

        Raises:
            ApiError: 400, name or upstream is missing; 409, the name is taken; 500, it
                cannot listen.

        """
        sent = members(body, "struct field Proxy", _MEMBERS)
        _require(sent)
        async with self._lock:
            if sent["name"] in self._proxies:
                raise proxy_exists()
            proxy = self._new(sent)
            await self._keep(proxy, enabled=sent.get("enabled", True))
            return proxy

    async def update(self, name: str, body: Any) -> Proxy:
        """Change a proxy's addresses, or whether it listens; the name stays.

        Raises:
            ApiError: 400, the change is none; 404, there is no such proxy; 500, it
                cannot listen.

        """
        async with self._lock:
            proxy = self[name]
            sent = members(body, "struct field Proxy", _MEMBERS)
            await proxy.update(
                listen=sent.get("listen", proxy.listen),
                upstream=sent.get("upstream", proxy.upstream),
                enabled=sent.get("enabled", proxy.enabled),
            )
            return proxy

    async def remove(self, name: str) -> None:
        """Stop a proxy and forget it.

        Raises:
            ApiError: 404, there is no such proxy.

        """
        async with self._lock:
            self[name].stop()
            del self._proxies[name]

    async def populate(self, body: bytes) -> tuple[list[Proxy], ApiError | None]:
        """Make proxies, and keep those there are if they have the same addresses.

        Returns:
            The proxies up to the first error, which stay, and that error: 400 before
            anything is made, name or upstream is missing; 500, one cannot listen.

        """
        done: list[Proxy] = []
        try:
            async with self._lock:
                for sent in _array(body):
                    proxy = await self._add_or_replace(sent)
                    done.append(proxy)
        except ApiError as error:
            return done, error
        return done, None

    async def reset(self) -> None:
        """Enable every proxy and remove every toxic.

        Raises:
            ApiError: 500, the first reason why one cannot listen; all others do.

        """
        async with self._lock:
            failures = [
                failure
                for proxy in self._proxies.values()
                if (failure := await _reset(proxy))
            ]
        if failures:
            raise failures[0]

    def stop(self) -> None:
        """Stop every proxy."""
        for proxy in self._proxies.values():
            proxy.stop()

    async def _add_or_replace(self, sent: Mapping[str, Any]) -> Proxy:
        there = self._proxies.get(sent["name"])
        new = self._new(sent)
        if there is not None:
            if not await there.differs(listen=new.listen, upstream=new.upstream):
                return there
            there.stop()
        await self._keep(new, enabled=sent.get("enabled", True))
        return new

    async def _keep(self, proxy: Proxy, *, enabled: bool) -> None:
        if enabled:
            await proxy.start()
        self._proxies[proxy.name] = proxy

    def _new(self, sent: Mapping[str, Any]) -> Proxy:
        return Proxy(
            name=sent["name"],
            listen=sent.get("listen", ""),
            upstream=sent["upstream"],
            seed=self._seed,
        )


async def _reset(proxy: Proxy) -> ApiError | None:
    proxy.clear_toxics()
    try:
        await proxy.start()
    except ApiError as error:
        return error
    return None


def _require(sent: Mapping[str, Any], where: str = "") -> None:
    for field in ("name", "upstream"):
        if not sent.get(field):
            raise missing(field + where)


def _array(sent: bytes) -> list[dict[str, Any]]:
    body = first_value(sent)
    if not isinstance(body, list | None):
        raise bad_body("json: cannot unmarshal value into Go value of type []struct")
    wanted = [members(one, "struct field .Proxy", _MEMBERS) for one in body or ()]
    for number, one in enumerate(wanted, start=1):
        _require(one, f" at proxy {number}")
    return wanted
