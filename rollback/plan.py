"""Stage 4: verdict and state become ordered steps, or a refusal. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .errors import NotAsPlanned, NotATarget, SharedOutage
from .model import (
    Health,
    Moved,
    Plan,
    PlatformDeployment,
    RollingRelease,
    Step,
    Verdict,
)
from .schema import Destroyed, SchemaPlan

__all__ = ["as_agreed", "is_live", "joined", "make_plan", "schema_as_agreed"]

NAMES = {"application": "production", "api": "the API"}
MORE_ROWS = 1000  # so many more than were shown, and over twice as many, are others


def is_live(
    live: Mapping[str, str], deployment: str, rolling: RollingRelease | None = None
) -> bool:
    """Whether any production host serves this deployment now, to all or to some."""
    return deployment in live.values() or (
        rolling is not None and rolling.canary == deployment
    )


def make_plan(
    *,
    environment: str,
    candidate: PlatformDeployment,
    candidate_health: Health,
    target: PlatformDeployment,
    target_health: Health,
    reason: str,
    verdict: Verdict | None = None,
    moves: tuple[str, ...] = (),
    by_hand: tuple[str, ...] = (),
    auto_assign: bool | None = None,
    override: bool = False,
    part: str = "application",
    site: str = "",
) -> Plan:
    """The ordered steps that undo the candidate of one part, reached at `site`.

    `moves` are the hosts that the platform moves by itself, `by_hand` those that it
    would leave behind; `auto_assign` tells whether new builds go live by themselves.

    Raises `NotATarget` when the platform cannot go back to the target or it does not
    answer, and `SharedOutage` when it fails on what the candidate fails on, or was
    measured to be bad in the same way: then a rollback cannot help. `override` is a
    person's word that it is to be done anyway.
    """
    if not target.ready:
        raise NotATarget(f"The platform no longer holds {target.id} as ready.")
    if not override:
        _refuse_candidate(target)
        _refuse_outage(candidate_health, target, target_health)
        _refuse_as_bad(verdict, target)
    return Plan(
        environment=environment,
        from_deployment=candidate.id,
        to_deployment=target.id,
        reason=reason,
        moves=(*moves, *by_hand),
        override=override,
        auto_assign=auto_assign,
        part=part,
        steps=(
            Step(
                target=part,
                name=f"point {NAMES[part]} at {target.id}",
                from_deployment=candidate.id,
                to_deployment=target.id,
                hosts=by_hand,
                auto_assign=auto_assign,
                site=site,
                # A flag or another part that stays is no reason to leave traffic there.
                independent=True,
            ),
        ),
    )


def joined(plans: Sequence[Plan]) -> Plan | None:
    """One plan of the parts' own, in this order; None of none."""
    if not plans:
        return None
    first, *others = plans
    if not others:
        return first
    return replace(
        first,
        steps=tuple(step for p in plans for step in p.steps),
        moves=tuple(host for p in plans for host in p.moves),
        also=tuple(
            Moved(
                part=p.part,
                from_deployment=p.from_deployment,
                to_deployment=p.to_deployment,
            )
            for p in others
        ),
    )


def _refuse_candidate(target: PlatformDeployment) -> None:
    if not (target.candidate and target.served):
        why = "it is not on its list" if target.served else "it has never served"
        raise NotATarget(
            f"The platform does not offer {target.id} for a rollback: {why}."
        )


def _refuse_outage(
    candidate: Health, target: PlatformDeployment, health: Health
) -> None:
    shared = candidate.unhealthy & health.unhealthy
    if shared:
        named = ", ".join(sorted(shared))
        raise SharedOutage(
            f"{target.id} fails on {named} too, like the candidate: "
            "a rollback cannot help."
        )
    if health.problem:
        raise NotATarget(f"{target.id} does not answer: {health.problem}")


def _refuse_as_bad(verdict: Verdict | None, target: PlatformDeployment) -> None:
    if verdict is None or verdict.stable != target.id or not verdict.shared:
        return
    seen = ", ".join(
        f"{state.signal.replace('_', ' ')} {state.bad} of {state.requests}"
        for state in verdict.baseline
        if state.signal in verdict.shared
    )
    raise SharedOutage(
        f"{target.id} does as badly as the candidate ({seen}): a rollback cannot help.",
        mend="Look for what both depend on; both work again when that does.",
    )


# -- what was agreed to -------------------------------------------------------


def as_agreed(shown: Plan, planned: Plan) -> Plan:
    """The plan of now; raises `NotAsPlanned` where it is not the one that was shown.

    What somebody said yes to is what is done, however long the answer took.
    """
    if _deeds(planned) != _deeds(shown):
        raise NotAsPlanned(
            "What would be done has changed since it was shown.",
            mend="Run it again, and look at what it shows now.",
        )
    if shown.schema or planned.schema:
        schema_as_agreed(shown.schema, planned.schema)
    return planned


def schema_as_agreed(
    shown: SchemaPlan | None, planned: SchemaPlan | None
) -> SchemaPlan:
    """The schema's; what is destroyed may have grown, but not to something else."""
    if shown is None or planned is None or planned.sha256 != shown.sha256:
        raise NotAsPlanned(
            "What would be done to the schema has changed since it was shown."
        )
    counted = {_what(each): each.rows or 0 for each in shown.destroys}
    for each in planned.destroys:
        before, now = counted[_what(each)], each.rows or 0
        if now > 2 * before and now - before > MORE_ROWS:
            raise NotAsPlanned(
                f"What would be destroyed of {each.object} has grown since it was "
                f"shown, from {before} rows or values to {now}."
            )
    return planned


def _deeds(plan: Plan) -> object:
    steps = [(s.target, s.from_deployment, s.to_deployment) for s in plan.steps]
    ends = (plan.part, plan.from_deployment, plan.to_deployment)
    return ends, plan.also, steps, frozenset(plan.moves)


def _what(each: Destroyed) -> tuple[str, str, str]:
    return each.version, each.kind, each.object
