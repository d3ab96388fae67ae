"""One incident under way: its claims, its journal, who is told, and how it is kept."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

import anyio

from . import announce, incident
from .errors import AlreadyRollingBack, LedgerUnreachable, RollbackError, StepFailed
from .execute import Execution
from .finish import cut_short_after, to_the_end
from .model import (
    Delivery,
    Incident,
    JournalEntry,
    Message,
    Outcome,
    StepRecord,
    StepStatus,
)
from .ports import Channel, Clock, Database, Ledger, Notice
from .targets.database.target import Backing, Schema

__all__ = ["Case"]

# Short, and renewed all the while: who was killed keeps nobody from going on.
LEASE_SECONDS = 30.0
ALIVE_SECONDS = 5.0
LAST_WORDS_SECONDS = 10.0  # what an interrupted rollback may take to say so
DONE = (StepStatus.DONE, StepStatus.ALREADY)

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Case:
    """What is done about one incident is claimed, written down, told and kept here.

    `at_once`: whether each entry of the journal goes to the ledger by itself, and not
    with the incident at its end. `steps` and `schema` are what is known so far, for an
    interruption. `held` are the claims that are renewed.
    """

    opened: Incident
    ledger: Ledger
    channels: Sequence[Channel]
    clock: Clock
    budgets: incident.Budgets
    notice: Notice
    at_once: bool = True
    lease_seconds: float = LEASE_SECONDS
    journal: list[JournalEntry] = field(default_factory=list)
    told: list[Delivery] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    held: list[Incident] = field(default_factory=list)
    schema: Schema | None = None
    _backing: Backing | None = field(default=None, init=False)
    # As it was to be kept; and one save at a time, so that it is the last.
    _ending: Incident | None = field(default=None, init=False)
    _saving: anyio.Lock = field(default_factory=anyio.Lock, init=False)

    async def claim(self) -> None:
        """Claim every part's candidate, or none; `see_through` renews the claims.

        Raises `AlreadyRollingBack` when somebody else is at it, and
        `LedgerUnreachable` when nobody can be kept out.
        """
        for claim in incident.claims(self.opened):
            try:
                await self.ledger.open_incident(claim, lease_seconds=self.lease_seconds)
            except AlreadyRollingBack as error:
                for mine in self.held:
                    given_up = replace(mine, outcome=Outcome.REFUSED)
                    await self.keep(replace(given_up, detail=error.message, also=()))
                raise AlreadyRollingBack(
                    error.message,
                    mend=f"{error.mend} Where that was killed, run this again "
                    f"{self.lease_seconds:.0f} s later: then it takes over.",
                ) from error
            self.held.append(claim)

    async def write(self, entry: JournalEntry) -> None:
        """One entry of the journal, for the people who wait too."""
        self.journal.append(entry)
        self.notice(f"{entry.event.replace('_', ' ')}: {entry.detail}")
        if self.at_once:
            with suppress(LedgerUnreachable):
                await self.ledger.append(self.opened.id, entry)

    async def note(self, event: str, detail: str) -> None:
        """One entry of now."""
        at = self.clock.now()
        await self.write(JournalEntry(at=at, event=event, detail=detail))

    async def tell(self, message: Message) -> bool:
        """Whether every channel took it; there must be one."""
        sent = await announce.announce(self.channels, message, clock=self.clock)
        self.told.extend(sent)
        return bool(sent) and all(delivery.problem is None for delivery in sent)

    async def see_through(
        self, work: Callable[[], Awaitable[T]], *, broken: str, then: str
    ) -> T:
        """Do the work; what breaks it off leaves an incident and a call for help.

        The claims are renewed meanwhile; when somebody has taken one over, because
        this stood still for too long, it breaks off too. Raises `StepFailed`, which
        says what is `broken`, for that and for what nobody thought of.
        """
        try:
            return await self._held(work)
        except BaseException as error:
            mistake = isinstance(error, Exception)
            why = _said(error) if mistake else "interrupted"
            await self._last_words(why, then)
            if mistake:
                raise StepFailed(f"{broken} broke off: {why}.") from error
            raise

    async def with_backup(
        self,
        database: Database | None,
        work: Callable[[Backing], Awaitable[Incident]],
    ) -> Incident:
        """Begin a backup, do the work meanwhile, and keep what became of both.

        Who interrupts once the work is done cuts the backup short, and nothing else.
        """
        backing = Backing(database, self.opened.id, self.note, self.notice)
        self._backing = backing
        ends: list[Incident] = []
        with cut_short_after(ends):
            async with anyio.create_task_group() as group:
                await backing.begin(group)
                ends.append(await work(backing))
                if not backing.ended.is_set():
                    self.notice("the backup goes on; nothing else waits for it")
        if backing.note is None:
            return ends[0]
        # Whether it was saved the first time is not to be read in what is saved now.
        ended = self._ending or ends[0]
        backed = replace(ended, backup=backing.note, journal=tuple(self.journal))
        return await to_the_end(lambda: self.keep(backed))

    def known(self) -> Incident:
        """As it was opened, with its backup and what was done to the schema."""
        return replace(
            self.opened,
            backup=self._backing.note if self._backing else None,
            receipt=self.schema.receipt if self.schema else None,
        )

    async def conclude(
        self,
        ended: Incident,
        done: Execution,
        restored_at: datetime | None,
        message: Callable[[Incident], Message] = announce.outcome,
    ) -> Incident:
        """Tell how it ended, with the clocks of what was carried out."""
        bad_since = ended.verdict.bad_since if ended.verdict else None
        clocks = incident.Clocks(
            decided_at=ended.opened_at,
            bad_since=incident.from_second(bad_since),
            accepted_at=done.accepted_at,
            carried_out_at=done.ended_at if done.complete else None,
            restored_at=restored_at,
        )
        return await self.ended(ended, clocks, message)

    async def ended(
        self,
        ended: Incident,
        clocks: incident.Clocks,
        message: Callable[[Incident], Message] = announce.outcome,
    ) -> Incident:
        """Tell how it ended; its clocks run until everybody has taken that."""
        journal = tuple(self.journal)
        phases = incident.phases(clocks, self.budgets)
        ended = replace(ended, journal=journal, phases=phases)
        if await self.tell(message(ended)):
            clocks = replace(clocks, communicated_at=self.clock.now())
        phases = incident.phases(clocks, self.budgets)
        return replace(ended, phases=phases, deliveries=tuple(self.told))

    async def keep(self, ended: Incident) -> Incident:
        """Save it, or say that it is not saved; its claims are renewed no longer."""
        self._ending = ended
        try:
            async with self._saving:
                for claim in incident.claims(ended):
                    await self.ledger.save_incident(claim)
        except LedgerUnreachable as error:
            unsaved = f"{ended.detail}; the incident was not saved: {error.message}"
            return replace(ended, detail=unsaved)
        return ended

    async def close(self, ended: Incident) -> Incident:
        """Keep what was told, and say so."""
        kept = await self.keep(ended)
        self.notice(f"told, and kept as {kept.id}")
        return kept

    async def _held(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work while signs of life renew the claims."""
        ends: list[T] = []
        losses: list[AlreadyRollingBack] = []
        with cut_short_after(ends):
            async with anyio.create_task_group() as group:
                group.start_soon(self._stay_alive, losses, group.cancel_scope)
                ends.append(await work())
                group.cancel_scope.cancel()
        if ends:  # what was done before the loss was seen stays done
            return ends[0]
        raise losses[0]

    async def _stay_alive(
        self, losses: list[AlreadyRollingBack], scope: anyio.CancelScope
    ) -> None:
        """Renew the claims until it is closed; the loss of one ends the work."""
        while self._ending is None:
            await anyio.sleep(ALIVE_SECONDS)
            try:
                with suppress(LedgerUnreachable):
                    await self._renew()
            except AlreadyRollingBack as error:
                losses.append(error)
                scope.cancel()

    async def _renew(self) -> None:
        """Read first: what is closed was taken over, and no save would say so.

        A ledger that is down has nothing to read, so nothing piles up in its spool.
        """
        for claim in tuple(self.held):
            async with self._saving:
                stored = await self.ledger.incident(claim.id)
                if self._ending is not None:
                    return
                if stored and stored.outcome is not None:
                    raise AlreadyRollingBack(f"{claim.id} is closed: {stored.detail}")
                await self.ledger.save_incident(claim)

    async def _last_words(self, why: str, then: str) -> None:
        """Leave word before going: the incident ends as one that needs a person."""
        said = (why, *_how_far(self.steps), then)
        cut = replace(
            self.known(),
            outcome=Outcome.ESCALATED,
            detail="; ".join(said),
            steps=tuple(self.steps),
            journal=tuple(self.journal),
            deliveries=tuple(self.told),
        )
        with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
            await self.keep(cut)
            await self.tell(announce.outcome(cut))


def _said(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, RollbackError):
        return error.message.rstrip(".")
    return repr(error)


def _how_far(steps: Sequence[StepRecord]) -> tuple[str, ...]:
    """What is done already, and what is left to whoever comes next."""
    done = [step.name for step in steps if step.status in DONE]
    left = [f"{s.name} ({s.detail})" for s in steps if s.status not in DONE]
    return (
        *((f"done already: {', '.join(done)}",) if done else ()),
        *((f"run it again, as there is left: {', '.join(left)}",) if left else ()),
    )
