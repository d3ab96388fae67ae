"""Sentences for the person who decides: what a list of objects does not say."""

from collections.abc import Iterator, Sequence

from rollback.schema import Script

from .catalogue import changed, moved
from .losses import Loss
from .scripts import statements
from .stalls import Counts
from .survey import Sizes, Survey
from .trial import Trial

__all__ = ["remarks"]

SHOWN = 20
_CANNOT_SEE = frozenset({"DO", "CALL"})


def remarks(
    trial: Trial, lost: Sequence[Loss], counts: Counts, sizes: Sizes, now: Survey
) -> Iterator[str]:
    """What could not be seen or counted, and what is made differently."""
    for effect in trial.effects:
        yield from _on_script(effect.script)
    for one in lost:
        yield from _on_rows(one, counts, sizes)
    if now.outside:
        yield (
            f"The schemas lead to {', '.join(now.outside[:SHOWN])} outside of them: "
            "the copy has a stand-in for each."
        )
    if trial.server == now.server:
        yield (
            "The copy was on production's own server: ROLLBACK_SCRATCH_URL can name "
            "another one."
        )
    if trial.shared:
        yield (
            f"The scripts change {', '.join(trial.shared)}, which all databases of the "
            "server share."
        )
    yield from _some("Changed: ", changed(trial.first, trial.last))
    yield from _some(
        "The columns stand in another order then: ", moved(trial.first, trial.last)
    )


def _on_script(script: Script) -> Iterator[str]:
    name = script.path.name
    if any(
        one.words[:1] and one.words[0] in _CANNOT_SEE for one in statements(script.text)
    ):
        yield (
            f"{name} has a DO block or calls a procedure: what that does to rows, or "
            "because of them, does not show on a copy without rows."
        )
    if not script.transactional:
        yield f"What {name} locks outside of a transaction was not seen."


def _on_rows(one: Loss, counts: Counts, sizes: Sizes) -> Iterator[str]:
    if one.kind in {"updated", "deleted"}:
        rows = sizes.rows.get(one.now.identity, 0) if one.now else 0
        yield (
            f"How many rows of {one.object} are {one.kind} is known only when it is "
            f"done; there are about {rows}."
        )
    elif one.wanted is not None and counts.get(one.wanted) is None:
        yield f"What {one.kind} {one.object} holds could not be counted in time."
    elif one.kind == "column" and one.now is None:
        yield f"{one.object} is not there yet: a script before makes it."


def _some(beginning: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = len(names) - SHOWN
        shown = "; ".join(names[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
        yield f"{beginning}{shown}."
