"""What has to be brought to its end, whoever interrupts meanwhile."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import anyio

__all__ = ["cut_short_after", "to_the_end"]

T = TypeVar("T")


async def to_the_end(work: Callable[[], Awaitable[T]]) -> T:
    """Do it whole, and give its result even if this was cancelled meanwhile.

    In a task of its own: asyncio's Ctrl-C cancels the task that it finds waiting,
    shield or not, and that one waits for this to end.
    """
    ends: list[T] = []
    failures: list[Exception] = []

    async def shielded() -> None:
        with anyio.CancelScope(shield=True):
            try:
                ends.append(await work())
            except Exception as error:  # noqa: BLE001 - a task group would wrap it; raised below
                failures.append(error)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(shielded)
    except anyio.get_cancelled_exc_class():
        if not ends:
            raise
    if failures:
        raise failures[0]
    return ends[0]


@contextmanager
def cut_short_after(done: Sequence[object]) -> Iterator[None]:
    """Who interrupts once something is done cuts short what still goes on, alone."""
    try:
        yield
    except anyio.get_cancelled_exc_class():
        if not done:
            raise
