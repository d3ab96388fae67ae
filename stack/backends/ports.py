"""Free ports of 127.0.0.1, in blocks that no two stacks share."""

import random
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from stack.backends.errors import PortOccupied, StackError

BLOCK = 64
# Below every system's range of ephemeral ports: between choosing a port and listening
# on it, no outgoing connection of another process can take it.
FIRST, LAST = 18_000, 32_000


class Ports:
    """A block of ports, kept from other stacks for as long as this is open.

    The first port of the block is the guard: bound here, and used by nobody. So the
    others stay reserved among stacks though nothing is bound to them yet.
    """

    def __init__(self, names: Sequence[str], fixed: dict[str, int]) -> None:
        """Choose a port for each name; ``fixed`` ones are checked and given as asked.

        Raises:
            PortOccupied: a fixed one is not free.
            StackError: no block is free.

        """
        for port in fixed.values():
            _check(port)
        free = [name for name in names if name not in fixed]
        assert len(free) < BLOCK  # noqa: S101 - a mistake of this package's own
        self._guard, first = _block()
        self.numbers = dict(zip(free, range(first, first + BLOCK), strict=False))
        self.numbers |= fixed

    def close(self) -> None:
        """Let other stacks have the block; again is harmless."""
        self._guard.close()


def _check(port: int) -> None:
    try:
        _bound(port).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PortOccupied(port, reason.lower()) from error


def _block() -> tuple[socket.socket, int]:
    blocks = range(FIRST, LAST, BLOCK)
    for base in random.sample(blocks, len(blocks)):
        try:
            return _reserve(base), base + 1
        except OSError:
            continue
    raise StackError(
        f"No {BLOCK} ports in a row are free. End what is listening on them."
    )


def _reserve(base: int) -> socket.socket:
    """Bind the whole block at once, then release all but the guard."""
    with ExitStack() as held:
        guard = held.enter_context(_bound(base, shared=False))
        for port in range(base + 1, base + BLOCK):
            held.enter_context(_bound(port))
        return guard.dup()


def _bound(port: int, *, shared: bool = True) -> socket.socket:
    """Bind a port as a server does; if not ``shared``, no other socket may bind it."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shared)
        listener.bind(("127.0.0.1", port))
    except BaseException:
        listener.close()
        raise
    return listener
