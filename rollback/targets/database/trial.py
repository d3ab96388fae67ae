"""What scripts do, found by running them on a schema-only copy that is thrown away.

The copy has no rows. So what a script does to rows is seen by triggers that fire for
every statement, and by the foreign keys that hand it on. What depends on the rows (a
DO block that loops over them, a trigger for each row) is not seen here: when it differs
on production, the rollback there is not as planned, and nothing of it is committed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import Error
from psycopg.pq import TransactionStatus

from rollback.errors import DatabaseUnreachable, SchemaRefused
from rollback.schema import Script
from rollback.transactions import Connection, Database, shielded

from .catalogue import Catalogue, read_catalogue
from .probe import (
    MODES,
    Relations,
    Written,
    read_relations,
    set_probe,
    take_locks,
    take_shared,
    take_written,
)
from .scripts import Statement, encoded, needs_no_transaction, statements

__all__ = ["Effect", "Trial", "try_scripts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one script did: the catalogue before and after it, and rows written."""

    script: Script
    before: Catalogue
    after: Catalogue
    written: tuple[Written, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What all scripts did; locks and rewritten tables by the table's identity.

    `shared` are the catalogues of the whole server that they write.
    """

    effects: tuple[Effect, ...]
    locks: tuple[tuple[str, str], ...]
    rewritten: tuple[str, ...]
    shared: tuple[str, ...]

    @property
    def first(self) -> Catalogue:
        """The copy before all scripts."""
        return self.effects[0].before

    @property
    def last(self) -> Catalogue:
        """The copy after all scripts."""
        return self.effects[-1].after


async def try_scripts(
    url: str,
    scripts: Sequence[Script],
    *,
    schemas: Sequence[str],
    search_path: str,
    seconds: float,
) -> Trial:
    """Run the scripts on the copy at `url`, which has to be thrown away after.

    In one transaction, unless one of them says that it cannot be in one; then each is
    in its own, and the statements of that one in none.

    Raises:
        SchemaRefused: a script fails, or ends the transaction.
        DatabaseUnreachable: the copy's server does not answer.

    """
    database = Database(url, statement_timeout_seconds=seconds)
    run = _Run(scripts, schemas, search_path, seconds)
    try:
        await database.transaction(set_probe)
        if all(script.transactional for script in scripts):
            return await database.transaction(run.together)
        async with database.session() as connection:
            return await shielded(
                connection, lambda: run.apart(connection), seconds=seconds
            )
    except (Error, OSError, TimeoutError) as error:
        raise DatabaseUnreachable(
            f"The copy cannot be used: {database.explain(error)}.",
            mend="Check ROLLBACK_SCRATCH_URL (or DATABASE_DIRECT_URL).",
        ) from error


@dataclass(frozen=True, slots=True)
class _Run:
    scripts: Sequence[Script]
    schemas: Sequence[str]
    search_path: str
    seconds: float

    async def together(self, connection: Connection) -> Trial:
        """All in this transaction, of which nothing is to stay.

        Roles, for one, belong to the whole server, and so to production too.
        """
        async with connection.transaction(force_rollback=True):
            seen = _Seen(await read_relations(connection))
            catalogue = await self._catalogue(connection)
            for script in self.scripts:
                await self._settle(connection, local=True)
                await _in_transaction(connection, script)
                catalogue = await self._see(connection, script, catalogue, seen)
            seen.lock(await take_locks(connection))
            shared = await take_shared(connection)
            return seen.trial(await read_relations(connection), shared)

    async def apart(self, connection: Connection) -> Trial:
        """Each in a transaction of its own, or its statements in none."""
        async with connection.transaction():
            seen = _Seen(await read_relations(connection))
            catalogue = await self._catalogue(connection)
        for script in self.scripts:
            await self._settle(connection, local=False)
            if script.transactional:
                async with connection.transaction():
                    await _in_transaction(connection, script)
                    await _keep_to_the_copy(connection, script)
                    seen.lock(await take_locks(connection))
            else:
                await _one_by_one(connection, script, seen)
            async with connection.transaction():
                catalogue = await self._see(connection, script, catalogue, seen)
        async with connection.transaction():
            return seen.trial(await read_relations(connection), ())

    async def _settle(self, connection: Connection, *, local: bool) -> None:
        """No script finds what the one before has set, and each finds production's."""
        await connection.execute("RESET ALL; RESET SESSION AUTHORIZATION; RESET ROLE")
        await connection.execute(
            "SELECT set_config('search_path', %(path)s, %(local)s),"
            " set_config('statement_timeout', %(limit)s, %(local)s)",
            {
                "path": self.search_path,
                "local": local,
                "limit": f"{int(self.seconds * 1000)}ms",
            },
        )

    async def _catalogue(self, connection: Connection) -> Catalogue:
        return await read_catalogue(connection, self.schemas, prepare=True)

    async def _see(
        self,
        connection: Connection,
        script: Script,
        before: Catalogue,
        seen: "_Seen",
    ) -> Catalogue:
        """What the script did since then; the catalogue now."""
        written = seen.relations.reached(await take_written(connection))
        after = await self._catalogue(connection)
        seen.effects.append(
            Effect(script=script, before=before, after=after, written=written)
        )
        return after


@dataclass(slots=True)
class _Seen:
    """What was seen of the scripts so far."""

    relations: Relations
    effects: list[Effect] = field(default_factory=list)
    locks: dict[str, str] = field(default_factory=dict)

    def lock(self, locks: Mapping[str, str]) -> None:
        """The stronger one counts."""
        order = list(MODES)
        for identity, mode in locks.items():
            known = self.locks.get(identity, order[0])
            self.locks[identity] = max(known, mode, key=order.index)

    def trial(self, after: Relations, shared: tuple[str, ...]) -> Trial:
        """All of it."""
        return Trial(
            effects=tuple(self.effects),
            locks=tuple(sorted(self.locks.items())),
            rewritten=self.relations.rewritten(after),
            shared=shared,
        )


async def _one_by_one(connection: Connection, script: Script, seen: _Seen) -> None:
    """Only what cannot be in a transaction is in none: so that the rest can be seen."""
    for statement in statements(script.text):
        if needs_no_transaction(statement):
            await _execute(connection, script, statement)
            continue
        async with connection.transaction():
            await _execute(connection, script, statement)
            await _keep_to_the_copy(connection, script)
            seen.lock(await take_locks(connection))


async def _keep_to_the_copy(connection: Connection, script: Script) -> None:
    if shared := await take_shared(connection):
        raise SchemaRefused(
            f"{script.path.name} changes {', '.join(shared)}, which the whole server "
            "shares: that cannot be tried without a transaction around all scripts.",
            mend="Take that out of the script, and do it by hand.",
        )


async def _in_transaction(connection: Connection, script: Script) -> None:
    """Raises when the script has ended the transaction, or begun another one."""
    before = await _number(connection)
    await _run(connection, script)
    inside = connection.info.transaction_status == TransactionStatus.INTRANS
    if not inside or await _number(connection) != before:
        raise SchemaRefused(
            f"{script.path.name} ends the transaction that it runs in.",
            mend="Take its COMMIT or ROLLBACK out: the transaction is the rollback's.",
        )


async def _number(connection: Connection) -> str:
    cursor = await connection.execute("SELECT pg_current_xact_id()::text AS number")
    row = await cursor.fetchone()
    return str(row["number"]) if row else ""


async def _run(connection: Connection, script: Script) -> None:
    """Statement by statement, so that one that fails can be named by its line."""
    for statement in statements(script.text):
        await _execute(connection, script, statement)


async def _execute(
    connection: Connection, script: Script, statement: Statement
) -> None:
    try:
        await connection.execute(encoded(statement.text, connection))
    except UnicodeEncodeError as error:
        raise SchemaRefused(
            f"{script.path.name}:{statement.line} holds what the database's encoding "
            f"has no letter for: {error.object[error.start]!r}."
        ) from error
    except Error as error:
        if connection.closed:
            raise
        raise _failed(script, statement, error) from error


def _failed(script: Script, statement: Statement, error: Error) -> SchemaRefused:
    line, place = statement.line, error.diag.statement_position
    if place is not None:
        line += statement.text.count("\n", 0, int(place) - 1)
    said = error.diag.message_primary or str(error).strip().partition("\n")[0]
    return SchemaRefused(
        f"{script.path.name}:{line} fails on a copy of the schema: {said}.",
        mend="Mend the script; production was not touched.",
    )
