"""The far side: one port that echoes, one that swallows and then says how much."""

import asyncio
import socket
import sys
from typing import cast


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


class Swallow(asyncio.BufferedProtocol):
    """Reads so many bytes as the first eight say, and answers with one."""

    def __init__(self) -> None:
        self._buffer = bytearray(1 << 20)
        self._left: int | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, _: int) -> bytearray:
        """Read into the same place each time."""
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        """Count."""
        if self._left is None:
            self._left = int.from_bytes(self._buffer[:8], "big") + 8
        self._left -= size
        if self._left <= 0:
            self._transport.write(b".")


async def main() -> None:
    """Serve both, print their ports, and end with standard input."""
    echoing = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1024)
    loop = asyncio.get_running_loop()
    swallowing = await loop.create_server(Swallow, "127.0.0.1", 0)
    print(port(echoing.sockets[0]), port(swallowing.sockets[0]), flush=True)
    await asyncio.to_thread(sys.stdin.read)


def port(listener: socket.socket) -> int:
    """Where it listens."""
    return int(listener.getsockname()[1])


if __name__ == "__main__":
    asyncio.run(main())
