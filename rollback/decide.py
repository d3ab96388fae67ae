"""Stage 3: the decision matrix, rows of data; the first that matches names itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from .evidence import CAP, HORIZON, SUSPICION
from .model import (
    Counts,
    CriticalError,
    Judgement,
    Observation,
    Signal,
    SignalState,
    SourceSignals,
    Verdict,
)

__all__ = ["MATRIX", "Limits", "Look", "decide"]

COVERAGE = 0.9  # the share of a window's seconds that must hold a measurement
SLACK_SECONDS = 5  # the newest seconds are not judged: sources lag
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All that a row may look at.

    `seen` is the trailing window; `complete` when the window asked for is over.
    `signals` are of all sources together, `parts` of each where there are several: a
    source that asks for pages that stay well must not hide another that counts users.
    """

    seen: Observation
    signals: tuple[SignalState, ...]
    limits: Limits
    parts: tuple[SourceSignals, ...] = ()
    baseline: tuple[SignalState, ...] = ()
    complete: bool = False

    @property
    def covered(self) -> float:
        """The share of the seconds that hold a measurement."""
        length = self.seen.until - self.seen.since
        return len(self.seen.counts) / length if length > 0 else 0.0

    @property
    def whole(self) -> bool:
        """Whether a whole window was seen: its full length, or all that was asked."""
        return self.complete or _length(self) >= self.limits.window_seconds

    @property
    def certainty(self) -> float:
        """The confidence in the least certain signal."""
        return min(state.confidence for state in self.signals)

    def counts_of(self, source: str) -> tuple[Counts, ...]:
        """The window of one source, or of all of them."""
        for part in self.seen.parts:
            if source and part.source == source:
                return part.counts
        return self.seen.counts

    def of(self, signal: Signal) -> Iterator[tuple[str, SignalState]]:
        """One signal of all sources together, and of each by name."""
        yield "", next(s for s in self.signals if s.signal is signal)
        for part in self.parts:
            yield part.source, next(s for s in part.signals if s.signal is signal)


@dataclass(frozen=True, slots=True)
class Match:
    """What a row says when it matches; by which signal, and of which source alone."""

    judgement: Judgement
    reason: str
    signal: Signal | None = None
    source: str = ""


def decide(look: Look) -> Verdict:
    """The first row of the matrix that matches names itself."""
    said = [(row, matches(look)) for row, matches in MATRIX]
    row, match = next((row, match) for row, match in said if match)
    rows = tuple((row, match.reason if match else None) for row, match in said)
    return replace(_verdict(look, row, match), rows=rows)


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
        parts=look.parts,
        stable=seen.stable,
        baseline=look.baseline,
        shared=_shared(look) if match.signal else (),
    )


def _shared(look: Look) -> tuple[Signal, ...]:
    """What may be bad about the candidate, if the stable one is as bad in all of it.

    Health checks that fail are compared when a rollback is planned, by what they name.
    """
    bad = tuple(
        signal
        for signal, _ in look.limits.thresholds
        if any(
            state.evidence >= SUSPICION or _over(state, look.limits.min_requests)
            for _, state in look.of(signal)
        )
    )
    if Signal.AVAILABILITY in bad or not all(_is_as_bad(s, look) for s in bad):
        return ()
    return bad


def _is_as_bad(signal: Signal, look: Look) -> bool:
    """Whether the stable one is suspected, and half as bad since it began at least."""
    suspected = any(
        s.signal is signal and s.evidence >= SUSPICION for s in look.baseline
    )
    source, state = max(look.of(signal), key=lambda one: one[1].evidence)
    since = _changed(look.counts_of(source), signal, state.threshold)
    if not suspected or since is None:
        return False
    own = _share(look.counts_of(source), signal, since)
    beside = [_share(part.counts, signal, since) for part in look.seen.baseline]
    return max(beside, default=0.0) >= own / 2


def _share(counts: Sequence[Counts], signal: Signal, since: int) -> float:
    """The proportion of bad ones since then, 0 where there were none at all."""
    pairs = [each.of(signal) for each in counts if each.second >= since]
    return sum(bad for bad, _ in pairs) / max(sum(n for _, n in pairs), 1)


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
    worst = max(over, key=lambda state: state.evidence)
    source, state = max(look.of(worst.signal), key=lambda one: one[1].evidence)
    return Match(
        Judgement.ROLL_BACK,
        f"{_said(state, source)}; the evidence is {worst.evidence:,.0f} "
        f"of {look.limits.proof:,.0f} needed",
        worst.signal,
        source,
    )


def over_threshold(look: Look) -> Match | None:
    """The spec's literal rule, where the number means something: in a whole window.

    A burst of a second is nothing in five minutes, and most of the first ten seconds.
    """
    for signal, _ in look.limits.thresholds:
        for source, state in look.of(signal):
            if look.whole and _over(state, look.limits.min_requests):
                reason = _said(state, source)
                return Match(Judgement.ROLL_BACK, reason, signal, source)
    return None


def _proved(state: SignalState, look: Look) -> bool:
    within = all(not _over(each, 1) for _, each in look.of(state.signal))
    strict = look.limits.strict_window and within
    return state.evidence >= look.limits.proof and not strict


def _over(state: SignalState, requests: int) -> bool:
    """Whether the proportion of so many requests is over its threshold."""
    return state.requests >= requests and state.proportion > state.threshold


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
    return (*_gaps(look), *_suspicions(look), *_doubts(look))


def _gaps(look: Look) -> Iterator[str]:
    length, window = _length(look), look.limits.window_seconds
    if length < min(COVERAGE * window, window - SLACK_SECONDS):
        yield f"{length} of {window:.0f} seconds were watched"
    if look.covered < COVERAGE:
        yield (
            f"only {look.covered:.0%} of {_length(look)} seconds hold a measurement, "
            f"{COVERAGE:.0%} are needed"
        )
    needed = look.limits.healthy_requests
    for state in look.signals:
        if state.requests < needed:
            yield (
                f"{NAMES[state.signal]} has {state.requests} requests, "
                f"{needed} are needed"
            )


def _suspicions(look: Look) -> Iterator[str]:
    for signal, _ in look.limits.thresholds:
        suspects = [one for one in look.of(signal) if _is_suspect(*one, look.limits)]
        if suspects:
            source, state = max(suspects, key=lambda one: one[1].evidence)
            yield f"{_said(state, source)}, which is suspicious and not yet proved"


def _doubts(look: Look) -> Iterator[str]:
    asked = look.limits.confidence
    if asked and look.certainty < asked:
        yield f"confidence is {look.certainty:.0%}, {asked:.0%} is asked for"


def _is_suspect(source: str, state: SignalState, limits: Limits) -> bool:
    """Over its threshold, a source alone only where its number means something."""
    enough = limits.healthy_requests if source else 1
    return _over(state, enough) or state.evidence >= SUSPICION


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


def _said(state: SignalState, source: str) -> str:
    fact = SAYINGS[state.signal].format(bad=state.bad, requests=state.requests)
    by = f", by {source}" if source else ""
    return f"{fact} ({state.proportion:.1%}, at most {state.threshold:.0%}{by})"


def _length(look: Look) -> int:
    return look.seen.until - look.seen.since


def _bad_since(look: Look, match: Match) -> int | None:
    """The first bad second that users could see, of the stretch that is bad now."""
    if match.judgement is not Judgement.ROLL_BACK:
        return None
    thresholds = dict(look.limits.thresholds)
    signals = [match.signal] if match.signal else list(thresholds)
    counts = look.counts_of(match.source)
    times = [_changed(counts, s, thresholds[s]) for s in signals]
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
