"""The engine's clocks, held against the specification and against what others saw.

The budgets stand here a second time on purpose: an engine that reports wrong ones must
not be believed. Times are unix seconds.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

# The specification's own numbers, in seconds; carrying out has none.
BUDGETS = {"identify": 120.0, "initiate": 60.0, "verify": 180.0, "communicate": 300.0}
PHASES = ("identify", "initiate", "carry_out", "verify", "communicate")
IN_A_ROW = ("identify", "initiate", "carry_out", "verify")
SAME = 0.05  # what rounding may make of one moment
NOTICED_WITHIN = 1.0  # from the ruling to the incident that it opens, or back
EFFECT_WITHIN = 5.0  # engine and visitors see the first bad second this far apart
VERIFY_AT_LEAST = 1.5  # three healthy checks, a second apart
SLOW_MS = 3000.0  # a request that takes longer is bad, by the specification

Spans = dict[str, tuple[float, float]]


def unix(at: str) -> float:
    """The unix time of a contract's timestamp."""
    return datetime.fromisoformat(at).timestamp()


def first_effect(
    requests: Iterable[Mapping[str, Any]], *, after: float
) -> float | None:
    """When the first visitor's request ended badly: failed, unknown or slow."""
    bad = (
        r["t"]
        for r in requests
        if r["t"] >= after
        and (r["outcome"] != "ok" or (r["ms"] is not None and r["ms"] > SLOW_MS))
    )
    return min(bad, default=None)


def problems(
    phases: Mapping[str, Mapping[str, Any]],
    *,
    decided_at: float,
    steady_at: float,
    effect_at: float,
) -> list[str]:
    """What cannot be true of these phases, or is over the specification's budgets."""
    missing = [name for name in PHASES if name not in phases]
    if missing:
        return [f"not measured: {', '.join(missing)}"]
    spans = {n: (unix(p["started_at"]), unix(p["ended_at"])) for n, p in phases.items()}
    return [
        *_lengths(phases, spans),
        *_order(spans),
        *_moments(spans, decided_at, steady_at, effect_at),
    ]


def _lengths(phases: Mapping[str, Mapping[str, Any]], spans: Spans) -> Iterator[str]:
    for name, (begin, end) in spans.items():
        seconds = phases[name]["seconds"]
        if seconds < 0:
            yield f"{name} took {seconds:.3f} s"
        if abs(seconds - (end - begin)) > SAME:
            yield f"{name} says {seconds:.3f} s and lasted {end - begin:.3f} s"
        budget = BUDGETS.get(name)
        if budget is not None and max(seconds, end - begin) > budget:
            yield f"{name} took {seconds:.1f} s of {budget:.0f}"


def _order(spans: Spans) -> Iterator[str]:
    for before, after in pairwise(IN_A_ROW):
        gap = spans[after][0] - spans[before][1]
        if abs(gap) > SAME:
            yield f"{after} begins {gap:.3f} s after the end of {before}"
        if spans[after][1] <= spans[before][1]:
            yield f"{after} does not end after {before}"
    length = spans["verify"][1] - spans["verify"][0]
    if length <= VERIFY_AT_LEAST:
        yield f"verify lasted {length:.3f} s, too short for three checks"


def _moments(
    spans: Spans, decided_at: float, steady_at: float, effect_at: float
) -> Iterator[str]:
    begin, end = spans["identify"]
    # Phases begin with whole seconds of the counters.
    if begin < int(steady_at):
        yield f"identify begins {steady_at - begin:.1f} s before the steady state"
    if begin > effect_at + EFFECT_WITHIN:
        yield f"identify begins {begin - effect_at:.1f} s after visitors saw the effect"
    if abs(end - decided_at) > NOTICED_WITHIN:
        yield f"identify ends {end - decided_at:.3f} s after the verdict"
    told = spans["communicate"][0]
    if abs(told - end) > SAME:
        yield f"communicate begins {told - end:.3f} s after the decision"
