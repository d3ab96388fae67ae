"""Stage 4: verdict and state become ordered steps, or a refusal. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .errors import NotATarget, SharedOutage
from .model import (
    Health,
    Moved,
    Plan,
    PlatformDeployment,
    RollingRelease,
    Step,
    Verdict,
)

__all__ = ["is_live", "joined", "make_plan"]

NAMES = {"application": "production", "api": "the API"}


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
