"""One incident under way: its journal, who is told, its backup, and how it is kept."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

import anyio

from . import announce, incident
from .errors import LedgerUnreachable, StepFailed
from .finish import cut_short_after, to_the_end
from .model import Delivery, Incident, JournalEntry, Message, Outcome
from .ports import Channel, Clock, Database, Ledger, Notice
from .targets.database.target import Backing

__all__ = ["Case"]

LAST_WORDS_SECONDS = 10.0  # what an interrupted rollback may take to say so

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Case:
    """What is done about one incident is written down, told and kept here.

    `at_once`: whether each entry of the journal goes to the ledger by itself, and not
    with the incident at its end.
    """

    opened: Incident
    ledger: Ledger
    channels: Sequence[Channel]
    clock: Clock
    budgets: incident.Budgets
    notice: Notice
    at_once: bool = True
    journal: list[JournalEntry] = field(default_factory=list)
    told: list[Delivery] = field(default_factory=list)

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

        Raises `StepFailed`, which says what is `broken`, for what nobody thought of.
        """
        try:
            return await work()
        except BaseException as error:
            mistake = isinstance(error, Exception)
            why = repr(error) if mistake else "interrupted"
            await self._last_words(f"{why}; {then}")
            if mistake:
                raise StepFailed(f"{broken} broke off: {error!r}.") from error
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
        ends: list[Incident] = []
        with cut_short_after(ends):
            async with anyio.create_task_group() as group:
                await backing.begin(group)
                ends.append(await work(backing))
                if not backing.ended.is_set():
                    self.notice("the backup goes on; nothing else waits for it")
        if backing.note is None:
            return ends[0]
        backed = replace(ends[0], backup=backing.note, journal=tuple(self.journal))
        return await to_the_end(lambda: self.keep(backed))

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
        """Save it, or say that it is not saved."""
        try:
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

    async def _last_words(self, detail: str) -> None:
        """Leave word before going: the incident ends as one that needs a person."""
        cut = replace(
            self.opened,
            outcome=Outcome.ESCALATED,
            detail=detail,
            journal=tuple(self.journal),
        )
        with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
            await self.keep(cut)
            await self.tell(announce.outcome(cut))
