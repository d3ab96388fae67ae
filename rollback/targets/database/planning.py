"""The plan of a rollback of the schema: everything that is known before it is begun."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from anyio import to_thread
from psycopg.errors import LockNotAvailable

from rollback.errors import LockNotTaken, NeedsConsent, SchemaRefused, UnknownVersion
from rollback.schema import Fingerprint, SchemaPlan, SchemaRecord, Script
from rollback.transactions import Connection, Database

from .complaints import speaking
from .footprint import Footprint, footprint
from .history import History, in_order
from .losses import outsiders
from .scripts import load
from .survey import Survey, exclusive, survey
from .trial import Trial, try_scripts

__all__ = ["Copies", "Planning", "make_plan"]

ASK_SECONDS = 60.0
SHOWN = 8
T = TypeVar("T")

Copies = Callable[[], AbstractAsyncContextManager[str]]
"""Makes a schema-only copy with the history's rows; its address while it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What a plan is made from. `folder` has the migrations and their rollbacks."""

    url: str
    copies: Copies
    folder: Path
    schemas: tuple[str, ...] = ("public",)
    timeout_seconds: float = 300
    stall_limit_seconds: float = 5


async def make_plan(
    planning: Planning,
    to: str,
    *,
    records: Mapping[str, SchemaRecord],
    accept: frozenset[str] = frozenset(),
) -> SchemaPlan | None:
    """How to go back to the version `to`; None where that is the schema's already.

    Raises:
        UnknownVersion: it was never applied.
        NeedsConsent: a person has to accept something first.
        SchemaRefused: it cannot be done safely.
        DatabaseUnreachable: the database does not answer.

    """
    database = Database(planning.url, statement_timeout_seconds=ASK_SECONDS)
    now = await _ask(database, lambda c: survey(c, planning.schemas))
    if now.history.current == to:
        return None
    versions = _above(now.history, to)
    _check_session(now)
    scripts = await to_thread.run_sync(load, planning.folder, versions)
    notes = [*_notes_on_history(now.history)]
    notes += _consents(scripts, records, to, accept)
    trial = await _try(planning, scripts, now)
    recorded = records[to].fingerprint if to in records else None
    _check_history(trial, now.history)
    _check_outsiders(trial)
    _compare(now, trial, recorded, to)
    found = await _ask(database, lambda c: footprint(c, trial, now))
    _check_stall(found, planning.stall_limit_seconds, accept)
    return SchemaPlan(
        from_version=versions[0],
        to_version=to,
        scripts=scripts,
        destroys=found.destroys,
        written=found.written,
        locks=found.locks,
        stall_seconds=found.stall_seconds,
        fingerprint=recorded,
        notes=(*notes, *found.notes),
    )


async def _ask(database: Database, work: Callable[[Connection], Awaitable[T]]) -> T:
    with speaking(database, SchemaRefused):
        try:
            return await database.transaction(work)
        except LockNotAvailable as error:
            found = await database.transaction(exclusive)
            raise LockNotTaken(
                f"The schema cannot even be read: {_some(found) or error}.",
            ) from error


def _above(history: History, to: str) -> tuple[str, ...]:
    """What was applied after the target, the last one first."""
    if history.current is None:
        raise SchemaRefused(
            f"{history.name} is empty: there is no migration to take back."
        )
    if to not in history.versions:
        if in_order((to, history.current))[-1] == to:
            raise SchemaRefused(
                f"{to} is above the schema's version {history.current}: a rollback "
                "only goes back.",
                mend="Apply the migration as you usually do.",
            )
        raise UnknownVersion(
            f"{to} is not in {history.name}, which knows "
            f"{_some(tuple(reversed(history.versions)))}."
        )
    place = history.versions.index(to)
    below, above = history.versions[:place], history.versions[place + 1 :]
    _check_order(below, to, above)
    return tuple(reversed(above))


def _check_order(below: tuple[str, ...], to: str, above: tuple[str, ...]) -> None:
    """What was applied later has to be the later version, from the target on.

    The scripts were tested in the order of their versions. What was out of order before
    the target stays as it is.
    """
    late = [version for version in above if in_order((version, to))[0] == version]
    early = [version for version in below if in_order((version, to))[1] == version]
    if late or early or in_order(above) != above:
        raise SchemaRefused(
            "Migrations were not applied in the order of their versions: "
            f"{', '.join((*early, to, *above))} is the order from the database.",
            mend="Take them back by hand, one by one, or choose a target above them.",
        )


