"""What a recovery of the state would do now, step by step in plain words.

It only looks. What is refused is refused here, before anything is touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from .backup_choice import Choice, Restoring, describe
from .engine import Engine
from .errors import RollbackError, SettingMissing, SharedOutage
from .last_good import not_passed
from .model import DeploymentVersion, HealthStatus, Plan, Step
from .ports import Database, Keys, Restores
from .recovery_history import PART, RESTORE, Ask, Earlier, History
from .release_left import release_left
from .schema import Backup
from .targets.state import require_prefixes

__all__ = ["PART", "Ask", "Planner", "RecoveryPlan"]

BACKUP = "backup"
GOOD = "the last known good state"
BACKUP_IS_NEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlan:
    """The steps, and what each of them will do now. `resumes` names the first run.

    `last` is the last recovery that was known, `safe` the backup that an earlier run
    has taken. `notes` are warnings.
    """

    ask: Ask
    plan: Plan
    says: tuple[tuple[str, ...], ...]
    restoring: Restoring | None = None
    last: str | None = None
    resumes: str | None = None
    safe: Backup | None = None
    notes: tuple[str, ...] = ()

    @property
    def in_turn(self) -> Plan:
        """What is done one after the other: the backup goes on beside it."""
        after = [step for step in self.plan.steps if step.target != BACKUP]
        return replace(self.plan, steps=tuple(after))


@dataclass(slots=True)
class _Lines:
    """The steps so far, each with its words."""

    steps: list[Step] = field(default_factory=list)
    says: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, target: str, name: str, says: Sequence[str], about: str = "") -> None:
        step = Step(
            target=target,
            name=name,
            from_deployment=PART,
            to_deployment=about or target,
            independent=True,  # what cannot be done keeps nothing else from being done
        )
        self.steps.append(step)
        self.says.append(tuple(says))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Goal:
    """The deployment that will be live; `later` where that has to wait for the rows."""

    says: tuple[str, ...]
    release: DeploymentVersion | None = None
    later: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Looks at everything that a recovery concerns. Without `restores`: no database."""

    engine: Engine
    restores: Restores | None = None
    keys: Keys | None = None
    prefixes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    async def plan(self, ask: Ask) -> RecoveryPlan:
        """What would be done now; raises a `Refused` when it cannot be done safely."""
        require_prefixes(self.prefixes)
        earlier, lines = await self.history.earlier(ask), _Lines()
        safe = await self._backup(lines, earlier)
        goal = await self._goal(ask)
        last_good = "last-good", "let production serve what has passed", goal.says
        if not goal.later:
            lines.add(*last_good)
        restoring = await self._restoring(ask, earlier, lines, goal)
        if goal.later:
            lines.add(*last_good)
        await self._caches(lines)
        if ask.redeploy:
            lines.add("redeploy", "build and start the functions anew", REDEPLOY)
        return RecoveryPlan(
            ask=ask,
            plan=Plan(
                environment=self.engine.policy.environment,
                from_deployment=PART,
                to_deployment=restoring.backup.name if restoring else GOOD,
                reason=ask.reason,
                steps=tuple(lines.steps),
                part=PART,
            ),
            says=tuple(lines.says),
            restoring=restoring,
            last=earlier.last,
            resumes=earlier.token,
            safe=safe,
            notes=tuple(lines.notes),
        )

    @property
    def history(self) -> History:
        """The recoveries before this one."""
        engine = self.engine
        return History(
            ledger=engine.ledger,
            environment=engine.policy.environment,
            clock=engine.clock,
            notice=engine.notice,
        )

    async def _backup(self, lines: _Lines, earlier: Earlier) -> Backup | None:
        if self.engine.database is None or self.restores is None:
            lines.notes.append("no database is set: nothing is backed up")
            return None
        safe = None
        for known in await self.restores.backups() if earlier.safe else ():
            age = self.engine.clock.now() - known.taken_at
            if known.path == earlier.safe and age < BACKUP_IS_NEW:
                safe = known
        taken = f"It is taken already: {safe.name}." if safe else BESIDE
        lines.add(BACKUP, "back up the database", [taken])
        return safe

    async def _goal(self, ask: Ask) -> _Goal:
        """What will be live, and what the engine says to that."""
        # The schema comes with the rows, where these are restored.
        engine = replace(self.engine, database=None) if ask.with_database else None
        engine = engine or self.engine
        release: DeploymentVersion | None = None
        try:
            parts = await not_passed(engine)
            release = await self._release(engine, parts)
            if not parts:
                return _Goal(says=(_serves(release),), release=release)
            planned = await engine.plan(reason=ask.reason, only=parts)
        except RollbackError as error:
            later = ask.with_database and isinstance(error, SharedOutage)
            now = f"As things are now it cannot be done: {error.message}"
            says = (now, "It is tried once the rows are back.") if later else (now,)
            return _Goal(says=says, release=release, later=later)
        if planned is None:
            return _Goal(says=("Nothing is to be moved.",), release=release)
        steps = tuple(f"{step.target}: {step.name}." for step in planned.steps)
        return _Goal(says=(*steps, MEASURED), release=release)

    async def _release(self, engine: Engine, parts: Sequence[str]) -> DeploymentVersion:
        if "application" in parts:
            return await engine.stable()
        known = engine.alone("application").preparation.deployments
        return await known.recorded(await known.live())

    async def _restoring(
        self, ask: Ask, earlier: Earlier, lines: _Lines, goal: _Goal
    ) -> Restoring | None:
        if not ask.with_database:
            return None
        if self.restores is None or self.engine.database is None:
            raise SettingMissing("DATABASE_URL", purpose="to restore it")
        name = ask.backup or earlier.chosen
        choice = Choice(
            restores=self.restores,
            ledger=self.engine.ledger,
            environment=self.engine.policy.environment,
            notice=self.engine.notice,
            swap=ask.swap,
            token=earlier.token,
            another=earlier.safe is None,
            left=None if name else await release_left(self.engine),
            applied=await self._applied(self.engine.database),
        )
        found = await choice.made(name, goal.release)
        lines.notes.extend(found.notes)
        does = f"restore the database from {found.backup.name}"
        says = describe(found, now=self.engine.clock.now())
        lines.add(RESTORE, does, says, found.backup.name)
        return found

    async def _applied(self, database: Database) -> tuple[str, ...]:
        try:
            return await database.versions()
        except RollbackError as error:
            self.engine.notice(f"which migrations are applied: {error.message}")
            return ()

    async def _caches(self, lines: _Lines) -> None:
        if self.keys:
            for prefix in self.prefixes:
                says = await self._count(self.keys, prefix)
                lines.add("caches", f"empty the cache {prefix}*", [says], prefix)
        elif self.prefixes:
            lines.notes.append("REDIS_URL is not set: no keys are removed")
        if self.tags:
            named = ", ".join(self.tags)
            lines.add("edge", f"purge {named} at the edge", [PURGE], named)
        if not self.prefixes and not self.tags:
            lines.notes.append(
                "no cache is named (ROLLBACK_CACHE_PREFIXES, ROLLBACK_CACHE_TAGS): "
                "none is emptied"
            )

    async def _count(self, keys: Keys, prefix: str) -> str:
        try:
            there = await keys.count(prefix)
        except RollbackError as error:
            return f"How many keys there are is not known: {error.message}"
        return f"{there} keys begin with it now. No other key is touched."


def _serves(release: DeploymentVersion) -> str:
    passed = release.health_check_status is HealthStatus.PASSING
    return (SERVES if passed else GONE_BACK_TO).format(release.deployment_id)


BESIDE = (
    "A new one of what is there now, begun before anything else. The restore and a "
    "change of the schema wait until it is verified, and nothing else does."
)
SERVES = "{} is live and has passed: nothing is to be done."
GONE_BACK_TO = (
    "{} is what the last rollback went back to; whether it has passed is not known "
    "without the ledger. It is left there."
)
MEASURED = "It is measured from outside, as any rollback is, and has its own incident."
PURGE = "What the edge and the platform keep under these tags is deleted."
REDEPLOY = (
    "What is live is built anew, with the environment variables of now.",
    "It is looked at before production is moved to it, and recorded.",
)
