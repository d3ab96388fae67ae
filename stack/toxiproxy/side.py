"""One of the two sockets of a connection."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from stack.toxiproxy.chunk import Chunk, End
from stack.toxiproxy.entry import Direction
from stack.toxiproxy.link import Link
from stack.toxiproxy.stats import Stats

_LINGER_NOT = struct.pack("ii", 1, 0)


class Side(asyncio.Protocol):
    """Reads into one link and is written to by the other.

    Attributes:
        full: whether a writer should wait; so until the socket is connected.
        gone: the socket is closed, or was never opened.
        outgoing: the link that takes what is read here.
        incoming: the link that writes here.

    """

    outgoing: Link
    incoming: Link

    def __init__(self, *, towards: Direction, stats: Stats) -> None:
        self.full = True
        self.gone = True
        self.finished = False
        self.on_made: Callable[[], None]
        self.on_lost: Callable[[], None]
        self.on_end: Callable[[End], None]
        self._towards = towards
        self._stats = stats
        self._transport: asyncio.Transport | None = None
        self._reads = False
        self._held = False
        self._read_all = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self.full = self.gone = False
        # asyncio starts to read only after this call, and in Python 3.11.2 (Debian 12)
        # even if told to pause here: what was asked is done just after.
        asyncio.get_running_loop().call_soon(self._read)
        self.incoming.changed()
        self.on_made()

    def data_received(self, data: bytes) -> None:
        """Pass on what was read."""
        self.outgoing.feed(data)

    def eof_received(self) -> bool:
        """Pass on that nothing more will come, and stay open the other way."""
        self._read_all = True
        self.outgoing.feed(b"", End.EOF)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Be gone."""
        del exc
        self.gone = True
        self.on_lost()

    def pause_writing(self) -> None:
        """Make the writer wait."""
        self.full = True
        self.incoming.changed()

    def resume_writing(self) -> None:
        """Let the writer go on."""
        self.full = False
        self.incoming.changed()

    def hold(self, *, held: bool) -> None:
        """Stop reading, or go on."""
        self._held = held
        # After the end of the data, asyncio would read it a second time.
        if self._transport is None or not self._reads or self._read_all:
            return
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _read(self) -> None:
        self._reads = True
        self.hold(held=self._held)

    def put(self, chunk: Chunk) -> None:
        """Write data, or end as told."""
        if chunk.end is not None:
            self.on_end(chunk.end)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(chunk.data)
            self._stats.delivered[self._towards] += len(chunk.data)

    def finish(self) -> None:
        """Tell the peer that nothing more will come; it may go on sending."""
        self.finished = True
        if self._transport is not None:
            # The peer may have gone in the meantime.
            with suppress(OSError):
                self._transport.write_eof()

    def close(self) -> None:
        """Close when all is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Close at once, and let the peer see a reset instead of an end."""
        if self._transport is None or self._transport.is_closing():
            return
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._transport.abort()