def _check_session(now: Survey) -> None:
    if not now.standard_strings:
        raise SchemaRefused(
            "standard_conforming_strings is off in this database: a script would be "
            "read there in another way than it was checked.",
            mend="Set it to on, which is PostgreSQL's default.",
        )


def _notes_on_history(history: History) -> tuple[str, ...]:
    if history.ordered:
        return ()
    note = f"{history.name} does not record the order of application"
    return (f"{note}: the versions stand for it.",)


def _consents(
    scripts: tuple[Script, ...],
    records: Mapping[str, SchemaRecord],
    to: str,
    accept: frozenset[str],
) -> list[str]:
    """Hold the scripts against what was recorded; what was accepted becomes a note."""
    changed = [
        script.path.name
        for script in scripts
        if (record := records.get(script.version)) is not None
        and record.script_sha256 not in {None, script.sha256}
    ]
    if changed:
        raise SchemaRefused(
            "These scripts are not those that were recorded when their versions were "
            f"deployed: {', '.join(changed)}.",
            mend="Put back the recorded ones, or record these once they are tested.",
        )
    said = []
    if missing := _unrecorded(scripts, records, to):
        said.append(("unrecorded", f"Nothing was recorded of {missing}."))
    apart = [script.path.name for script in scripts if not script.transactional]
    if apart:
        names = ", ".join(apart)
        sentence = f"{names} runs in no transaction: what it did when it stops stays."
        said.append(("no-transaction", sentence))
    for name, sentence in said:
        if name not in accept:
            raise NeedsConsent(sentence, accept=name)
    return [f"{sentence} This was accepted." for _, sentence in said]


def _unrecorded(
    scripts: tuple[Script, ...], records: Mapping[str, SchemaRecord], to: str
) -> str:
    names = [
        f"the script {script.path.name}"
        for script in scripts
        if (record := records.get(script.version)) is None
        or record.script_sha256 is None
    ]
    if to not in records or records[to].fingerprint is None:
        names.append(f"the schema at {to}, so that it cannot be compared")
    return ", ".join(names)


async def _try(planning: Planning, scripts: tuple[Script, ...], now: Survey) -> Trial:
    async with planning.copies() as copy:
        return await try_scripts(
            copy,
            scripts,
            schemas=planning.schemas,
            search_path=now.search_path,
            seconds=planning.timeout_seconds,
            begun=now.begun,
            ended=now.ended,
        )


def _compare(now: Survey, trial: Trial, recorded: Fingerprint | None, to: str) -> None:
    """What the scripts did to the copy, done to production's own fingerprint.

    So what a copy cannot have (a role of another server) makes no difference here.
    """
    if recorded is None:
        return
    before, after = trial.first.fingerprint.lines, trial.last.fingerprint.lines
    kept = set(now.catalogue.fingerprint.lines) - (set(before) - set(after))
    expected = Fingerprint(lines=tuple(sorted(kept | (set(after) - set(before)))))
    if differences := expected.differences(recorded):
        raise SchemaRefused(
            f"After the scripts the schema is not what was recorded at {to}: "
            f"{_some(differences)}.",
            mend="Mend the scripts, or undo what was changed by hand; - is what would "
            "be missing, + what would be too much.",
        )


def _check_history(trial: Trial, history: History) -> None:
    """The rows of the history are the rollback's own to remove."""
    for effect in trial.effects:
        table = effect.before.by_name.get(("table", history.name))
        if table is None:
            continue
        written = any(one.identity == table.identity for one in effect.written)
        if written or table.identity not in effect.after.by_identity:
            raise SchemaRefused(
                f"{effect.script.path.name} changes {history.name}, where the rollback "
                "itself takes its version out.",
                mend="Take that statement out of the script.",
            )


def _check_outsiders(trial: Trial) -> None:
    """What a script does to a stand-in says nothing of what it does on production."""
    for effect in trial.effects:
        if names := sorted(set(outsiders(effect, trial.first))):
            raise SchemaRefused(
                f"{effect.script.path.name} changes {_some(tuple(names))}, outside of "
                "the schemas that are rolled back.",
                mend="Name that schema in ROLLBACK_SCHEMAS, or do it by hand.",
            )


def _check_stall(found: Footprint, limit: float, accept: frozenset[str]) -> None:
    if found.stall_seconds > limit and "stall" not in accept:
        raise NeedsConsent(
            f"Writers would wait for about {found.stall_seconds:g} s, and the limit "
            f"is {limit:g} s.",
            accept="stall",
        )


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
