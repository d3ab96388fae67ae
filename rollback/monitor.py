"""One deployment under watch: looks go in one after another, verdicts come out.

Keeps the trailing window of counts, and for each signal the evidence since the start,
of the candidate and of the stable deployment beside it.
"""

from collections.abc import Mapping, Sequence
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
)

__all__ = ["Monitor", "judge_recording"]


class Monitor:
    """Takes in looks one after another and judges the trailing window after each.

    Requests of several sources are weighed apart, since they are of different kinds,
    and the evidence of a signal is the mean: under any dependence that keeps the bound
    (Vovk and Wang, Annals of Statistics 2021). Probes are of one kind whoever sends
    them, so availability is weighed on the sum.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._all, self._stable = _Trail(limits), _Trail(limits)
        self._parts: dict[str, _Trail] = {}
        self._since: int | None = None

    def take(self, seen: Observation, *, complete: bool = False) -> Verdict:
        """Add the new seconds of this look and judge."""
        if self._since is None:
            self._since = seen.since
            apart = seen.parts if len(seen.parts) > 1 else ()
            self._parts = {part.source: _Trail(self._limits) for part in apart}
        since = max(self._since, seen.until - int(self._limits.window_seconds))
        self._all.take(seen.counts, since=since, until=seen.until)
        self._stable.take(seen.baseline, since=since, until=seen.until)
        for part in seen.parts:
            if part.source in self._parts:
                trail = self._parts[part.source]
                trail.take(part.counts, since=since, until=seen.until)
        return decide(self._look(replace(seen, since=since), complete=complete))

    def _look(self, seen: Observation, *, complete: bool) -> Look:
        parts = self._parts
        return Look(
            seen=replace(
                seen,
                counts=self._all.seen(),
                parts=tuple(
                    Part(source=name, counts=trail.seen())
                    for name, trail in parts.items()
                ),
                baseline=self._stable.seen(),
            ),
            signals=tuple(_mean(self._all.signals(), parts)),
            parts=tuple(
                SourceSignals(source=name, signals=trail.signals())
                for name, trail in parts.items()
            ),
            baseline=self._stable.signals() if seen.stable else (),
            limits=self._limits,
            complete=complete,
        )


def _mean(
    signals: Sequence[SignalState], parts: "Mapping[str, _Trail]"
) -> Sequence[SignalState]:
    """The signals of all sources together, with the mean of their evidence."""
    if not parts:
        return signals
    return [
        state
        if state.signal is Signal.AVAILABILITY
        else replace(
            state,
            evidence=sum(trail.evidence[state.signal].value for trail in parts.values())
            / len(parts),
        )
        for state in signals
    ]


class _Trail:
    """The counts of the window, and the evidence of all closed batches."""

    def __init__(self, limits: Limits) -> None:
        horizon = max(1, limits.horizon_seconds // limits.batch_seconds)
        self.evidence = {
            signal: Evidence(threshold, cap=limits.cap, horizon=horizon)
            for signal, threshold in limits.thresholds
        }
        self.window: dict[int, Counts] = {}  # by second
        self._sum = Counts(second=0)  # of the window
        self._size = limits.batch_seconds
        self._batch: Counts | None = None

    def take(self, counts: Sequence[Counts], *, since: int, until: int) -> None:
        """Add closed seconds, and forget those before `since`."""
        for each in counts:
            known = self.window.get(each.second)
            self.window[each.second] = known + each if known else each
            self._sum += each
            self._close(before=each.second)
            self._batch = self._batch + each if self._batch else each
        self._close(before=until)
        for second in [second for second in self.window if second < since]:
            self._sum -= self.window.pop(second)

    def _close(self, *, before: int) -> None:
        """Weigh the open batch if it ends before this second."""
        size = self._size
        if self._batch is None or before // size == self._batch.second // size:
            return
        for signal, evidence in self.evidence.items():
            self.evidence[signal] = update(evidence, *self._batch.of(signal))
        self._batch = None

    def seen(self) -> tuple[Counts, ...]:
        """The window, in order; slow sources add to seconds that are long over."""
        return tuple(self.window[second] for second in sorted(self.window))

    def signals(self) -> tuple[SignalState, ...]:
        """Every signal as it stands."""
        states = []
        for signal, evidence in self.evidence.items():
            bad, requests = self._sum.of(signal)
            states.append(
                SignalState(
                    signal=signal,
                    requests=requests,
                    bad=bad,
                    threshold=evidence.p0,
                    evidence=evidence.value,
                    confidence=confidence(evidence),
                )
            )
        return tuple(states)


def judge_recording(seen: Sequence[Observation], limits: Limits) -> Verdict:
    """Judge a recording as if live: the first verdict to roll back ends it."""
    monitor = Monitor(limits)
    for look in seen[:-1]:
        verdict = monitor.take(look)
        if verdict.judgement is Judgement.ROLL_BACK:
            return verdict
    return monitor.take(seen[-1], complete=True)
