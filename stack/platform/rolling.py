"""A release that is rolled out in stages: a part of the visits sees the canary."""

import time
from dataclasses import dataclass, field
from typing import Any

from stack.platform.config import Deployment

ALL = 100


@dataclass(slots=True, kw_only=True)
class Rolling:
    """An active rolling release, and how many visits it has parted."""

    id: str
    base: Deployment
    canary: Deployment
    percentage: int
    started_at: int = field(default_factory=lambda: int(time.time() * 1000))
    _visits: int = 0

    def parted(self) -> Deployment:
        """Give what the next visit sees: evenly spread, and the same every time."""
        before = self._visits * self.percentage // ALL
        self._visits += 1
        seen = self._visits * self.percentage // ALL > before
        return self.canary if seen else self.base

    def answer(self, created: dict[str, int]) -> dict[str, Any]:
        """Give ``rollingRelease``; ``created`` are the deployments' ages."""
        first = _stage(0, self.percentage)
        last = _stage(1, ALL)
        return {
            "state": "ACTIVE",
            "currentDeployment": _deployment(self.base, created[self.base.id]),
            "canaryDeployment": _deployment(self.canary, created[self.canary.id]),
            "queuedDeploymentId": None,
            "advancementType": "manual-approval",
            "stages": [first, last],
            "activeStage": first,
            "nextStage": last,
            "startedAt": self.started_at,
            "updatedAt": self.started_at,
        }


def _stage(index: int, percentage: int) -> dict[str, Any]:
    return {
        "index": index,
        "isFinalStage": percentage == ALL,
        "targetPercentage": percentage,
        "requireApproval": percentage != ALL,
        "duration": None,
    }


def _deployment(deployment: Deployment, created: int) -> dict[str, Any]:
    return {
        "id": deployment.id,
        "name": deployment.name,
        "url": deployment.url,
        "target": "production",
        "source": "git",
        "createdAt": created,
        "readyState": deployment.state,
        "readyStateAt": created + 60_000,
    }
