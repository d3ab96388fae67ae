"""What does the steps of a recovery: each target, with what it needs of the others."""

from dataclasses import dataclass, replace

from .engine import Engine
from .last_good import BackedUp, LastGood
from .ports import Cache, Keys, Restores, Target
from .recovery_plan import RecoveryPlan
from .redeploy import Redeployed
from .targets.database.target import Backing
from .targets.state import Emptied, Purged, Restored

__all__ = ["RecoveryTargets"]

# How long the site is waited for while the rows are not back yet.
BEFORE_ROWS_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryTargets:
    """Makes the targets of one run. `backing` is the backup that goes on beside it."""

    engine: Engine
    planned: RecoveryPlan
    token: str
    backing: Backing
    restores: Restores | None
    keys: Keys | None
    cache: Cache | None
    tags: tuple[str, ...]

    def targets(self) -> dict[str, Target]:
        """Each of them by its name."""
        found: list[Target | None] = [
            self._last_good(),
            self._restored(),
            Emptied(self.keys, self.engine.notice) if self.keys else None,
            Purged(self.cache, self.tags) if self.cache else None,
            self._redeployed(),
        ]
        return {target.name: target for target in found if target}

    def _last_good(self) -> Target:
        """By an engine that takes no second backup, and waits for no lost rows."""
        engine, restoring = self.engine, self.planned.restoring
        if restoring and not restoring.done_at:
            policy = replace(engine.policy, restore_timeout_seconds=BEFORE_ROWS_SECONDS)
            engine = replace(engine, database=None, policy=policy)
        elif engine.database:
            backed_up = BackedUp(engine.database, self.backing.verified)
            engine = replace(engine, database=backed_up)
        return LastGood(engine=engine, token=self.token, notice=engine.notice)

    def _restored(self) -> Target | None:
        restoring = self.planned.restoring
        if not (restoring and self.restores):
            return None
        return Restored(
            restores=self.restores,
            backup=restoring.backup,
            backing=self.backing,
            token=self.token,
            swap=restoring.swap,
            notice=self.engine.notice,
        )

    def _redeployed(self) -> Target:
        return Redeployed(
            engine=self.engine.alone("application"),
            token=self.token,
            notice=self.engine.notice,
        )
