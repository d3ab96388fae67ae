"""Whether the schema goes back together with the application, and which goes first.

A migration that the release before can live with stays: taking it back would only risk
values. One that it cannot live with goes back before the application does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from .errors import SchemaRefused, Unreachable
from .model import DeploymentVersion, Moved, Plan
from .ports import Database, Ledger
from .schema import SchemaPlan
from .targets.database.target import PART, step, tag
from .track import KEPT

__all__ = ["Compatibility"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """Adds the schema's step to a plan. `site` is where the site is reached."""

    database: Database
    ledger: Ledger
    environment: str
    site: str
    notice: Callable[[str], None]

    async def with_schema(
        self, planned: Plan, *, asked: bool, accept: frozenset[str]
    ) -> Plan:
        """The plan, with the schema where it has to go back, or where that is `asked`.

        Raises a `Refused` when it has to, and cannot safely: the application alone
        would go back to a schema that it does not run on.
        """
        try:
            releases = await self._since(planned)
            version = releases[0].db_migration_version if releases else ""
            breaks = _breaks(releases, version)
            if not asked and not breaks:
                return await self._left(planned, version, breaks)
            schema = await self._schema(planned, version, accept)
        except Unreachable as error:
            if asked:
                raise
            self.notice(f"the schema stays as it is: {error.message}")
            return planned
        if schema is None:
            return planned
        if not planned.steps:
            return self._alone(planned, schema)
        return _joined(planned, schema, first=bool(breaks))

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

    async def _since(self, planned: Plan) -> list[DeploymentVersion]:
        """The target's release, and those of the same part since then, oldest first.

        Empty where the target was not recorded.
        """
        known = await self.ledger.history(
            self.environment, limit=KEPT * KEPT, part=planned.part
        )
        newest_first = [release.deployment_id for release in known]
        if planned.to_deployment not in newest_first:
            return []
        end = newest_first.index(planned.to_deployment)
        return list(reversed(known[: end + 1]))

    async def _schema(
        self, planned: Plan, version: str, accept: frozenset[str]
    ) -> SchemaPlan | None:
        if not version:
            raise SchemaRefused(
                f"Which schema {planned.to_deployment} ran on was not recorded.",
                mend="Name its version with `rollback db --to VERSION`.",
            )
        return await self.database.plan(version, accept=accept)

    async def _left(self, planned: Plan, version: str, breaks: bool | None) -> Plan:
        """The schema stays; that nobody knows whether it may is said."""
        current = await self.database.version()
        if version and current != version and breaks is None:
            self.notice(
                f"whether {planned.to_deployment} runs on the schema {current} was not "
                "recorded: the schema stays as it is"
            )
        return planned


def _breaks(releases: list[DeploymentVersion], version: str) -> bool | None:
    """Whether the target cannot run on a schema since its own; None: not known."""
    said = [
        release.backward_compatible
        for release in releases[1:]
        if release.db_migration_version != version
    ]
    if False in said:
        return True
    return None if None in said or not said else False


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
