"""One call of the REST API, and what every endpoint asks of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stack.platform.config import Deployment
from stack.platform.errors import ApiError
from stack.platform.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that was let in: path parameters, query, JSON body.

    ``in_team`` is false when it did not name a team: the personal account is asked.
    """

    world: World
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any]
    in_team: bool

    def deployment(self) -> Deployment:
        """Find the deployment that the path names, or raise 404."""
        return self.world.deployment(self.path["deployment"])

    def serving_deployment(self) -> Deployment:
        """Find the deployment that the path names, fit to serve production.

        Raises:
            ApiError: 404, unknown; 422, not READY or not built for production.

        """
        deployment = self.deployment()
        if deployment.id in self.world.faults.table.get("foreign", ()):
            raise ApiError(404, f"Could not find the deployment: {deployment.id}")
        if deployment.id in self.world.deleted:
            raise ApiError(410, f"Deployment {deployment.id} has been deleted")
        if deployment.state != "READY":
            raise ApiError(422, f"Deployment {deployment.id} is {deployment.state}")
        if deployment.target != "production":
            raise ApiError(422, f"{deployment.id} is not a production deployment")
        return deployment

    def check_project(self, name: str | None) -> None:
        """Raise 404 unless this names the project; None and the empty string do not."""
        config = self.world.config
        if name not in (config.project_id, config.project_name):
            raise ApiError(404, f"Could not find the project: {name}")

    def number(self, name: str, default: int) -> int:
        """Read a number of the query, or raise 400."""
        try:
            return int(self.query.get(name, default))
        except ValueError:
            raise ApiError(400, f"`{name}` should be a number") from None
