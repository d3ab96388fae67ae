from collections.abc import Iterable

from anyio.lowlevel import checkpoint

from rollback.errors import KeysUnreachable
from rollback.ports import Notice

__all__ = ["MemoryKeys"]


class MemoryKeys:
    """Keys in memory (port `Keys`): `held` has their names.

    While `down` is set, every call raises `KeysUnreachable` with it.
    """

    def __init__(self, *names: str) -> None:
        self.down: str | None = None
        self.held: set[str] = set(names)

    async def count(self, prefix: str) -> int:
        """How many keys begin with it now; see the port."""
        return len(list(await self._found(prefix)))

    async def remove(self, prefix: str, *, notice: Notice) -> int:  # noqa: ARG002 - it is done at once
        """Remove what begins with it; see the port."""
        found = set(await self._found(prefix))
        self.held -= found
        return len(found)

    async def _found(self, prefix: str) -> Iterable[str]:
        await checkpoint()
        if self.down:
            raise KeysUnreachable(self.down)
        return [name for name in self.held if name.startswith(prefix)]
