"""The site as somebody outside sees it: who serves it, and whether it is healthy.

Nothing here comes from the engine: what it claims is held against this.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

EVERY_SECONDS = 0.25
TIMEOUT_SECONDS = 5.0
SLOW_MS = 1000.0  # a health check that takes longer is not what users call healthy


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at `/api/health` through the production address.

    `at` is the unix time of the answer's end; `ms` how long it took.
    """

    at: float
    healthy: bool
    ms: float
    deployment: str | None


class Outside:
    """Looks at the site four times a second, from a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._samples: list[Sample] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outside", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All that was seen so far."""
        return tuple(self._samples)

    def wait_until(
        self, true: Callable[[tuple[Sample, ...]], bool], *, seconds: float
    ) -> bool:
        """Wait for a condition on what was seen; False when it does not come true."""
        with self._changed:
            return self._changed.wait_for(lambda: true(self.samples), seconds)

    def restored_at(self, deployment: str, *, after: float) -> float | None:
        """When this deployment began to answer healthily without a break until now."""
        since = None
        for sample in self.samples:
            if sample.at < after:
                continue
            if sample.deployment == deployment and sample.healthy:
                since = since or sample.at
            else:
                since = None
        return since

    def _run(self) -> None:
        with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
            while not self._stop.wait(EVERY_SECONDS):
                sample = self._look(client)
                with self._changed:
                    self._samples.append(sample)
                    self._changed.notify_all()

    def _look(self, client: httpx.Client) -> Sample:
        begun = time.monotonic()
        try:
            answer = client.get(f"{self._url}/api/health")
            healthy, by = (
                answer.status_code == 200,
                answer.headers.get("x-deployment-id"),
            )
        except httpx.HTTPError:
            healthy, by = False, None
        ms = (time.monotonic() - begun) * 1000
        quick = ms <= SLOW_MS
        return Sample(at=time.time(), healthy=healthy and quick, ms=ms, deployment=by)
