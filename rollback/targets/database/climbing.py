"""One version up, down and up again, and what is found on the way."""

from dataclasses import dataclass, replace

from psycopg import Error

from rollback.errors import RollbackError
from rollback.schema import Refilled

from .catalogue import Catalogue, moved
from .ground import Ground, Level, first_line
from .refill import refill
from .values import lost

__all__ = ["Climber", "Finding", "Stair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with one version, in a sentence, and line by line.

    `kind`: `script` (missing, empty, not usable), `up`, `down`, `again` (that way it
    fails), `schema` (not given back), `values` (lost or changed), `refill`, `seed`.
    """

    kind: str
    sentence: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stair:
    """One version, taken up, down and up again.

    `no_return`: the reason that its script gives for being no way back; then nothing
    was tried. `values`: how many were compared. `warnings`: what proves less than it
    could, such as a table without rows. `archived`: values that the archive gave back.
    """

    version: str
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    no_return: str | None = None
    tables: int = 0
    values: int = 0
    archived: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with it; a point of no return is not wrong."""
        return not self.findings


@dataclass(slots=True, kw_only=True)
class Climber:
    """Climbs the versions on one ground, oldest first.

    It is not `clean` after one that left something else behind than it should have.
    `reached` is what there is after the last one, where that is known.
    """

    ground: Ground
    clean: bool = True
    reached: Level | None = None

    async def rise(self, version: str) -> None:
        """Apply a version that was climbed on another ground, and seed it."""
        tables = await self.ground.database.transaction(self.ground.tables)
        await self.ground.up(version)
        await self.ground.sow(version, tables)

    async def stair(self, version: str) -> Stair:
        """Take one version up, down and up again."""
        self.ground.notice(f"{version}: up, down and up again")
        before = self.reached or await self.ground.level()
        self.reached = None
        stair = Stair(
            version=version,
            tables=len(before.tables),
            values=sum(held.size for held in before.values.values()),
        )
        try:
            await self.ground.up(version)
        except (Error, RollbackError) as error:
            return self._spoilt(
                stair, "up", f"It cannot be applied: {first_line(error)}."
            )
        new = await self.ground.catalogue()
        stair = await self._sown(stair, before)
        if reason := self.ground.no_return(version):
            return replace(stair, no_return=reason)
        if self.ground.makes_history(version):
            said = "It makes the history of migrations: it was not taken back."
            return replace(stair, warnings=(*stair.warnings, said))
        return await self._back(stair, before, new)

    async def _sown(self, stair: Stair, before: Level) -> Stair:
        problem, without = await self.ground.sow(stair.version, before.tables)
        warnings = tuple(
            f"{name} was given no values, so nothing is proved of them: {why}"
            for name, why in without.items()
        )
        stair = replace(stair, warnings=warnings)
        return _with(stair, "seed", problem) if problem else stair

    async def _back(self, stair: Stair, before: Level, new: Catalogue) -> Stair:
        """Down, and up again where that went well."""
        full = await self.ground.level(new)
        try:
            receipt = await self.ground.down(stair.version)
        except (Error, RollbackError) as error:
            self.reached = full
            return _with(
                stair, "down", f"It cannot be taken back: {first_line(error)}."
            )
        stair = self._compared(stair, before, await self.ground.level())
        try:
            await self.ground.up(stair.version)
        except (Error, RollbackError) as error:
            said = f"It cannot be applied again: {first_line(error)}."
            return self._spoilt(stair, "again", said)
        again = await self.ground.catalogue()
        said = "Applied again, it does not make the same schema:"
        stair = _schema(stair, new, again, said)
        self.clean = stair.ok
        if not stair.ok:
            return stair
        return await self._refilled(stair, full, again, archived=bool(receipt.archived))

    def _compared(self, stair: Stair, before: Level, after: Level) -> Stair:
        said = "Its rollback does not give the schema back (- lacking, + left over):"
        stair = _schema(stair, before.catalogue, after.catalogue, said)
        if other := lost(before.values, after.values):
            stair = _with(
                stair, "values", "Its rollback changes or loses values:", other
            )
        tables = moved(before.catalogue, after.catalogue)
        order = tuple(
            f"the columns of {each} stand in another order" for each in tables
        )
        return replace(stair, warnings=(*stair.warnings, *order))

    async def _refilled(
        self, stair: Stair, full: Level, again: Catalogue, *, archived: bool
    ) -> Stair:
        """See that the values which the rollback took away are there again."""
        stayed: tuple[str, ...] = ()
        if archived:
            done = await refill(
                self.ground.database, stair.version, notice=lambda _: None
            )
            back = sum(each.put_back for each in done.objects)
            stair, stayed = replace(stair, archived=back), _stayed(done)
        self.reached = await self.ground.level(again)
        other = lost(full.values, self.reached.values)
        self.clean = not other
        if other and stayed:
            return replace(stair, warnings=(*stair.warnings, *stayed))
        if other:
            said = "Applied again and refilled, its values are not what they were:"
            return _with(stair, "refill", said, other)
        return stair

    def _spoilt(self, stair: Stair, kind: str, sentence: str) -> Stair:
        self.clean = False
        return _with(stair, kind, sentence)


def _stayed(done: Refilled) -> tuple[str, ...]:
    """What stays in the archive, and is not lost."""
    left = (
        f"{each.object}: {left.rows} values stay in the archive: {left.reason}"
        for each in done.objects
        for left in each.left
    )
    newer = (
        f"{each.object}: {each.newer_kept} values stay in the archive, as applied "
        "again it has others"
        for each in done.objects
        if each.newer_kept
    )
    return (*left, *newer)


def _schema(stair: Stair, before: Catalogue, after: Catalogue, said: str) -> Stair:
    lines = after.fingerprint.differences(before.fingerprint)
    return _with(stair, "schema", said, lines) if lines else stair


def _with(stair: Stair, kind: str, sentence: str, lines: tuple[str, ...] = ()) -> Stair:
    finding = Finding(kind=kind, sentence=sentence, lines=lines)
    return replace(stair, findings=(*stair.findings, finding))
