"""How people and programs are told what a rollback of the schema would do."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .errors import RollbackError
from .render import Screen
from .schema import Destroyed, Holder, SchemaPlan, TableLock

__all__ = ["destruction", "plan_document", "show_nothing", "show_plan", "show_refusal"]

NAMED = 6  # more than these are counted instead


# -- a plan ---------------------------------------------------------------------


def plan_document(
    plan: SchemaPlan, environment: str, accept: Iterable[str]
) -> dict[str, Any]:
    """A plan as the contract's JSON."""
    return {
        "environment": environment,
        "from": plan.from_version,
        "to": plan.to_version,
        "versions": list(plan.versions),
        "destroys": [_destroyed(each) for each in plan.destroys],
        "refusal": None,
        "outcome": None,
        "written": list(plan.written),
        "locks": [_lock(lock) for lock in plan.locks],
        "stall_seconds": round(plan.stall_seconds, 3),
        "notes": list(plan.notes),
        "scripts": [
            {
                "version": script.version,
                "path": str(script.path),
                "sha256": script.sha256,
                "transactional": script.transactional,
            }
            for script in plan.scripts
        ],
        "fingerprint": plan.fingerprint.sha256 if plan.fingerprint else None,
        "sha256": plan.sha256,
        "accept": sorted(accept),
    }


def _without_plan(environment: str, current: str | None, to: str) -> dict[str, Any]:
    return {
        "environment": environment,
        "from": current,
        "to": to,
        "versions": [],
        "destroys": [],
    }


def _destroyed(each: Destroyed) -> dict[str, Any]:
    return {
        "object": each.object,
        "kind": each.kind,
        "rows": each.rows,
        "version": each.version,
    }


def _lock(lock: TableLock) -> dict[str, Any]:
    return {
        "table": lock.table,
        "mode": lock.mode,
        "holders": [
            {
                "pid": holder.pid,
                "application": holder.application,
                "user": holder.user,
                "state": holder.state,
                "seconds": round(holder.seconds, 3),
            }
            for holder in lock.holders
        ],
    }


def show_plan(screen: Screen, plan: SchemaPlan, environment: str) -> None:
    """What would be done, for people."""
    screen.say(
        f"{environment}: the schema goes from {plan.from_version} to {plan.to_version}",
        "bold",
    )
    screen.table(
        ("", "version", "script"),
        [("takes back", s.version, str(s.path)) for s in plan.scripts],
    )
    screen.table(
        ("", "kind", "object", "rows or values", "by"),
        [
            ("destroys", d.kind, d.object, _count(d.rows), d.version)
            for d in plan.destroys
        ],
    )
    screen.table(
        ("", "table", "mode", "held just now by"),
        [("locks", x.table, x.mode, _holders(x.holders)) for x in plan.locks],
    )
    if not plan.destroys:
        screen.say("it destroys nothing", "green")
    screen.say(f"writers wait for about {plan.stall_seconds:.2f} s")
    if not plan.fingerprint:
        screen.say(
            f"no fingerprint is recorded at {plan.to_version}: whether the schema "
            "comes out as it was then is not compared",
            "yellow",
        )
    for note in plan.notes:
        screen.say(f"note: {note}", "yellow")


def _count(rows: int | None) -> str:
    return "-" if rows is None else str(rows)


def _holders(holders: Sequence[Holder]) -> str:
    said = [
        f"{h.application or h.user} (pid {h.pid}, {h.state}, {h.seconds:.0f} s)"
        for h in holders
    ]
    return ", ".join(said) or "nobody"


def destruction(plan: SchemaPlan) -> str:
    """What is destroyed, in a sentence for the question."""
    if not plan.destroys:
        return "It destroys nothing."
    values = sum(each.rows or 0 for each in plan.destroys)
    named = [f"{each.kind} {each.object}" for each in plan.destroys[:NAMED]]
    rest = Counter(each.kind for each in plan.destroys[NAMED:])
    more = [f"{number} more of the kind {kind}" for kind, number in rest.items()]
    return (
        f"It destroys {', '.join([*named, *more])}; {values} rows or values are "
        "archived before."
    )


def show_nothing(
    screen: Screen, environment: str, version: str, *, planned: bool
) -> None:
    """The target is what is there."""
    said = _without_plan(environment, version, version)
    more: dict[str, Any] = {"refusal": None} if planned else {"incident": None}
    screen.data(said | more | {"outcome": "nothing_to_do"})
    screen.say(f"nothing to do: the schema is at {version} already", "cyan")


def show_refusal(
    screen: Screen,
    environment: str,
    *,
    current: str | None,
    to: str,
    error: RollbackError,
) -> None:
    """Why there is no plan."""
    screen.data(
        _without_plan(environment, current, to)
        | {
            "refusal": error.message,
            "mend": error.mend,
            "needs": getattr(error, "accept", None),
            "outcome": "refused",
        }
    )
