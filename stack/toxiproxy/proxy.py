"""A listener and what passes through it."""

import asyncio
import os
from functools import partial
from typing import Any

from stack.toxiproxy import address, entry
from stack.toxiproxy.connection import Connection
from stack.toxiproxy.entry import Entry
from stack.toxiproxy.errors import broken, toxic_exists, toxic_not_found
from stack.toxiproxy.stats import Stats


class Proxy:
    """One proxy of the API.

    Attributes:
        name: unique in the program.
        listen: the address to listen on; once it was enabled, the real one.
        upstream: the address to connect each client to.
        enabled: whether it listens.
        stats: what passed through it.

    """

    def __init__(self, *, name: str, listen: str, upstream: str, seed: int) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.enabled = False
        self.stats = Stats()
        self._seed = seed
        self._accepted = 0
        self._entries: dict[str, Entry] = {}
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    def as_json(self) -> dict[str, Any]:
        """Describe it in the API's words."""
        return {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            # The original exports this field of its own by accident.
            "Logger": {},
            "toxics": self.toxics_as_json(),
        }

    async def start(self) -> None:
        """Listen, if it does not yet.

        Raises:
            ApiError: 500, the address is none or is taken.

        """
        if self.enabled:
            return
        loop = asyncio.get_running_loop()
        host, port = await address.resolve(self.listen)
        try:
            self._server = await loop.create_server(self._accept, host, port)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            where = address.join(host, port)
            raise broken(f"listen tcp {where}: bind: {reason}") from error
        self.listen = address.join(*self._server.sockets[0].getsockname()[:2])
        self.enabled = True

    def stop(self) -> None:
        """Refuse connections and end those there are. The toxics stay."""
        self.enabled = False
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.abort()

    async def update(self, *, listen: str, upstream: str, enabled: bool) -> None:
        """Change it; another address restarts it, and drops its connections.

        Raises:
            ApiError: 500, the new address is none or is taken.

        """
        if await self.differs(listen=listen, upstream=upstream):
            self.stop()
            self.listen = listen
            self.upstream = upstream
        if not enabled:
            self.stop()
        else:
            await self.start()

    async def differs(self, *, listen: str, upstream: str) -> bool:
        """Say whether these are other addresses than its own.

        Raises:
            ApiError: 500, the address is none.

        """
        resolved = address.join(*await address.resolve(listen))
        return (self.listen, self.upstream) != (resolved, upstream)

    def toxics_as_json(self) -> list[dict[str, Any]]:
        """Describe its toxics: upstream first, then in the order of their work."""
        entries = self._entries.values()
        upstream_first = sorted(entries, key=lambda e: e.direction, reverse=True)
        return [entry.as_json() for entry in upstream_first]

    def toxic(self, name: str) -> Entry:
        """Give the toxic of that name.

        Raises:
            ApiError: 404, there is none.

        """
        try:
            return self._entries[name]
        except KeyError:
            raise toxic_not_found() from None

    def add_toxic(self, body: Any) -> Entry:
        """Add a toxic; when this returns, it works on every connection.

        Raises:
            ApiError: 400, the toxic is none; 409, there is one of that name.

        """
        added = entry.new(body)
        if added.name in self._entries:
            raise toxic_exists()
        self._entries[added.name] = added
        for connection in self._connections:
            connection.add(added)
        return added

    def update_toxic(self, name: str, body: Any) -> Entry:
        """Change a toxic; when this returns, every connection feels it.

        Raises:
            ApiError: 400, the change makes no sense; 404, there is no such toxic.

        """
        changed = self._entries[name] = entry.updated(self.toxic(name), body)
        for connection in self._connections:
            connection.update(changed)
        return changed

    def remove_toxic(self, name: str) -> None:
        """Remove a toxic; when this returns, every connection is rid of it.

        Raises:
            ApiError: 404, there is no such toxic.

        """
        removed = self.toxic(name)
        del self._entries[name]
        for connection in tuple(self._connections):
            connection.remove(removed)

    def clear_toxics(self) -> None:
        """Remove every toxic."""
        for name in tuple(self._entries):
            self.remove_toxic(name)

    def _accept(self) -> asyncio.Protocol:
        self._accepted += 1
        seed = f"{self._seed}/{self.name}/{self._accepted}"
        connection = Connection(upstream=self.upstream, seed=seed, stats=self.stats)
        connection.on_open = partial(self._opened, connection)
        connection.on_over = partial(self._connections.discard, connection)
        return connection.client

    def _opened(self, connection: Connection) -> None:
        if not self.enabled:
            # Accepted just before it was stopped.
            connection.abort()
            return
        self.stats.connections += 1
        self._connections.add(connection)
        for added in self._entries.values():
            connection.add(added)
