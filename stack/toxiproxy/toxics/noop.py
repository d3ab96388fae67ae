"""noop: everything passes."""

from dataclasses import dataclass
from typing import ClassVar

from stack.toxiproxy.toxics.base import Toxic


@dataclass(frozen=True, slots=True, kw_only=True)
class Noop(Toxic):
    """Lets everything pass; also stands in where toxicity missed."""

    type: ClassVar[str] = "noop"
