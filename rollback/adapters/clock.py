"""The machine's clock, and its randomness."""

import secrets
from datetime import UTC, datetime

__all__ = ["RandomTokens", "SystemClock"]


class SystemClock:
    """Wall time as the machine has it (port `Clock`)."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)


class RandomTokens:
    """Six random hexadecimal digits (port `Tokens`)."""

    def new(self) -> str:
        """Another one each time."""
        return secrets.token_hex(3)
