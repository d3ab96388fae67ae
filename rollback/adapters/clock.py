"""The machine's clock."""

from datetime import UTC, datetime

__all__ = ["SystemClock"]


class SystemClock:
    """Wall time as the machine has it (port `Clock`)."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)
