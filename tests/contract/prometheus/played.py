"""Prometheus' HTTP API, played: a real one is asked in `tests/integration`.

So time can be chosen, and there are the answers that a healthy one does not give.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rollback.adapters.memory import FixedClock
from rollback.adapters.prometheus import Prometheus, Queries
from rollback.model import Counts, PlatformDeployment
from tests.contract.answering import Asked, Reply

START = 1_800_000_000  # on a bucket's edge
STEP, DELAY = 15, 5
PASSWORD, TOKEN = "s3cret-word", "s3cret-token"
OWN = Queries(
    requests='requests{d="{{deployment}}"}',
    failed='failed{d="{{deployment}}"}',
    slow='slow{d="{{deployment}}"}',
)
BAD = PlatformDeployment(
    id="dpl_bad",
    url="http://127.0.0.1:1",
    git_sha="a" * 40,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    ready=True,
    candidate=True,
    served=True,
)


@dataclass
class Server:
    """What each query says at the end of a bucket, by the bucket's number."""

    values: dict[str, dict[int, str]] = field(default_factory=dict)
    fault: Reply | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)

    def set(self, bucket: int, requests: float, failed: float, slow: float) -> None:
        """Let a bucket have these numbers."""
        for name, value in (("requests", requests), ("failed", failed), ("slow", slow)):
            self.values.setdefault(name, {})[bucket] = str(value)

    def reply(self, asked: Asked) -> Reply:
        """A range of values, as `/api/v1/query_range` gives it."""
        self.queries.append(asked["query"])
        if self.fault:
            return self.fault
        name = asked["query"].partition("{")[0]
        step = int(asked["step"])
        ends = range(int(asked["start"]), int(asked["end"]) + 1, step)
        known = self.values.get(name, {})
        found = [
            [end, known[bucket]]
            for end in ends
            if (bucket := (end - START) // step - 1) in known
        ]
        result = [{"metric": {}, "values": found}] if found else []
        data = {"resultType": "matrix", "result": result}
        return Reply(body={"status": "success", "data": data, **self.extra})


def connect(url: str, clock: FixedClock, **changed: Any) -> Prometheus:
    """An adapter with queries that the server knows."""
    settings: dict[str, Any] = {"clock": clock, "queries": OWN}
    return Prometheus(url, **{**settings, **changed})


async def looked(source: Prometheus, clock: FixedClock, every: int) -> list[Counts]:
    """All counts of the first 95 seconds, of looks at this pace, as the engine's."""
    found: list[Counts] = []
    since = START + 3
    while since < START + 95:
        clock.at = datetime.fromtimestamp(since + every, UTC)
        clock.advance(source.lag_seconds)
        found += await source.counts(BAD, since=since, until=since + every)
        since += every
    return found
