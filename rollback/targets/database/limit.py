"""Locks that stop writers are held no longer than was agreed to."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from anyio import Event, create_task_group, current_time, move_on_after
from psycopg import Error

from rollback.errors import NotAsPlanned
from rollback.schema import SchemaPlan
from rollback.transactions import Connection

from .running import lost

__all__ = ["agreed", "within"]

ASK_AGAIN_SECONDS = 0.05
CANCEL_SECONDS = 2.0
# An estimate that somebody accepted may be wrong by so much.
TIMES = 3
T = TypeVar("T")


def agreed(plan: SchemaPlan, limit: float) -> float:
    """The limit, or more where the plan said more and that was accepted."""
    return limit if plan.stall_seconds <= limit else TIMES * plan.stall_seconds


async def within(
    connection: Connection, seconds: float, call: Callable[[], Awaitable[T]]
) -> T:
    """Do it within the time, all statements together, or cancel what is running.

    The server's own timeouts hold where this client does not live to ask.

    Raises:
        NotAsPlanned: the time was over; the transaction has to be rolled back.

    """
    ends, ended = current_time() + seconds, Event()
    failure: Exception | None = None
    async with create_task_group() as tasks:
        tasks.start_soon(_stop, connection, seconds, ended)
        try:
            result = await call()
        except Exception as error:  # noqa: BLE001 - a task group would wrap it; raised below
            failure = error
        finally:
            ended.set()
    if failure is not None and (current_time() < ends or lost(failure)):
        raise failure
    if current_time() >= ends:
        raise NotAsPlanned(
            f"Writers were kept waiting for {seconds:.3g} s, which is the limit, and "
            "the rollback was not done yet. Nothing was changed.",
            mend="Do it when little is written, or raise ROLLBACK_STALL_LIMIT_SECONDS.",
        ) from failure
    return result


async def _stop(connection: Connection, seconds: float, ended: Event) -> None:
    """Ask again: between two statements there is nothing to cancel."""
    with move_on_after(seconds):
        await ended.wait()
    while not ended.is_set():
        with suppress(Error, OSError):
            await connection.cancel_safe(timeout=CANCEL_SECONDS)
        with move_on_after(ASK_AGAIN_SECONDS):
            await ended.wait()
