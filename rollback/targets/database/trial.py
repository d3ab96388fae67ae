"""What scripts do, found by running them on a schema-only copy that is thrown away.

The copy has no rows. So what a script does to rows is seen by triggers that fire for
every statement, and by the foreign keys that hand it on. What depends on the rows (a
DO block that loops over them, a trigger for each row) is not seen here: when it differs
on production, the rollback there is not as planned, and nothing of it is committed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import Error, sql
from psycopg.errors import (
    DuplicateObject,
    DuplicateTable,
    QueryCanceled,
    UndefinedObject,
    UndefinedTable,
)

from rollback.errors import DatabaseUnreachable, SchemaRefused
from rollback.schema import Script
from rollback.transactions import Connection, Database, shielded

from .catalogue import Catalogue, read_catalogue
from .copied import as_a_whole, execute, keep_to_the_copy, run_statements
from .probe import (
    MODES,
    Relations,
    Written,
    read_relations,
    read_server,
    set_probe,
    take_locks,
    take_shared,
    take_written,
)
from .running import footing, run
from .scripts import needs_no_transaction, statements
from .survey import Place

__all__ = ["Effect", "Trial", "try_scripts"]

LOCK_MILLISECONDS = 5000  # nobody else is in the copy
# What a statement says that was done before anybody could write so down.
DONE_ALREADY = (DuplicateObject, DuplicateTable, UndefinedObject, UndefinedTable)


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

    `shared` are the catalogues of the whole server that they write, and `server` is
    the same for all databases of one.
    """

    effects: tuple[Effect, ...]
    locks: tuple[tuple[str, str], ...]
    rewritten: tuple[str, ...]
    shared: tuple[str, ...]
    server: str = ""

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
    begun: frozenset[Place] = frozenset(),
    ended: frozenset[Place] = frozenset(),
) -> Trial:
    """Run the scripts on the copy at `url`, which has to be thrown away after.

    In one transaction, unless one of them says that it cannot be in one; then each is
    in its own, and the statements of that one in none: without those that an earlier
    run on production has `ended`. Of one that it has only `begun` nobody knows.

    Raises:
        SchemaRefused: a script fails, or ends the transaction.
        DatabaseUnreachable: the copy's server does not answer.

    """
    database = Database(url, statement_timeout_seconds=seconds)
    run = _Run(scripts, schemas, search_path, seconds, begun, ended)
    try:
        await database.transaction(run.prepare)
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
    begun: frozenset[Place]
    ended: frozenset[Place]

    async def prepare(self, connection: Connection) -> None:
        """Set the probe, and production's path for whoever resets his settings."""
        await set_probe(connection)
        await connection.execute(
            "SELECT set_config('search_path', %s, true)", [self.search_path]
        )
        name = sql.Identifier(connection.info.dbname)
        await connection.execute(
            sql.SQL("ALTER DATABASE {} SET search_path FROM CURRENT").format(name)
        )

    async def together(self, connection: Connection) -> Trial:
        """All in this transaction, of which nothing is to stay.

        Roles, for one, belong to the whole server, and so to production too.
        """
        async with connection.transaction(force_rollback=True):
            seen = _Seen(await read_relations(connection))
            catalogue = await self._catalogue(connection)
            for script in self.scripts:
                await self._whole(connection, script, local=True)
                catalogue = await self._see(connection, script, catalogue, seen)
            seen.lock(await take_locks(connection))
            shared = await take_shared(connection)
            return await seen.trial(connection, shared)

    async def apart(self, connection: Connection) -> Trial:
        """Each in a transaction of its own, or its statements in none."""
        async with connection.transaction():
            seen = _Seen(await read_relations(connection))
            catalogue = await self._catalogue(connection)
        for script in self.scripts:
            await self._settle(connection, local=False)
            if script.transactional:
                async with connection.transaction():
                    await self._whole(connection, script, local=False)
                    await keep_to_the_copy(connection, script)
                    seen.lock(await take_locks(connection))
            else:
                await self._one_by_one(connection, script, seen)
            async with connection.transaction():
                catalogue = await self._see(connection, script, catalogue, seen)
        async with connection.transaction():
            return await seen.trial(connection, ())

    async def _whole(
        self, connection: Connection, script: Script, *, local: bool
    ) -> None:
        """As production runs it; by its statements only to find one that fails."""
        await self._settle(connection, local=local)
        ground = await footing(connection, lock_timeout_ms=LOCK_MILLISECONDS)
        try:
            async with connection.transaction():
                await run(connection, script, ground)
        except (SchemaRefused, UnicodeEncodeError) as error:
            await self._settle(connection, local=local)
            if not isinstance(error.__cause__, QueryCanceled):
                await run_statements(connection, script)
            raise as_a_whole(script, error) from error

    async def _one_by_one(
        self, connection: Connection, script: Script, seen: "_Seen"
    ) -> None:
        """Only what cannot be in a transaction is in none: the rest can be seen."""
        for number, statement in enumerate(statements(script.text), 1):
            place = script.version, script.sha256, number
            if place in self.ended:
                continue
            if needs_no_transaction(statement):
                try:
                    await execute(connection, script, statement)
                except SchemaRefused as error:
                    known = place in self.begun
                    if not (known and isinstance(error.__cause__, DONE_ALREADY)):
                        raise
                continue
            async with connection.transaction():
                await execute(connection, script, statement)
                await keep_to_the_copy(connection, script)
                seen.lock(await take_locks(connection))

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

    async def trial(self, connection: Connection, shared: tuple[str, ...]) -> Trial:
        """All of it."""
        after = await read_relations(connection)
        return Trial(
            effects=tuple(self.effects),
            locks=tuple(sorted(self.locks.items())),
            rewritten=self.relations.rewritten(after),
            shared=shared,
            server=await read_server(connection),
        )
