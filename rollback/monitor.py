"""One deployment under watch: looks go in one after another, verdicts come out.

Keeps the trailing window of counts, and for each signal the evidence since the start,
of the candidate and of the stable deployment beside it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .decide import Limits, Look, decide
from .evidence import Evidence, confidence, update
from .model import (
    Counts,
    Judgement,
    Observation,
    Part,
    Signal,
    SignalState,
    SourceSignals,
    Verdict,
    merge,
)

__all__ = ["Monitor", "judge_recording"]


class Monitor:
    """Takes in looks one after another and judges the trailing window after each."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._candidate, self._stable = _Panel(limits), _Panel(limits)
        self._since: int | None = None

    def take(self, seen: Observation, *, complete: bool = False) -> Verdict:
        """Add the new seconds of this look and judge."""
        if self._since is None:
            self._since = seen.since
        since = max(self._since, seen.until - int(self._limits.window_seconds))
        alone = Part(source="", counts=seen.counts, until=seen.until)
        self._candidate.take(seen.parts or (alone,), since=since)
        self._stable.take(seen.baseline, since=since)
        return decide(
            Look(
                seen=replace(
                    seen,
                    since=since,
                    counts=self._candidate.counts(),
                    parts=self._candidate.window(),
                    baseline=self._stable.window(),
                ),
                signals=self._candidate.signals(),
                parts=self._candidate.apart(),
                baseline=self._stable.signals() if seen.stable else (),
                limits=self._limits,
                complete=complete,
            )
        )


class _Panel:
    """What all sources together show of one deployment.

    They count different things, at different times, so each is weighed by itself; the
    evidence of a signal is that of the clearest source, divided by how many there are.
    That keeps the bound however the sources hang together: for the quotient to reach
    1/alpha one of K sources has to reach K/alpha, each with a chance of alpha/K.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._trails: dict[str, _Trail] = {}

    def take(self, parts: Iterable[Part], *, since: int) -> None:
        """Add closed seconds of each source, and forget those before `since`."""
        for part in parts:
            trail = self._trails.get(part.source)
            if trail is None:
                trail = self._trails[part.source] = _Trail(self._limits)
            trail.take(part.counts, since=since, until=part.until)

    def counts(self) -> tuple[Counts, ...]:
        """The window of all sources, added up."""
        windows = [tuple(trail.window) for trail in self._trails.values()]
        return windows[0] if len(windows) == 1 else merge(windows)

    def window(self) -> tuple[Part, ...]:
        """The window of each source."""
        return tuple(
            Part(source=name, counts=tuple(trail.window))
            for name, trail in self._trails.items()
        )

    def signals(self) -> tuple[SignalState, ...]:
        """Every signal of all sources together."""
        return tuple(self._signal(*limit) for limit in self._limits.thresholds)

    def apart(self) -> tuple[SourceSignals, ...]:
        """Every signal of each source, where there are several."""
        if len(self._trails) <= 1:
            return ()
        return tuple(
            SourceSignals(
                source=name,
                signals=tuple(trail.state(s) for s, _ in self._limits.thresholds),
            )
            for name, trail in self._trails.items()
        )

    def _signal(self, signal: Signal, threshold: float) -> SignalState:
        states = [trail.state(signal) for trail in self._trails.values()]
        heard = [trail for trail in self._trails.values() if trail.has_heard(signal)]
        # Requests may be counted by every source; probes only by those that probe.
        number = len(heard) if signal is Signal.AVAILABILITY else len(states)
        clearest = max((state.evidence for state in states), default=0.0)
        sure = [confidence(trail.evidence[signal]) for trail in heard]
        return SignalState(
            signal=signal,
            requests=sum(state.requests for state in states),
            bad=sum(state.bad for state in states),
            threshold=threshold,
            evidence=clearest / max(number, 1),
            confidence=min(sure, default=0.0),
        )


class _Trail:
    """One source: the counts of the window, and the evidence of all closed batches."""

    def __init__(self, limits: Limits) -> None:
        horizon = max(1, limits.horizon_seconds // limits.batch_seconds)
        self.evidence = {
            signal: Evidence(threshold, cap=limits.cap, horizon=horizon)
            for signal, threshold in limits.thresholds
        }
        self.window: deque[Counts] = deque()
        self._sum = Counts(second=0)  # of the window
        self._size = limits.batch_seconds
        self._batch: Counts | None = None

    def take(self, counts: Sequence[Counts], *, since: int, until: int) -> None:
        """Add seconds in order, all before `until`; forget those before `since`."""
        for each in counts:
            self.window.append(each)
            self._sum += each
            self._close(before=each.second)
            self._batch = self._batch + each if self._batch else each
        self._close(before=until)
        while self.window and self.window[0].second < since:
            self._sum -= self.window.popleft()

    def _close(self, *, before: int) -> None:
        """Weigh the open batch if it ends before this second."""
        size = self._size
        if self._batch is None or before // size <= self._batch.second // size:
            return
        for signal, evidence in self.evidence.items():
            self.evidence[signal] = update(evidence, *self._batch.of(signal))
        self._batch = None

    def has_heard(self, signal: Signal) -> bool:
        """Whether there was anything to weigh."""
        return self.evidence[signal].unspent < 1

    def state(self, signal: Signal) -> SignalState:
        """One signal as it stands."""
        evidence = self.evidence[signal]
        bad, requests = self._sum.of(signal)
        return SignalState(
            signal=signal,
            requests=requests,
            bad=bad,
            threshold=evidence.p0,
            evidence=evidence.value,
            confidence=confidence(evidence),
        )


def judge_recording(seen: Iterable[Observation], limits: Limits) -> Verdict:
    """Judge a recording as if live: the first verdict to roll back ends it."""
    monitor = Monitor(limits)
    looks = iter(seen)
    look = next(looks)
    for following in looks:
        verdict = monitor.take(look)
        if verdict.judgement is Judgement.ROLL_BACK:
            return verdict
        look = following
    return monitor.take(look, complete=True)
