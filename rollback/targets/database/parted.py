"""A rollback that is more than one transaction, because a script cannot be in one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from rollback.errors import StepFailed
from rollback.schema import Receipt, Script

from .transaction import Order

__all__ = ["joined", "parted"]


def parted(order: Order) -> Iterator[Order]:
    """The scripts that may be together in one transaction, and each other by itself."""
    scripts = order.plan.scripts
    at = 0
    for group in _groups(scripts):
        end = at + len(group)
        last = end == len(scripts)
        versions = {script.version for script in group}
        plan = replace(
            order.plan,
            scripts=group,
            from_version=group[0].version,
            to_version=order.plan.to_version if last else scripts[end].version,
            destroys=tuple(d for d in order.plan.destroys if d.version in versions),
            fingerprint=order.plan.fingerprint if last else None,
        )
        yield replace(order, plan=plan)
        at = end


def _groups(scripts: Sequence[Script]) -> Iterator[tuple[Script, ...]]:
    for transactional, group in groupby(scripts, key=lambda s: s.transactional):
        if transactional:
            yield tuple(group)
        else:
            yield from ((script,) for script in group)


def joined(order: Order, done: Sequence[Receipt]) -> Receipt:
    """One receipt of all parts.

    Raises:
        StepFailed: the schema is not the one that was recorded, and cannot be rolled
            back: it was committed statement by statement.

    """
    last = done[-1]
    wanted = order.plan.fingerprint
    if wanted is not None and last.fingerprint_sha256 != wanted.sha256:
        raise StepFailed(
            "The schema is not as recorded at "
            f"{order.plan.to_version}, and what was done is committed.",
            mend="Compare it with `rollback db --plan`, and finish by hand.",
        )
    return replace(
        last,
        from_version=order.plan.from_version,
        versions=order.plan.versions,
        plan_sha256=order.plan.sha256,
        fingerprint_compared=wanted is not None,
        destroyed=tuple(one for receipt in done for one in receipt.destroyed),
        archived=tuple(one for receipt in done for one in receipt.archived),
        attempts=max(receipt.attempts for receipt in done),
        waited=sum(receipt.waited for receipt in done),
        stalled=sum(receipt.stalled for receipt in done),
        total=sum(receipt.total for receipt in done),
        apart=tuple(version for receipt in done for version in receipt.apart),
    )
