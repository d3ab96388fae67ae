from collections.abc import Sequence
from datetime import UTC, datetime

from anyio.lowlevel import checkpoint

from rollback.adapters.flag_records import Held, put_back, switched_off
from rollback.errors import FlagsUnreachable, PlatformUnreachable, RollbackError

__all__ = ["MemoryCache", "MemoryFlags"]

EPOCH = datetime.fromtimestamp(0, UTC)


class MemoryFlags:
    """Flags in memory (port `FlagStore`): their states, and what is saved of them.

    While `down` is set, every call raises `FlagsUnreachable` with it.
    """

    def __init__(self, **states: bytes) -> None:
        self.down: str | None = None
        self.states: dict[str, bytes] = dict(states)
        self.saved: dict[str, bytes] = {}

    async def is_off(self, name: str) -> bool:
        """Whether the flag is off; see the port."""
        return switched_off(name, await self._held(name), EPOCH) is None

    async def is_back(self, name: str) -> bool:
        """Whether the flag is as it was; see the port."""
        return put_back(name, await self._held(name), EPOCH) is None

    async def disable(self, name: str, *, at: datetime) -> None:
        """Save the flag's state and switch it off, in one step; see the port."""
        self._hold(name, switched_off(name, await self._held(name), at))

    async def restore(self, name: str, *, at: datetime) -> None:
        """Put the saved state back; see the port."""
        self._hold(name, put_back(name, await self._held(name), at))

    async def _held(self, name: str) -> Held:
        await checkpoint()
        if self.down:
            raise FlagsUnreachable(self.down)
        return Held(state=self.states.get(name), record=self.saved.get(name))

    def _hold(self, name: str, after: Held | None) -> None:
        if after is not None:
            self.states[name] = after.state or b""
            self.saved[name] = after.record or b""


class MemoryCache:
    """A cache in memory (port `Cache`): which address is kept under which tags.

    The next `len(problems)` purges raise these, and purge nothing.
    """

    def __init__(self) -> None:
        self.kept: dict[str, frozenset[str]] = {}
        self.problems: list[RollbackError] = []
        self.down: str | None = None
        self.purged: list[tuple[str, ...]] = []

    async def purge(self, tags: Sequence[str]) -> None:
        """Drop what is kept under any of the tags; see the port."""
        await checkpoint()
        if self.down:
            raise PlatformUnreachable(self.down)
        if self.problems:
            raise self.problems.pop(0)
        self.purged.append(tuple(tags))
        wanted = frozenset(tags)
        self.kept = {url: own for url, own in self.kept.items() if not own & wanted}
