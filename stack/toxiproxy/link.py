"""One direction of a connection: the toxics that bytes pass from socket to socket."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Protocol

from stack.toxiproxy.chunk import Chunk, End, Sink
from stack.toxiproxy.entry import Entry
from stack.toxiproxy.stats import Stats
from stack.toxiproxy.stub import Stub


class Source(Protocol):
    """The socket that is read."""

    def hold(self, *, held: bool) -> None:
        """Stop reading, or go on."""


class Link:
    """A chain of stubs between a source and a sink; with none, bytes go straight."""

    def __init__(self, *, source: Source, sink: Sink, stats: Stats) -> None:
        self._source = source
        self._sink = sink
        self._stats = stats
        self._stubs: list[Stub] = []
        self._pulse = asyncio.Event()
        self._stopped = False

    def feed(self, data: bytes, end: End | None = None) -> None:
        """Take what was read, or the news that there is no more."""
        if self._stopped:
            return
        chunk = Chunk(data=data, at=asyncio.get_running_loop().time(), end=end)
        if self._stubs:
            self._stubs[0].put(chunk)
            self.changed()
        else:
            self._sink.put(chunk)

    def stop(self) -> None:
        """Move nothing any more."""
        self._stopped = True
        for stub in self._stubs:
            stub.stop()

    def add(self, entry: Entry, random: Random) -> None:
        """Put a toxic at the end of the chain; the next byte meets it."""
        stub = Stub(entry, line=self, sink=self._sink, random=random)
        if self._stubs:
            self._stubs[-1].sink = stub
        self._stubs.append(stub)
        self.changed()

    def update(self, entry: Entry) -> None:
        """Change the toxic of that name."""
        for stub in self._stubs:
            if stub.entry.name == entry.name:
                stub.update(entry)
        self.changed()

    def remove(self, name: str) -> None:
        """Take the toxic of that name out of the chain."""
        for place, stub in enumerate(self._stubs):
            if stub.entry.name == name:
                del self._stubs[place]
                if place:
                    self._stubs[place - 1].sink = stub.sink
                stub.remove()
                break
        self.changed()

    def changed(self) -> None:
        """Wake whoever waits, and let the source wait if the first stage is full."""
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()
        first = self._stubs[0] if self._stubs else self._sink
        self._source.hold(held=first.full)

    def dropped(self, size: int) -> None:
        """Count bytes that a toxic threw away."""
        self._stats.dropped_bytes += size

    async def when(self, ready: Callable[[], bool]) -> None:
        """Wait until something is so."""
        while not ready():
            await self._pulse.wait()
