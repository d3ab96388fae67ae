"""What a look at something comes to, and what mends it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from .settings import Settings

__all__ = ["Amiss", "Check", "Finding", "Look"]


class Finding(StrEnum):
    """What a check comes to."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at, what was found, and what mends it."""

    name: str
    finding: Finding
    said: str
    mend: str = ""


class Amiss(Exception):
    """Something that a person should see to, and what mends it."""

    def __init__(
        self, said: str, mend: str, finding: Finding = Finding.WARNING
    ) -> None:
        self.said, self.mend, self.finding = said, mend, finding
        super().__init__(said)


Look = Callable[[Settings], Awaitable[str]]
