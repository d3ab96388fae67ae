"""The schema as a target, and the backup that every rollback begins with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from rollback.errors import BackupFailed, RollbackError, StepFailed
from rollback.model import BackupNote, Step
from rollback.ports import Database, Notice
from rollback.schema import Backup, Receipt, SchemaPlan

__all__ = ["PART", "Backing", "Schema", "step", "tag"]

PART = "database"

Journal = Callable[[str, str], Awaitable[None]]
"""Writes an event and its detail."""


def tag(version: str) -> str:
    """How incidents name a version of the schema."""
    return f"schema:{version}"


def step(plan: SchemaPlan, *, site: str = "", serves: str = "") -> Step:
    """The step that takes the schema back."""
    return Step(
        target=PART,
        name=f"roll the schema back to {plan.to_version}",
        from_deployment=plan.from_version,
        to_deployment=plan.to_version,
        site=site,
        serves=serves,
    )


@dataclass(slots=True)
class Backing:
    """The backup of one rollback: begun before its first change, in nobody's way.

    Without a database there is none. Whatever becomes of it is journaled, and none of
    it stops the application, the API or the flags; the schema waits for it.
    """

    database: Database | None
    label: str
    journal: Journal
    notice: Notice
    taken: Backup | None = None
    problem: str | None = None
    mend: str | None = None
    ended: anyio.Event = field(default_factory=anyio.Event)

    async def begin(self, group: TaskGroup) -> None:
        """Journal that it begins, and let it go on in the group."""
        if self.database is None:
            self.problem = "no database is set"
            self.ended.set()
            return
        await self.journal("backup_begins", self.label)
        group.start_soon(self._run, self.database)

    async def verified(self) -> Backup:
        """The backup, once it is; raises `BackupFailed` when it will not be."""
        await self.ended.wait()
        if self.taken is None or not self.taken.verified:
            raise BackupFailed(
                f"There is no verified backup: {self.problem}", mend=self.mend
            )
        return self.taken

    @property
    def note(self) -> BackupNote | None:
        """What the incident keeps of it; None without one, or while it goes on."""
        if self.database is None or not self.ended.is_set():
            return None
        if self.taken is None:
            return BackupNote(problem=self.problem)
        return BackupNote(
            path=self.taken.path,
            sha256=self.taken.sha256,
            verified=self.taken.verified,
        )

    async def _run(self, database: Database) -> None:
        await self._take(database)
        if self.taken:
            await self.journal("backup_done", self.taken.path)
        else:
            await self.journal("backup_failed", str(self.problem))

    async def _take(self, database: Database) -> None:
        self.problem = "it was interrupted"
        try:
            self.taken = await database.back_up(self.label, notice=self.notice)
            self.problem = None
        except RollbackError as error:
            self.problem, self.mend = error.message, error.mend
        except Exception as error:  # noqa: BLE001 - traffic moves whatever is wrong with it
            self.problem = f"something went wrong that should not: {error!r}"
        finally:
            self.ended.set()


@dataclass(slots=True, kw_only=True)
class Schema:
    """Takes the schema back as planned, once the backup is verified.

    With `rehearse` it is done to the restored backup first.
    """

    database: Database
    plan: SchemaPlan
    backing: Backing
    incident: str
    notice: Notice
    rehearse: bool = False
    name: str = PART
    receipt: Receipt | None = field(default=None, init=False)

    async def check(self, step: Step) -> bool:
        """Whether the schema is of that version already."""
        return await self.database.version() == step.to_deployment

    async def apply(self, step: Step, *, reason: str) -> str:  # noqa: ARG002 - the port's
        """Do it whole or not at all."""
        if not self.backing.ended.is_set():
            self.notice("waiting for the backup: no schema changes without one")
        backup = await self.backing.verified()
        if self.rehearse:
            await self.database.rehearse(self.plan, backup, notice=self.notice)
        self.receipt = await self.database.roll_back(
            self.plan, backup, incident=self.incident, notice=self.notice
        )
        return f"the schema was committed as {step.to_deployment}"

    async def verify(self, step: Step) -> str:
        """Read the history again."""
        version = await self.database.version()
        if version != step.to_deployment:
            raise StepFailed(
                f"The schema is at {version}, not at {step.to_deployment}."
            )
        done = self.receipt
        if done is None:
            return f"the schema is at {version}"
        kept = sum(one.rows for one in done.archived)
        compared = "" if done.fingerprint_compared else ", its schema not compared"
        return (
            f"the schema is at {version}{compared}; {kept} values archived, "
            f"writers waited {done.stalled:.2f} s"
        )
