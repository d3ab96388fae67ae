"""What `rollback init` and `rollback record` put on record of the schema."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from .adoption import Act, Did
from .database_wiring import schema_book
from .errors import Refused, RollbackError
from .ports import Notice
from .schema_records import Recorded
from .settings import Settings

__all__ = ["adopt_schema", "record_schema"]

SCRIPTS, SCHEMA = "record the rollback scripts", "record the schema"
NAMED = 5  # more than these are counted instead


async def adopt_schema(
    settings: Settings, *, force: bool, plan: bool, at: datetime, notice: Notice
) -> Iterable[Act]:
    """The hashes of all scripts, and the schema's fingerprint, as they are today."""
    if settings.database_direct_url is None:
        return [
            Act(
                name=name,
                did=Did.LEFT,
                said="no database is set",
                mend="Set DATABASE_URL, and run this again.",
            )
            for name in (SCRIPTS, SCHEMA)
        ]
    try:
        async with schema_book(settings, notice=notice) as book:
            seen = await book.look()
            acts = _scripts(seen, force=force, plan=plan), _schema(seen, force, plan)
            if not plan:
                keep = acts[1].did is Did.DONE
                await book.record(seen, at=at, renew=force, fingerprint=keep)
    except RollbackError as error:
        # A database without a history of migrations is none to be rolled back.
        did = Did.LEFT if isinstance(error, Refused) else Did.FAILED
        return [Act(name=SCHEMA, did=did, said=error.message, mend=error.mend)]
    return acts


def _scripts(seen: Recorded, *, force: bool, plan: bool) -> Act:
    if not seen.versions:
        return Act(name=SCRIPTS, did=Did.ALREADY, said="no migration is applied yet")
    if seen.changed and not force:
        return Act(
            name=SCRIPTS,
            did=Did.LEFT,
            said=f"changed since they were recorded: {_named(seen.changed)}",
            mend="Take the change back, or record them as they are: --force.",
        )
    to_do = (*seen.new, *seen.changed)
    said = f"{_named(to_do)} of {len(seen.versions)}" if to_do else "all on record"
    mend = f"Without a script: {_named(seen.missing)}." if seen.missing else ""
    return Act(name=SCRIPTS, did=_did(bool(to_do), plan), said=said, mend=mend)


def _schema(seen: Recorded, force: bool, plan: bool) -> Act:
    if seen.fingerprint is None:
        return Act(name=SCHEMA, did=Did.ALREADY, said="no migration is applied yet")
    if seen.known and not seen.same_schema and not force:
        return Act(
            name=SCHEMA,
            did=Did.LEFT,
            said=f"it is not what was recorded at {seen.current}",
            mend="See who changed it by hand, or record it as it is: --force.",
        )
    said = f"its fingerprint at {seen.current}: {seen.fingerprint.sha256[:12]}"
    return Act(name=SCHEMA, did=_did(not seen.same_schema, plan), said=said)


def _did(anything: bool, plan: bool) -> Did:
    if not anything:
        return Did.ALREADY
    return Did.PLANNED if plan else Did.DONE


async def record_schema(
    settings: Settings, migration: str, *, at: datetime, notice: Notice
) -> Recorded | None:
    """With a deployment; that it cannot be done is no reason not to record that."""
    if settings.database_direct_url is None:
        notice("the schema is not recorded: no database is set (DATABASE_URL)")
        return None
    try:
        async with schema_book(settings, notice=notice) as book:
            seen = await book.look(upto=migration)
            await book.record(seen, at=at, renew=False, fingerprint=True)
    except RollbackError as error:
        notice(f"the schema is not recorded: {error.message}")
        return None
    for sentence in _remarks(seen, migration):
        notice(sentence)
    return seen


def _remarks(seen: Recorded, migration: str) -> Iterable[str]:
    if seen.changed:
        yield (
            f"changed since they were recorded: the scripts of {_named(seen.changed)}; "
            "a rollback will refuse them. Take the change back, or record them anew: "
            "`rollback init --force`"
        )
    if seen.missing:
        yield f"without a rollback script: {_named(seen.missing)}"
    if seen.current != migration:
        yield (
            f"the schema is at {seen.current}, not at {migration}: its fingerprint is "
            "not recorded"
        )
    elif seen.known and not seen.same_schema:
        yield f"the schema at {migration} is another one than was recorded before"


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
