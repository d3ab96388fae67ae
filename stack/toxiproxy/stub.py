"""One toxic at work on one direction of one connection."""

import asyncio
from random import Random

from stack.toxiproxy.chunk import Sink
from stack.toxiproxy.entry import Entry
from stack.toxiproxy.stage import Line, Stage
from stack.toxiproxy.toxics import Noop


class Stub(Stage):
    """A stage and the toxic that empties it."""

    def __init__(self, entry: Entry, *, line: Line, sink: Sink, random: Random) -> None:
        super().__init__(line=line, sink=sink, random=random)
        self.entry = entry
        self._start()

    @property
    def full(self) -> bool:
        """Whether the sender should wait."""
        return self._waiting >= self.entry.toxic.buffer

    def update(self, entry: Entry) -> None:
        """Go on as the toxic is now, with another roll of the dice."""
        self._task.cancel()
        self.entry = entry
        self._start()

    def stop(self) -> None:
        """Do no more; what is queued stays."""
        self._task.cancel()

    def remove(self) -> None:
        """Leave the line: hand on what is queued, or close if that is the toxic's way.

        Nothing is lost or doubled: a cancelled task runs no further, and the chunk that
        it had in hand is still at the head.
        """
        self._task.cancel()
        if self._hit and self.entry.toxic.closes_on_removal:
            self.close()
        while self._queue:
            self.sink.put(self._take())

    def _start(self) -> None:
        self._hit = self.random.random() < self.entry.toxicity
        toxic = self.entry.toxic if self._hit else Noop()
        self._task = asyncio.create_task(toxic.pipe(self))
