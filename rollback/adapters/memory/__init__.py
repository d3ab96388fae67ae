"""Every port in memory: deterministic, for tests and for the simulator.

Time is anyio's alone, so that trio's `MockClock` drives all of it.
"""

from .clocks import AnyioClock, CountedTokens, FixedClock
from .database import MemoryDatabase
from .flags import MemoryCache, MemoryFlags
from .keys import MemoryKeys
from .ledger import MemoryLedger
from .measures import MemoryErrors, MemorySource
from .outside import MemoryChannel, MemorySite, SiteRequest
from .platform import MemoryPlatform
from .project import MemoryProject
from .restores import MemoryRestores

__all__ = [
    "AnyioClock",
    "CountedTokens",
    "FixedClock",
    "MemoryCache",
    "MemoryChannel",
    "MemoryDatabase",
    "MemoryErrors",
    "MemoryFlags",
    "MemoryKeys",
    "MemoryLedger",
    "MemoryPlatform",
    "MemoryProject",
    "MemoryRestores",
    "MemorySite",
    "MemorySource",
    "SiteRequest",
]
