"""Stage 3: the decision matrix, rows of data; the first that matches names itself."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from .evidence import SUSPICION, Evidence, confidence, update
from .model import (
    Counts,
    CriticalError,
    Judgement,
    Observation,
    Signal,
    SignalState,
    Verdict,
)

__all__ = ["MATRIX", "Limits", "Monitor", "decide", "judge_recording"]

COVERAGE = 0.9  # the share of a window's seconds that must hold a measurement
REFERENCE = 1.5  # times the threshold: between what is good and what is bad


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a deployment is bad, and what must be seen before it is called healthy.

    `thresholds` are proportions of bad outcomes that may be reached, not passed.
    """

    thresholds: tuple[tuple[Signal, float], ...]
    critical_errors: tuple[str, ...]
    window_seconds: float = 300
    min_requests: int = 1000
    healthy_requests: int = 100
    alpha: float = 1e-3
    confidence: float | None = None

    @property
    def proof(self) -> float:
        """The evidence at which a signal has proved bad; alpha is shared by all."""
        return len(self.thresholds) / self.alpha


@dataclass(frozen=True, slots=True)
class Look:
    """All that a row may look at."""

    seen: Observation
    signals: tuple[SignalState, ...]
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
    complete: bool = False,
) -> Verdict:
    """Judge what was seen; `complete` when the window asked for is over.

    `seen` is the trailing window, `evidence` covers everything since the start.
    """
    signals = tuple(
        _state(signal, threshold, seen, evidence[signal])
        for signal, threshold in limits.thresholds
    )
    certainty = min(confidence(evidence[signal]) for signal, _ in limits.thresholds)
    look = Look(seen, signals, certainty, limits, complete)
    for row, matches in MATRIX:
        match = matches(look)
        if match:
            return Verdict(
                deployment=seen.deployment,
                judgement=match.judgement,
                row=row,
                reason=match.reason,
                signals=signals,
                critical_errors=_critical(look),
                signal=match.signal,
                second=seen.until - 1,
                bad_since=_bad_since(look, match),
                sources=seen.sources,
            )
    raise AssertionError("the last row of the matrix always matches")


def _state(
    signal: Signal, threshold: float, seen: Observation, evidence: Evidence
) -> SignalState:
    pairs = [counts.of(signal) for counts in seen.counts]
    return SignalState(
        signal=signal,
        requests=sum(n for _, n in pairs),
        bad=sum(bad for bad, _ in pairs),
        threshold=threshold,
        evidence=evidence.value,
    )


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
    over = [s for s in look.signals if s.evidence >= look.limits.proof]
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
    for state in look.signals:
        enough = state.requests >= look.limits.min_requests
        if enough and state.proportion > state.threshold:
            return Match(Judgement.ROLL_BACK, _said(state), state.signal)
    return None


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


class Monitor:
    """Takes in looks one after another and judges the trailing window after each."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._evidence = {
            signal: Evidence(threshold) for signal, threshold in limits.thresholds
        }
        self._counts: deque[Counts] = deque()
        self._since: int | None = None

    def take(self, seen: Observation, *, complete: bool = False) -> Verdict:
        """Add the new seconds of this look and judge."""
        if self._since is None:
            self._since = seen.since
        for counts in seen.counts:
            self._counts.append(counts)
            for signal, evidence in self._evidence.items():
                self._evidence[signal] = update(evidence, *counts.of(signal))
        since = max(self._since, seen.until - int(self._limits.window_seconds))
        while self._counts and self._counts[0].second < since:
            self._counts.popleft()
        window = replace(seen, since=since, counts=tuple(self._counts))
        return decide(window, self._evidence, self._limits, complete=complete)


def judge_recording(seen: Sequence[Observation], limits: Limits) -> Verdict:
    """Judge a recording as if live: the first verdict to roll back ends it."""
    monitor = Monitor(limits)
    for look in seen[:-1]:
        verdict = monitor.take(look)
        if verdict.judgement is Judgement.ROLL_BACK:
            return verdict
    return monitor.take(seen[-1], complete=True)
