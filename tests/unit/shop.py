"""A site in memory on which the critical flows work, but for what a test changes."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio
from trio.testing import MockClock

from rollback.adapters.memory import MemorySite, SiteRequest
from rollback.model import Answer

URL = "https://wedsync.example"
HEALTHY = dict.fromkeys(("api", "database", "redis", "stripe", "auth"), "healthy")
BAD_DATABASE = HEALTHY | {"database": "unhealthy"}
SUBMISSIONS = "/api/forms/smoke/submissions"


def answer(
    status: int, body: object = None, *, deployment: str | None = "dpl_v1"
) -> Answer:
    """What the site says, at once."""
    raw = json.dumps(body).encode()
    return Answer(status=status, seconds=0.01, body=raw, deployment=deployment)


@dataclass
class Shop:
    """A site on which everything works, but for what a test changes.

    `looks` are the first answers to the health check; the last one stays. `twist` may
    change any other answer.
    """

    looks: list[Answer] = field(default_factory=lambda: [answer(200, HEALTHY)])
    twist: Callable[[SiteRequest, Answer], Answer] = lambda _, given: given
    kept: dict[str, Any] = field(default_factory=dict)
    health_asked: int = 0

    def __post_init__(self) -> None:
        """Open it."""
        self.site = MemorySite(self.respond)

    def respond(self, request: SiteRequest) -> Answer:
        """Answer one request."""
        if request.url == f"{URL}/api/health":
            self.health_asked += 1
            return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return self.twist(request, self._flow(request))

    def _flow(self, request: SiteRequest) -> Answer:
        path = request.url.removeprefix(URL)
        if request.method == "GET":
            return answer(200, self.kept[path])
        said = dict(request.json or {})
        name = said.get("order_id", "7")
        self.kept[f"{path}/{name}"] = said | {"status": "paid"}
        return answer(201, said | {"id": "7", "status": "processing"})

    def tokens(self) -> list[str]:
        """What the submitted forms held, in order."""
        asked = self.site.asked
        return [
            r.json["answers"]["token"] for r in asked if r.json and "answers" in r.json
        ]


def run(play: Callable[[], Awaitable[Any]]) -> Any:
    """Play it on a clock that jumps over every wait."""
    return trio.run(play, clock=MockClock(autojump_threshold=0))
