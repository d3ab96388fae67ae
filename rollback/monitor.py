"""One deployment under watch: looks go in one after another, verdicts come out.

Keeps the trailing window of counts, and for each signal the evidence since the start,
of the candidate and of the stable deployment beside it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from .decide import Limits, decide
from .evidence import update
from .model import Counts, Judgement, Observation, Verdict

__all__ = ["Monitor", "judge_recording"]


class Monitor:
    """Takes in looks one after another and judges the trailing window after each."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._candidate, self._stable = _Trail(limits), _Trail(limits)
        self._since: int | None = None

    def take(self, seen: Observation, *, complete: bool = False) -> Verdict:
        """Add the new seconds of this look and judge."""
        if self._since is None:
            self._since = seen.since
        since = max(self._since, seen.until - int(self._limits.window_seconds))
        window = replace(
            seen,
            since=since,
            counts=self._candidate.take(seen.counts, since=since, until=seen.until),
            baseline=self._stable.take(seen.baseline, since=since, until=seen.until),
        )
        return decide(
            window,
            self._candidate.evidence,
            self._limits,
            baseline=self._stable.evidence if seen.stable else None,
            complete=complete,
        )


class _Trail:
    """The counts of the window, and the evidence of all closed batches."""

    def __init__(self, limits: Limits) -> None:
        self.evidence = limits.start()
        self._size = limits.batch_seconds
        self._window: deque[Counts] = deque()
        self._batch: Counts | None = None

    def take(
        self, counts: Sequence[Counts], *, since: int, until: int
    ) -> tuple[Counts, ...]:
        """Add closed seconds; give the window from `since` on."""
        for second in counts:
            self._window.append(second)
            self._close(before=second.second)
            self._batch = self._batch + second if self._batch else second
        self._close(before=until)
        while self._window and self._window[0].second < since:
            self._window.popleft()
        return tuple(self._window)

    def _close(self, *, before: int) -> None:
        """Weigh the open batch if it ends before this second."""
        if self._batch is None or before // self._size == self._number(self._batch):
            return
        for signal, evidence in self.evidence.items():
            self.evidence[signal] = update(evidence, *self._batch.of(signal))
        self._batch = None

    def _number(self, counts: Counts) -> int:
        return counts.second // self._size


def judge_recording(seen: Sequence[Observation], limits: Limits) -> Verdict:
    """Judge a recording as if live: the first verdict to roll back ends it."""
    monitor = Monitor(limits)
    for look in seen[:-1]:
        verdict = monitor.take(look)
        if verdict.judgement is Judgement.ROLL_BACK:
            return verdict
    return monitor.take(seen[-1], complete=True)
