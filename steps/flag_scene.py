"""The command `flag` at work, and the practice stack looked at from outside."""

from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from redis import Redis

from stack.backends import Stack

from .command import Command, Ran

FLAGS, SAVED = "feature_flags", "feature_rollbacks"
TIMELINE = "/api/features/timeline"


@dataclass(slots=True)
class Flagging:
    """The command, what came of it, and the practice stack from outside."""

    stack: Stack
    command: Command
    redis: Redis
    http: httpx.Client
    ran: Ran | None = None
    before: dict[bytes, Any] = field(default_factory=dict)

    def run(self, *arguments: str) -> None:
        """Run `rollback flag`."""
        self.before = self.before or self.keys()
        self.ran = self.command.run("flag", *arguments, "--json")

    def switch(self, name: str, *more: str) -> None:
        """Switch a feature, with consent and a reason."""
        self.run(name, "--yes", "--reason", "it shows wrong times", *more)

    def settings(self, **changed: str) -> None:
        """Run it with other settings from now on."""
        settings = {**self.command.settings, **changed}
        self.command = replace(self.command, settings=settings)

    def keys(self) -> dict[bytes, Any]:
        """All that is in Redis but the app's counters, as it is stored."""
        names = [n for n in self.redis.scan_iter() if not n.startswith(b"requests:")]
        return {name: self.redis.dump(name) for name in names}

    def state(self) -> bytes | None:
        """What the flag of timeline holds."""
        held: Any = self.redis.hget(FLAGS, "timeline")
        return held if held is None else bytes(held)

    def shown(self, path: str = TIMELINE, **headers: str) -> bool:
        """Whether the edge answers that timeline is on."""
        url = self.stack.addresses["edge"] + path
        answer = self.http.get(url, headers=headers).raise_for_status()
        return bool(answer.json()["enabled"])

    def platform(self) -> Any:
        """What the platform holds and was asked."""
        url = f"{self.stack.addresses['platform']}/_control/state"
        return self.http.get(url).json()

    def purges(self) -> list[int]:
        """The answers to purges."""
        calls = self.platform()["calls"]
        return [c["status"] for c in calls if c["endpoint"] == "delete_by_tags"]

    def fault(self, fault: dict[str, Any] | None) -> None:
        """How the platform answers purges."""
        url = f"{self.stack.addresses['platform']}/_control/faults"
        self.http.post(url, json={"delete_by_tags": fault}).raise_for_status()

    def slack(self) -> list[str]:
        """What #incidents was told."""
        url = f"{self.stack.addresses['slack']}/_control/state"
        return [str(message) for message in self.http.get(url).json()["messages"]]
