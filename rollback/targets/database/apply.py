"""The rollback itself: attempts at one transaction, and what became of its commit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from secrets import SystemRandom
from typing import NoReturn

from anyio import current_time, sleep
from psycopg import Error

from rollback.errors import (
    BackupFailed,
    DatabaseUnreachable,
    LockNotTaken,
    RollbackError,
    SchemaBusy,
    SchemaRefused,
    StepFailed,
)
from rollback.ports import Clock, Notice
from rollback.schema import Backup, Holder, Receipt, SchemaPlan
from rollback.transactions import Connection, Database

from . import receipts
from .limit import agreed
from .locks import claim, holders
from .parted import joined, parted
from .running import AGAIN, lost
from .statements import refuse_destroying, run_apart
from .transaction import Order, Progress, roll_back

__all__ = ["apply"]

SETTLE_SECONDS = 30.0
ASK_AGAIN_SECONDS = 0.25
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
_JITTER = SystemRandom().random


async def apply(
    database: Database,
    plan: SchemaPlan,
    backup: Backup,
    *,
    incident: str,
    lock_timeout_ms: int,
    attempts: int,
    schemas: tuple[str, ...],
    notice: Notice,
    clock: Clock,
    jitter: Callable[[], float] = _JITTER,
    stall_limit_seconds: float = inf,
) -> Receipt:
    """Do what was planned, whole or not at all.

    Raises:
        LockNotTaken, SchemaBusy, SchemaRefused: nothing was changed.
        NotAsPlanned: nor was it; the scripts did something else, or they held locks
            for longer than the limit, or than three times what was accepted.
        DatabaseUnreachable: its message says what is known.

    """
    if not backup.verified:
        raise BackupFailed(f"The backup {backup.name} is not verified.")
    order = Order(
        plan=plan,
        backup=backup,
        incident=incident,
        lock_timeout_ms=lock_timeout_ms,
        schemas=schemas,
        notice=notice,
        clock=clock,
        stall_seconds=agreed(plan, stall_limit_seconds),
    )
    if all(script.transactional for script in plan.scripts):
        return await _Attempts(database, order, attempts, jitter).run()
    refuse_destroying(order)
    return await _in_parts(database, order, attempts, jitter)


async def _in_parts(
    database: Database, order: Order, attempts: int, jitter: Callable[[], float]
) -> Receipt:
    """Each script that cannot be in a transaction by itself, the others as ever."""
    done: list[Receipt] = []
    try:
        for part in parted(order):
            if part.plan.scripts[0].transactional:
                done.append(await _Attempts(database, part, attempts, jitter).run())
            else:
                done.append(await _apart(database, part))
        return joined(order, done)
    except RollbackError as error:
        if not done:
            raise
        versions = ", ".join(v for receipt in done for v in receipt.versions)
        raise StepFailed(
            f"{versions} were rolled back and committed, and then: {error.message}",
            mend="Mend what kept it, and run it again: it goes on from there.",
        ) from error


async def _apart(database: Database, order: Order) -> Receipt:
    began = current_time()
    try:
        receipt = await run_apart(database, order)
    except (Error, OSError, TimeoutError) as error:
        raise DatabaseUnreachable(
            f"{database.name}: {database.explain(error)}. The statements that were "
            "done are journaled.",
            mend="Run it again when the database answers: it goes on from there.",
        ) from error
    return replace(receipt, total=current_time() - began)


@dataclass(slots=True)
class _Attempts:
    """The whole transaction, again and again while a lock is not to be had."""

    database: Database
    order: Order
    limit: int
    jitter: Callable[[], float]
    blockers: tuple[Holder, ...] = ()

    async def run(self) -> Receipt:
        began = current_time()
        for number in range(1, self.limit + 1):
            progress = Progress()
            try:
                receipt = await self._once(progress)
            except AGAIN as error:
                await self._look(error)
                if number == self.limit:
                    self._give_up(error, current_time() - began)
                await self._pause(number)
            else:
                return _timed(receipt, progress, began, number)
        raise AssertionError  # the last attempt returns or raises

    async def _once(self, progress: Progress) -> Receipt:
        """One attempt, its errors in words."""

        async def work(connection: Connection) -> Receipt:
            return await roll_back(connection, self.order, progress)

        try:
            return await self.database.transaction(work)
        except AGAIN:
            raise
        except (Error, OSError, TimeoutError) as error:
            if not lost(error):
                raise self._refused(error) from error
            if progress.receipt is None:
                raise self._unreachable(error) from error
            return await self._settle(error)

    async def _settle(self, error: Exception) -> Receipt:
        """The reply to COMMIT was lost: the receipt is there, or nothing was done.

        The claim is had only when the old transaction has ended, one way or the other.
        """
        self.order.notice("the connection was lost at the commit: looking what it did")
        ends = current_time() + SETTLE_SECONDS
        while current_time() < ends:
            try:
                receipt = await self.database.transaction(self._find)
            except (Error, OSError, TimeoutError, SchemaBusy):
                await sleep(ASK_AGAIN_SECONDS)
                continue
            if receipt is not None:
                return receipt
            raise self._unreachable(error) from error
        raise DatabaseUnreachable(
            "The connection was lost at the commit, and whether it was done is not "
            "known: it was done whole or not at all.",
            mend="Run it again when the database answers: that is safe either way.",
        ) from error

    async def _find(self, connection: Connection) -> Receipt | None:
        await claim(connection)
        return await receipts.find(
            connection, self.order.incident, self.order.plan.sha256
        )

    def _unreachable(self, error: Exception) -> DatabaseUnreachable:
        return DatabaseUnreachable(
            f"{self.database.name}: {self.database.explain(error)}. "
            "Nothing was changed."
        )

    def _refused(self, error: Exception) -> SchemaRefused:
        return SchemaRefused(
            f"PostgreSQL refused the rollback: {self.database.explain(error)}. "
            "Nothing was changed."
        )

    async def _look(self, error: Error) -> None:
        """Who is in the way; it may be gone already."""
        plan = self.order.plan
        tables = [error.diag.table_name] if error.diag.table_name else []
        tables = tables or [lock.table for lock in plan.locks]
        try:
            found = await self.database.transaction(
                lambda connection: holders(connection, tables)
            )
        except (Error, OSError, TimeoutError):
            return
        self.blockers = found or self.blockers
        self.order.notice(f"waiting for {_table(error)}: {_who(self.blockers)}")

    def _give_up(self, error: Error, seconds: float) -> NoReturn:
        raise LockNotTaken(
            f"The lock on {_table(error)} was not to be had in {self.limit} attempts "
            f"within {seconds:.1f} s: {_who(self.blockers)}. Nothing was changed."
        ) from error

    async def _pause(self, number: int) -> None:
        """Longer each time, so that who queued behind us gets through."""
        pause = min(FIRST_PAUSE_SECONDS * 2 ** min(number, 10), LONGEST_PAUSE_SECONDS)
        await sleep(pause * (0.5 + self.jitter()))


def _timed(
    receipt: Receipt, progress: Progress, began: float, attempts: int
) -> Receipt:
    now = current_time()
    locking, locked = progress.locking, progress.locked
    return replace(
        receipt,
        attempts=attempts,
        waited=(locked or now) - began if locked else 0.0,
        stalled=now - locking if locking else 0.0,
        total=now - began,
    )


def _table(error: Error) -> str:
    return error.diag.table_name or "a table that the plan does not name"


def _who(found: tuple[Holder, ...]) -> str:
    if not found:
        return "no session that holds one was seen"
    first = found[0]
    name = first.application or first.user or "unnamed"
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return (
        f"session {first.pid} ({name}, {first.state}) "
        f"has held one for {first.seconds:.0f} s{more}"
    )
