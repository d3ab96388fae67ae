"""What earlier recoveries have left: one that was cut short is gone on with."""

from dataclasses import dataclass
from datetime import timedelta

from .errors import LedgerUnreachable, Refused
from .model import Incident, Outcome, StepStatus
from .ports import Clock, Ledger, Notice

__all__ = ["Ask", "Earlier", "History"]

PART = "state"
RESTORE = "restore"
# What a recovery journals, for the next one to read.
RESUMES, RESTORE_FROM, ENDED = "resumes", "restore_from", "ended"
LOOKED_AT = 100  # incidents: flags and rollbacks stand between them
# After that, what was cut short is history, and a recovery begins anew.
RESUMED_WITHIN = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What somebody wants to be done. `backup` names one; `anew` resumes nothing."""

    reason: str
    with_database: bool = False
    backup: str | None = None
    swap: bool = False
    redeploy: bool = False
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What the last recovery, `last`, has left.

    `token` names the run that is gone on with, where one is, `safe` the place of the
    backup that it has taken, and `chosen` the backup that it restores.
    """

    last: str | None = None
    token: str | None = None
    safe: str | None = None
    chosen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The recoveries of one environment, as the ledger has them."""

    ledger: Ledger
    environment: str
    clock: Clock
    notice: Notice

    async def earlier(self, ask: Ask, *, besides: str | None = None) -> Earlier:
        """What the last one has left, `besides` the one that asks.

        It is gone on with when it was cut short, or when a step of it failed, and this
        asks for the same again. One that has ended, and has restored, is `Refused`, as
        neither restoring again nor leaving it out may be what is meant.
        """
        past = await self._last(besides)
        if past is None:
            return Earlier()
        said = {entry.event: entry.detail for entry in past.journal}
        chosen = said.get(RESTORE_FROM)
        same = bool(chosen) == ask.with_database and ask.backup in (None, chosen)
        if ask.anew or not same or not self._unfinished(past):
            return Earlier(last=past.id)
        if ENDED in said:
            _refuse_restored(past)
            if not any(step.status is StepStatus.FAILED for step in past.steps):
                return Earlier(last=past.id)
        return Earlier(
            last=past.id,
            token=said.get(RESUMES, past.id),
            safe=said.get("backup_done"),
            chosen=chosen,
        )

    async def require_none_since(
        self, ask: Ask, *, last: str | None, token: str | None, own: str
    ) -> None:
        """Refuse where what was planned, after `last`, is not what is there now."""
        now = await self.earlier(ask, besides=own)
        if (now.last, now.token) != (last, token):
            other = now.last or last
            raise Refused(
                f"Another recovery, {other}, was at it since this was planned.",
                mend="Look at what would be done now with --plan, and run it again.",
            )

    async def _last(self, besides: str | None) -> Incident | None:
        """Without those that did nothing."""
        try:
            known = await self.ledger.incidents(self.environment, limit=LOOKED_AT)
        except LedgerUnreachable as error:
            self.notice(f"an earlier recovery is not known: {error.message}")
            return None
        for one in known:
            did = one.part == PART and one.outcome is not Outcome.REFUSED
            if did and one.id != besides:
                return one
        return None

    def _unfinished(self, past: Incident) -> bool:
        recent = self.clock.now() - past.opened_at <= RESUMED_WITHIN
        return recent and past.outcome is not Outcome.RESTORED


def _refuse_restored(past: Incident) -> None:
    for step in past.steps:
        restored = step.status in (StepStatus.DONE, StepStatus.ALREADY)
        if step.target == RESTORE and restored:
            raise Refused(
                f"{past.id} has ended, and has restored {step.to_deployment}, though "
                f"not all came right: {past.detail}",
                mend="Run it without --with-database to do all else again; to restore "
                "once more, which puts aside what was written since, add --anew.",
            )
