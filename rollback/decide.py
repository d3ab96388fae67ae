"""Stage 3: the decision matrix, rows of data; the first that matches names itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .evidence import CAP, HORIZON, SUSPICION, Evidence, confidence
from .model import (
    Counts,
    CriticalError,
    Judgement,
    Observation,
    Signal,
    SignalState,
    Verdict,
)

__all__ = ["MATRIX", "Limits", "decide"]

COVERAGE = 0.9  # the share of a window's seconds that must hold a measurement
REFERENCE = 1.5  # times the threshold: between what is good and what is bad


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a deployment is bad, and what must be seen before it is called healthy.

    `thresholds` are proportions of bad outcomes that may be reached, not passed. The
    evidence is weighed in batches of `batch_seconds`, each of which multiplies it by
    `cap` at most; faults are expected within `horizon_seconds`. With `strict_window`
    evidence rolls back only while the window's proportion is over its threshold too.
    """

    thresholds: tuple[tuple[Signal, float], ...]
    critical_errors: tuple[str, ...]
    window_seconds: float = 300
    min_requests: int = 1000
    healthy_requests: int = 100
    alpha: float = 1e-3
    confidence: float | None = None
    batch_seconds: int = 1
    cap: float = CAP
    horizon_seconds: int = HORIZON
    strict_window: bool = False

    @property
    def proof(self) -> float:
        """The evidence at which a signal has proved bad; alpha is shared by all."""
        return len(self.thresholds) / self.alpha

    def start(self) -> dict[Signal, Evidence]:
        """The evidence of every signal before anything was seen."""
        horizon = max(1, self.horizon_seconds // self.batch_seconds)
        return {
            signal: Evidence(threshold, cap=self.cap, horizon=horizon)
            for signal, threshold in self.thresholds
        }


@dataclass(frozen=True, slots=True)
class Look:
    """All that a row may look at."""

    seen: Observation
    signals: tuple[SignalState, ...]
    baseline: tuple[SignalState, ...]
    certainty: float
    limits: Limits
    complete: bool

    @property
    def covered(self) -> float:
        """The share of the seconds that hold a measurement."""
        length = self.seen.until - self.seen.since
        return len(self.seen.counts) / length if length > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Match:
    """What a row says when it matches."""

    judgement: Judgement
    reason: str
    signal: Signal | None = None


def decide(
    seen: Observation,
    evidence: Mapping[Signal, Evidence],
    limits: Limits,
    *,
    baseline: Mapping[Signal, Evidence] | None = None,
    complete: bool = False,
) -> Verdict:
    """Judge what was seen; `complete` when the window asked for is over.

    `seen` is the trailing window; `evidence`, and `baseline` for the stable deployment,
    cover everything since the start.
    """
    look = Look(
        seen=seen,
        signals=_states(seen.counts, evidence, limits),
        baseline=_states(seen.baseline, baseline, limits) if baseline else (),
        certainty=min(confidence(evidence[signal]) for signal, _ in limits.thresholds),
        limits=limits,
        complete=complete,
    )
    for row, matches in MATRIX:
        match = matches(look)
        if match:
            return _verdict(look, row, match)
    raise AssertionError("the last row of the matrix always matches")


def _verdict(look: Look, row: str, match: Match) -> Verdict:
    seen = look.seen
    return Verdict(
        deployment=seen.deployment,
        judgement=match.judgement,
        row=row,
        reason=match.reason,
        signals=look.signals,
        critical_errors=_critical(look),
        signal=match.signal,
        second=seen.until - 1,
        bad_since=_bad_since(look, match),
        sources=seen.sources,
        proof=look.limits.proof,
        stable=seen.stable,
        baseline=look.baseline,
        shared=_shared(look) if match.signal else (),
    )


def _states(
    counts: Sequence[Counts], evidence: Mapping[Signal, Evidence], limits: Limits
) -> tuple[SignalState, ...]:
    states = []
    for signal, threshold in limits.thresholds:
        pairs = [each.of(signal) for each in counts]
        states.append(
            SignalState(
                signal=signal,
                requests=sum(n for _, n in pairs),
                bad=sum(bad for bad, _ in pairs),
                threshold=threshold,
                evidence=evidence[signal].value,
            )
        )
    return tuple(states)


def _shared(look: Look) -> tuple[Signal, ...]:
    """What is bad about the candidate, if the stable one is suspected of all of it.

    Health checks that fail are compared when a rollback is planned, by what they name.
    """
    bad = {s.signal for s in look.signals if _proved(s, look) or _over(s, look)}
    sick = {s.signal for s in look.baseline if s.evidence >= SUSPICION}
    if Signal.AVAILABILITY in bad or not bad <= sick:
        return ()
    return tuple(s.signal for s in look.signals if s.signal in bad)


def _critical(look: Look) -> tuple[CriticalError, ...]:
    codes = look.limits.critical_errors
    return tuple(e for e in look.seen.critical_errors if e.code in codes)


def critical_error(look: Look) -> Match | None:
    """A critical error of the candidate rolls back at once."""
    errors = _critical(look)
    if not errors:
        return None
    said = ", ".join(f"{error.code} ({error.count}x)" for error in errors)
    return Match(Judgement.ROLL_BACK, f"critical error: {said}")


def proved(look: Look) -> Match | None:
    """The evidence of one signal reached the bound: early, at any traffic."""
    over = [state for state in look.signals if _proved(state, look)]
    if not over:
        return None
    worst = max(over, key=lambda s: s.evidence)
    return Match(
        Judgement.ROLL_BACK,
        f"{_said(worst)}; the evidence is {worst.evidence:,.0f} "
        f"of {look.limits.proof:,.0f} needed",
        worst.signal,
    )


def over_threshold(look: Look) -> Match | None:
    """The spec's literal rule, where the number of requests means something."""
    over = [state for state in look.signals if _over(state, look)]
    if not over:
        return None
    return Match(Judgement.ROLL_BACK, _said(over[0]), over[0].signal)


def _proved(state: SignalState, look: Look) -> bool:
    strict = look.limits.strict_window and state.proportion <= state.threshold
    return state.evidence >= look.limits.proof and not strict


def _over(state: SignalState, look: Look) -> bool:
    enough = state.requests >= look.limits.min_requests
    return enough and state.proportion > state.threshold


def source_silent(look: Look) -> Match | None:
    """No data is no proof of health."""
    problems = [s.problem for s in look.seen.sources if s.problem]
    if not problems:
        return None
    return Match(Judgement.INCONCLUSIVE, "; ".join(problems))


def healthy(look: Look) -> Match | None:
    """The window is complete and says so for every signal."""
    if not look.complete or _missing(look):
        return None
    return Match(
        Judgement.HEALTHY,
        f"every signal within its threshold over {_length(look)} s; "
        f"confidence {look.certainty:.0%}",
    )


def otherwise(look: Look) -> Match:
    """Still watching; at the end of the window, what was missing."""
    missing = "; ".join(_missing(look)) or "the window is not over yet"
    if look.complete:
        return Match(Judgement.INCONCLUSIVE, missing)
    return Match(Judgement.WATCHING, missing)


MATRIX: tuple[tuple[str, Callable[[Look], Match | None]], ...] = (
    ("critical_error", critical_error),
    ("evidence", proved),
    ("threshold", over_threshold),
    ("source_silent", source_silent),
    ("healthy", healthy),
    ("watching", otherwise),
)


def _missing(look: Look) -> tuple[str, ...]:
    """What stands between this look and *healthy*, a sentence each."""
    limits = look.limits
    missing = []
    if look.covered < COVERAGE:
        missing.append(
            f"only {look.covered:.0%} of {_length(look)} seconds hold a measurement, "
            f"{COVERAGE:.0%} are needed"
        )
    for state in look.signals:
        name = NAMES[state.signal]
        if state.requests < limits.healthy_requests:
            missing.append(
                f"{name} has {state.requests} requests, "
                f"{limits.healthy_requests} are needed"
            )
        if state.proportion > state.threshold or state.evidence >= SUSPICION:
            missing.append(f"{_said(state)}, which is suspicious and not yet proved")
    if limits.confidence and look.certainty < limits.confidence:
        missing.append(
            f"confidence is {look.certainty:.0%}, {limits.confidence:.0%} is asked for"
        )
    return tuple(missing)


NAMES = {
    Signal.ERROR_RATE: "error rate",
    Signal.RESPONSE_TIME: "response time",
    Signal.AVAILABILITY: "availability",
}

SAYINGS = {
    Signal.ERROR_RATE: "error rate: {bad} of {requests} requests failed",
    Signal.RESPONSE_TIME: "response time: {bad} of {requests} requests were slow",
    Signal.AVAILABILITY: "availability: {bad} of {requests} probes were not answered",
}


def _said(state: SignalState) -> str:
    fact = SAYINGS[state.signal].format(bad=state.bad, requests=state.requests)
    return f"{fact} ({state.proportion:.1%}, at most {state.threshold:.0%})"


def _length(look: Look) -> int:
    return look.seen.until - look.seen.since


def _bad_since(look: Look, match: Match) -> int | None:
    """The first bad second that users could see, of the stretch that is bad now."""
    if match.judgement is not Judgement.ROLL_BACK:
        return None
    thresholds = dict(look.limits.thresholds)
    signals = [match.signal] if match.signal else list(thresholds)
    times = [_changed(look.seen.counts, s, thresholds[s]) for s in signals]
    times += [int(e.first_seen.timestamp()) for e in _critical(look)]
    known = [at for at in times if at is not None]
    return min(known) if known else look.seen.until - 1


def _changed(counts: Sequence[Counts], signal: Signal, threshold: float) -> int | None:
    """When a signal turned bad: the first bad second after the last low of the CUSUM.

    Page's sum of `bad - reference * n`, with a reference between good and bad. None
    when no second since then is bad.
    """
    total = lowest = 0.0
    first: int | None = None
    for each in counts:
        bad, n = each.of(signal)
        if bad and first is None:
            first = each.second
        total += bad - REFERENCE * threshold * n
        if total <= lowest:
            lowest, first = total, None
    return first
