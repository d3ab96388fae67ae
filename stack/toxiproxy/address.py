"""Addresses as Go writes them: host:port, [v6]:port."""

import asyncio
import socket

from stack.toxiproxy.errors import broken

_LAST_PORT = 65535


def split(address: str) -> tuple[str, int]:
    """Part an address into host and port; an empty address is one without either.

    Raises:
        ApiError: 500, as the original, when there is no port or it is none.

    """
    host, colon, port = address.rpartition(":")
    if address and not colon:
        raise broken(f"address {address}: missing port in address")
    if not (port.isascii() and port.isdigit() and int(port) <= _LAST_PORT) and port:
        raise broken(f"address {port}: invalid port")
    return host.removeprefix("[").removesuffix("]"), int(port or 0)


def join(host: str, port: int) -> str:
    """Put an address together."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def resolve(address: str) -> tuple[str, int]:
    """Turn the host into an IP address, IPv4 first; no host is 127.0.0.1.

    Raises:
        ApiError: 500, the address is none or the host is unknown.

    """
    host, port = split(address)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            host or "127.0.0.1", port, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise broken(f"lookup {host}: no such host") from error
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return str(found[0][4][0]), port
