"""A client, its upstream, and the two links between them."""

import asyncio
from collections.abc import Callable
from random import Random

from stack.toxiproxy.address import split
from stack.toxiproxy.chunk import End
from stack.toxiproxy.entry import Direction, Entry
from stack.toxiproxy.errors import ApiError
from stack.toxiproxy.link import Link
from stack.toxiproxy.side import Side
from stack.toxiproxy.stats import Stats

DIAL_SECONDS = 5.0


class Connection:
    """One connection through a proxy.

    Attributes:
        client: the protocol of the socket that was accepted.
        on_open: called when it has been.
        on_over: called when both sockets are gone.

    """

    def __init__(self, *, upstream: str, seed: str, stats: Stats) -> None:
        self.on_open: Callable[[], None]
        self.on_over: Callable[[], None]
        self._address = upstream
        self._seed = seed
        self._stats = stats
        self._dialling: asyncio.Task[None] | None = None
        self._left = False
        self.client = Side(towards="downstream", stats=stats)
        self._upstream = Side(towards="upstream", stats=stats)
        self._links: dict[Direction, Link] = {
            "upstream": self._join(self.client, self._upstream),
            "downstream": self._join(self._upstream, self.client),
        }
        self.client.on_made = self._accepted
        self._upstream.on_made = lambda: None

    def add(self, entry: Entry) -> None:
        """Let a toxic work on this connection too."""
        # Dice of its own, so that what other connections do does not matter.
        random = Random(f"{self._seed}/{entry.name}")  # noqa: S311  # not a secret
        self._links[entry.direction].add(entry, random)

    def update(self, entry: Entry) -> None:
        """Change the toxic of that name."""
        self._links[entry.direction].update(entry)

    def remove(self, entry: Entry) -> None:
        """Take a toxic off this connection."""
        self._links[entry.direction].remove(entry.name)

    def abort(self) -> None:
        """End it at once."""
        self._leave(Side.abort)

    def _join(self, source: Side, sink: Side) -> Link:
        link = Link(source=source, sink=sink, stats=self._stats)
        source.outgoing = link
        sink.incoming = link
        source.on_lost = lambda: self._lost(source)
        sink.on_end = lambda end: self._end(sink, end)
        return link

    def _accepted(self) -> None:
        self.on_open()
        if not self._left:
            # The client waits until there is someone to write to.
            self._links["upstream"].changed()
            self._dialling = asyncio.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            host, port = split(self._address)
            async with asyncio.timeout(DIAL_SECONDS):
                await asyncio.get_running_loop().create_connection(
                    lambda: self._upstream, host or "127.0.0.1", port
                )
        except (OSError, UnicodeError, ApiError):
            self._stats.refused += 1
            self.client.close()

    def _end(self, sink: Side, end: End) -> None:
        if end is End.RESET:
            self._stats.resets += 1
            self._leave(Side.reset)
        elif end is End.EOF:
            sink.finish()
        if end is End.CLOSE or (self.client.finished and self._upstream.finished):
            self._leave(Side.close)

    def _leave(self, how: Callable[[Side], None]) -> None:
        self._left = True
        self._stop_dialling()
        for side in (self.client, self._upstream):
            how(side)

    def _lost(self, side: Side) -> None:
        side.incoming.stop()
        if self.client.gone and self._upstream.gone:
            self._stop_dialling()
            side.outgoing.stop()
            self.on_over()
        else:
            # What is on its way still arrives, then the other side is closed.
            side.outgoing.feed(b"", End.CLOSE)

    def _stop_dialling(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
