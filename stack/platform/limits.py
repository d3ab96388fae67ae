"""How often one endpoint may be called."""

import math
import time
from collections import defaultdict, deque

from stack.platform.errors import ApiError

REQUESTS = 60
WINDOW_S = 10.0
"""More than so many requests in so many seconds on one endpoint are refused. Vercel
publishes no numbers for these endpoints; polling four times a second stays below."""


class Limits:
    """The requests of the last seconds, by endpoint."""

    def __init__(self) -> None:
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)

    def clear(self) -> None:
        """Forget every request."""
        self._recent.clear()

    def admit(self, endpoint: str) -> None:
        """Count a request.

        Raises:
            ApiError: 429 with ``Retry-After``, there were too many.

        """
        now = time.monotonic()
        recent = self._recent[endpoint]
        while recent and recent[0] <= now - WINDOW_S:
            recent.popleft()
        if len(recent) >= REQUESTS:
            raise _rate_limited(endpoint, recent[0] + WINDOW_S - now)
        recent.append(now)


def _rate_limited(endpoint: str, wait_s: float) -> ApiError:
    reset = time.time() + wait_s
    seconds = math.ceil(wait_s)
    return ApiError(
        429,
        f"The rate limit of {REQUESTS} exceeded for 'api-{endpoint.replace('_', '-')}'."
        f" Try again in {seconds} seconds",
        headers={"Retry-After": str(seconds)},
        limit={
            "remaining": 0,
            "reset": int(reset),
            "resetMs": int(reset * 1000),
            "total": REQUESTS,
        },
    )
