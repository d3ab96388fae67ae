from collections.abc import Iterable

from anyio.lowlevel import checkpoint

from rollback.errors import PlatformUnreachable
from rollback.model import Retention, Variable

__all__ = ["MemoryProject"]


class MemoryProject:
    """Environment variables and retention in memory (port `Project`).

    While `down` is set, every call raises `PlatformUnreachable` with it.
    """

    def __init__(
        self,
        variables: Iterable[Variable] = (),
        retention: Retention | None = None,
    ) -> None:
        self.down: str | None = None
        self.environment = tuple(variables)
        self.kept = retention or Retention(days=365, kept=10)

    async def variables(self) -> tuple[Variable, ...]:
        """Production's environment variables, by name."""
        await self._reach()
        return tuple(sorted(self.environment, key=lambda variable: variable.name))

    async def retention(self) -> Retention:
        """How long deployments are kept."""
        await self._reach()
        return self.kept

    async def keep_longer(self, *, days: int) -> None:
        """Keep production deployments for so many days."""
        await self._reach()
        self.kept = Retention(days=days, kept=self.kept.kept)

    async def _reach(self) -> None:
        await checkpoint()
        if self.down:
            raise PlatformUnreachable(self.down)
