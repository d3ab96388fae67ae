"""What a toxic works on: chunks that wait, and what can be done with them.

It knows of no toxic, so that every toxic can know of it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol

from stack.toxiproxy.chunk import Chunk, End, Sink


class Line(Protocol):
    """What a stage needs of the link that it is part of."""

    def changed(self) -> None:
        """Something moved: whoever waits may look again."""

    def dropped(self, size: int) -> None:
        """Count bytes that a toxic threw away."""

    async def when(self, ready: Callable[[], bool]) -> None:
        """Wait until something is so."""


class Stage:
    """A queue, and the ways to empty it into the next stage.

    Attributes:
        free_at: until when the last chunk forwarded occupied the line, loop's clock.
        passed: bytes forwarded so far.
        random: this connection's dice for this toxic.
        sink: where the chunks go.

    """

    def __init__(self, *, line: Line, sink: Sink, random: Random) -> None:
        self.sink = sink
        self.random = random
        self.passed = 0
        self.free_at = 0.0
        self._line = line
        self._queue: deque[Chunk] = deque()
        self._waiting = 0

    def put(self, chunk: Chunk) -> None:
        """Queue a chunk, full or not."""
        self._queue.append(chunk)
        self._waiting += len(chunk.data)

    async def head(self) -> Chunk:
        """Wait for a chunk and look at it; it stays at the head of the queue."""
        await self._line.when(lambda: bool(self._queue))
        return self._queue[0]

    async def forward(self, *, at: float | None = None) -> None:
        """Send the head on when there is room; ``at`` is when it should have left."""
        await self._line.when(lambda: not self.sink.full)
        chunk = self._take()
        if at is not None:
            chunk.at = self.free_at = at
        self.passed += len(chunk.data)
        self.sink.put(chunk)
        self._line.changed()

    def split(self, size: int) -> int:
        """Cut the head to at most ``size`` bytes, the rest behind it; give its size."""
        head = self._queue[0]
        if len(head.data) > size:
            self._queue.insert(1, Chunk(data=head.data[size:], at=head.at))
            head.data = head.data[:size]
        return len(head.data)

    def drop(self) -> None:
        """Throw the head away."""
        self._line.dropped(len(self._take().data))
        self._line.changed()

    def discard(self) -> None:
        """Throw away all that is queued."""
        while self._queue:
            self.drop()

    def close(self) -> None:
        """End the connection after what was forwarded."""
        self._end(End.CLOSE)

    def reset(self) -> None:
        """Break the connection after what was forwarded."""
        self._end(End.RESET)

    async def until(self, when: float) -> None:
        """Wait for a time of the loop's clock."""
        await asyncio.sleep(max(0.0, when - asyncio.get_running_loop().time()))

    async def stall(self) -> None:
        """Do nothing until the toxic changes or goes."""
        await asyncio.Event().wait()

    def _take(self) -> Chunk:
        chunk = self._queue.popleft()
        self._waiting -= len(chunk.data)
        return chunk

    def _end(self, end: End) -> None:
        self.sink.put(Chunk(at=asyncio.get_running_loop().time(), end=end))
        self._line.changed()
