"""The endpoints of the REST API, and the versions they are served under."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from starlette.responses import Response

from stack.platform import keeping, moving, reading
from stack.platform.calls import Call


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its name in faults and limits, the versions it is served under.

    ``team`` says what a call gets that names no team: refused (``required``), the
    answer for a person, who owns nothing (``filters``), or the usual one (``free``).
    """

    name: str
    method: str
    versions: str
    path: str
    handle: Callable[[Call], Response]
    team: Literal["required", "filters", "free"] = "required"

    def paths(self) -> list[str]:
        """Give the path under each version."""
        return [f"/{version}{self.path}" for version in self.versions.split()]


PROJECT = "/projects/{project}"
ENDPOINTS = (
    Endpoint("user", "GET", "v2", "/user", reading.user, "free"),
    Endpoint("teams", "GET", "v1 v2", "/teams", reading.teams, "free"),
    Endpoint("team", "GET", "v1 v2", "/teams/{team}", reading.team, "free"),
    Endpoint(
        "deployments", "GET", "v6 v7", "/deployments", reading.deployments, "filters"
    ),
    Endpoint("redeploy", "POST", "v13", "/deployments", moving.redeploy),
    Endpoint(
        "deployment", "GET", "v13", "/deployments/{deployment}", reading.deployment
    ),
    Endpoint("aliases", "GET", "v4", "/aliases", reading.aliases, "filters"),
    Endpoint("aliases", "GET", "v3", "/now/aliases", reading.aliases, "filters"),
    Endpoint("domain", "GET", "v4 v5", "/domains/{domain}", reading.domain),
    Endpoint(
        "deployment_aliases",
        "GET",
        "v2 now",
        "/deployments/{deployment}/aliases",
        reading.deployment_aliases,
    ),
    Endpoint(
        "assign_alias",
        "POST",
        "v2 now",
        "/deployments/{deployment}/aliases",
        moving.assign_alias,
    ),
    Endpoint("project", "GET", "v9", PROJECT, reading.project),
    Endpoint("update_project", "PATCH", "v9", PROJECT, moving.update_project),
    Endpoint(
        "rollback_aliases",
        "GET",
        "v9",
        PROJECT + "/rollback/aliases",
        reading.rollback_aliases,
    ),
    Endpoint(
        "rollback",
        "POST",
        "v1 v9",
        PROJECT + "/rollback/{deployment}",
        moving.rollback,
    ),
    Endpoint(
        "update_description",
        "PATCH",
        "v1 v9",
        PROJECT + "/rollback/{deployment}/update-description",
        moving.update_description,
    ),
    Endpoint(
        "promote_aliases",
        "GET",
        "v9",
        PROJECT + "/promote/aliases",
        reading.promote_aliases,
    ),
    Endpoint(
        "promote_aliases",
        "GET",
        "v1",
        PROJECT + "/promote/aliases",
        reading.promote_aliases_flat,
    ),
    Endpoint(
        "promote", "POST", "v10", PROJECT + "/promote/{deployment}", moving.promote
    ),
    Endpoint(
        "rolling_release",
        "GET",
        "v1",
        PROJECT + "/rolling-release",
        reading.rolling_release,
    ),
    Endpoint("env", "GET", "v10", PROJECT + "/env", keeping.variables),
    Endpoint("env_one", "GET", "v1", PROJECT + "/env/{variable}", keeping.variable),
    Endpoint(
        "retention", "PATCH", "v9", PROJECT + "/deployment-expiration", keeping.keep
    ),
    Endpoint(
        "invalidate_by_tags",
        "POST",
        "v1",
        "/edge-cache/invalidate-by-tags",
        moving.invalidate_by_tags,
    ),
    Endpoint(
        "delete_by_tags",
        "POST",
        "v1",
        "/edge-cache/dangerously-delete-by-tags",
        moving.delete_by_tags,
    ),
)
