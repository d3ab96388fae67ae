"""Whether the schema goes back together with the application, and which goes first.

A migration that the release before can live with stays: taking it back would only risk
values. One that it cannot live with goes back before the application does. What decides
is what was recorded with the releases that brought the migrations applied now.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import anyio

from .errors import DatabaseUnreachable, SchemaRefused, Unreachable
from .model import DeploymentVersion, Moved, Plan
from .ports import Database, Ledger
from .schema import SchemaPlan
from .targets.database.target import PART, step, tag

__all__ = ["Compatibility", "breaks"]

Live = Callable[[], Awaitable[Sequence[tuple[str, str]]]]

LOOKED_AT = 1000  # releases; what is older has no migration that is still above
PATIENCE_SECONDS = 5.0  # of the 60 in which a rollback has to be initiated


def breaks(
    releases: Iterable[DeploymentVersion], versions: Sequence[str], to: str
) -> bool | None:
    """Whether what ran on the schema `to` cannot run on the one that is applied.

    `versions` are those applied, oldest first. True where a release with one of those
    above `to` was recorded as incompatible with the one before it, False where every
    such version was recorded as compatible, the newest one among them; None where
    nobody said.
    """
    above = _above(versions, to)
    said: dict[str, set[bool | None]] = {}
    for release in releases:
        if release.db_migration_version in above:
            heard = said.setdefault(release.db_migration_version, set())
            heard.add(release.backward_compatible)
    if any(False in heard for heard in said.values()):
        return True
    known = all(True in heard for heard in said.values())
    return False if above and known and above[-1] in said else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """Adds the schema's step to a plan. `site` is where the site is reached.

    `live` asks which deployments serve production, each with its part.
    """

    database: Database
    ledger: Ledger
    environment: str
    site: str
    live: Live
    notice: Callable[[str], None]

    async def with_schema(
        self,
        planned: Plan,
        *,
        asked: bool,
        accept: frozenset[str],
        may: bool = True,
    ) -> Plan:
        """The plan, with the schema where it has to go back, or where that is `asked`.

        Raises a `Refused` when it has to, and cannot safely, or where it is not asked
        and `may` not: the application alone would go back to a schema that it does not
        run on.
        """
        try:
            releases = await self.ledger.history(self.environment, limit=LOOKED_AT)
            version = _version(releases, planned.to_deployment)
            if not asked and not _differ(releases, version):
                return planned
            versions = await self._versions()
            broken = breaks(releases, versions, version)
            if not asked and not broken:
                return self._left(planned, broken)
            if not asked and not may:
                raise SchemaRefused(
                    f"{planned.to_deployment} does not run on the schema that is "
                    "applied, and a gate may not take that back.",
                    mend="Do it by hand: `rollback run`.",
                )
            if planned.steps:  # else the schema alone was asked for
                above = _above(versions, version)
                await self._require_others(planned, releases, above)
            schema = await self._schema(planned, version, accept)
        except Unreachable as error:
            if asked:
                raise
            return self._noted(planned, f"the schema stays as it is: {error.message}")
        if schema is None:
            return planned
        if not planned.steps:
            return self._alone(planned, schema)
        return _joined(planned, schema, first=bool(broken))

    async def _versions(self) -> tuple[str, ...]:
        """A database that hangs holds up no traffic."""
        with anyio.move_on_after(PATIENCE_SECONDS):
            return await self.database.versions()
        raise DatabaseUnreachable(
            f"The database did not answer within {PATIENCE_SECONDS:.0f} s."
        )

    async def _require_others(
        self,
        planned: Plan,
        releases: Sequence[DeploymentVersion],
        above: Sequence[str],
    ) -> None:
        """What stays live must not lose the schema that it was built for."""
        moved = {planned.part, *(moved.part for moved in planned.also)}
        for part, deployment in await self.live():
            needs = _version(releases, deployment)
            if part not in moved and needs in above:
                raise SchemaRefused(
                    f"{deployment}, which is live as the {part}, was built for the "
                    f"schema {needs}: it would lose that.",
                    mend=f"Take the {part} back too: --only "
                    f"{','.join(sorted({*moved, part, PART}))}.",
                )

    def _alone(self, planned: Plan, schema: SchemaPlan) -> Plan:
        """The schema without the application, which has to be healthy on it."""
        return replace(
            planned,
            part=PART,
            from_deployment=tag(schema.from_version),
            to_deployment=tag(schema.to_version),
            steps=(step(schema, site=self.site, serves=planned.from_deployment),),
            schema=schema,
        )

    async def _schema(
        self, planned: Plan, version: str, accept: frozenset[str]
    ) -> SchemaPlan | None:
        if not version:
            raise SchemaRefused(
                f"Which schema {planned.to_deployment} ran on was not recorded.",
                mend="Name its version with `rollback db --to VERSION`.",
            )
        return await self.database.plan(version, accept=accept)

    def _left(self, planned: Plan, broken: bool | None) -> Plan:
        """The schema stays; that nobody knows whether it may is said, and recorded."""
        if broken is not None:
            return planned
        return self._noted(
            planned,
            f"whether {planned.to_deployment} runs on the schema that is applied was "
            "not recorded: the schema stays as it is",
        )

    def _noted(self, planned: Plan, note: str) -> Plan:
        self.notice(note)
        return replace(planned, notes=(*planned.notes, note))


def _above(versions: Sequence[str], to: str) -> Sequence[str]:
    """What was applied after a version; nothing after one that never was."""
    return versions[versions.index(to) + 1 :] if to in versions else ()


def _version(releases: Sequence[DeploymentVersion], deployment: str) -> str:
    """The migration that was recorded with a deployment; empty where none was."""
    known = {each.deployment_id: each.db_migration_version for each in releases}
    return known.get(deployment, "")


def _differ(releases: Sequence[DeploymentVersion], version: str) -> bool:
    """Whether any release is on record with another schema than this one."""
    return any(each.db_migration_version != version for each in releases)


def _joined(planned: Plan, schema: SchemaPlan, *, first: bool) -> Plan:
    own = step(schema)
    # Where the application would break on the schema it must not go before it.
    others = tuple(replace(s, independent=not first) for s in planned.steps)
    moved = Moved(
        part=PART,
        from_deployment=tag(schema.from_version),
        to_deployment=tag(schema.to_version),
    )
    return replace(
        planned,
        steps=(own, *others) if first else (*others, own),
        also=(*planned.also, moved),
        schema=schema,
    )
