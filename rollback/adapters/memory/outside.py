from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from rollback.errors import ChannelDown
from rollback.model import Answer, Message

__all__ = ["MemoryChannel", "MemorySite", "SiteRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRequest:
    """What a `MemorySite` was asked."""

    method: str
    url: str
    json: Mapping[str, Any] | None = None
    protected: bool = False


class MemorySite:
    """A site that answers by a function, or by a table of URLs (port `Site`).

    The answer comes after its `seconds`, or not at all when that is later than the
    deadline; a URL that is not in the table answers 404. `asked` holds every request.
    """

    def __init__(
        self, answers: Callable[[SiteRequest], Answer] | Mapping[str, Answer]
    ) -> None:
        self.asked: list[SiteRequest] = []
        self._answers = answers

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Mapping[str, Any] | None = None,
        timeout_seconds: float,
        protected: bool = False,
    ) -> Answer:
        """Send one request; never raises for what the site does."""
        request = SiteRequest(method=method, url=url, json=json, protected=protected)
        self.asked.append(request)
        answer = self._answer(request)
        await anyio.sleep(min(answer.seconds, timeout_seconds))
        if answer.seconds > timeout_seconds:
            problem = f"no answer within {timeout_seconds:g} s"
            return Answer(status=None, seconds=timeout_seconds, problem=problem)
        return answer

    def _answer(self, request: SiteRequest) -> Answer:
        if callable(self._answers):
            return self._answers(request)
        return self._answers.get(request.url, Answer(status=404, seconds=0.0))


class MemoryChannel:
    """Keeps what it is told (port `Channel`).

    While `down` is set, `send` raises `ChannelDown` with it.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.down: str | None = None
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        """Deliver one message; raises `ChannelDown` when it was not taken."""
        await checkpoint()
        if self.down:
            raise ChannelDown(self.down)
        self.messages.append(message)
