"""The projects of the team: one platform holds them all, and each is a world."""

from collections.abc import Iterator, Mapping
from typing import Any

from stack.platform.errors import ApiError
from stack.platform.world import World

NAMING = ("projectId", "app", "projectIdOrName")
"""The parameters of a query that name a project, by its id or its name."""


class Projects:
    """Finds the project that a call is about. The first one is meant without a name."""

    def __init__(self, *worlds: World) -> None:
        self.first = worlds[0]
        self._worlds = worlds

    def __iter__(self) -> Iterator[World]:
        return iter(self._worlds)

    def asked(self, path: Mapping[str, str], query: Mapping[str, str]) -> World:
        """Give the one that a call names, or that has the deployment that it names."""
        named = [path.get("project"), *(query.get(each) for each in NAMING)]
        name = next(filter(None, named), None)
        if name is None:
            return self.holding(path.get("deployment", ""))
        return self._called(name) or self.first

    def broken(self, name: str | None) -> World:
        """Give the one whose faults are meant: the first without a name.

        Raises:
            ApiError: 404, nobody has this project; it would break another in its place.

        """
        found = self.first if name is None else self._called(name)
        if found is None:
            raise ApiError(404, f"Could not find the project: {name}")
        return found

    def holding(self, deployment: str) -> World:
        """Give the one that has this deployment, or a host that leads to one of its."""
        found = (world for world in self._worlds if world.find(deployment))
        return next(found, self.first)

    def _called(self, name: str) -> World | None:
        for world in self._worlds:
            if name in (world.config.project_id, world.config.project_name):
                return world
        return None

    def reset(self) -> None:
        """Go back to the state after start, each of them."""
        for world in self._worlds:
            world.reset()

    def state(self) -> dict[str, Any]:
        """Give what the first one holds, and the others by name."""
        others = {w.config.project_name: w.state() for w in self._worlds[1:]}
        return self.first.state() | {"projects": others}
