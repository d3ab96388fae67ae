"""What the platform is told at start: one JSON argument."""

from dataclasses import dataclass
from typing import Any, Literal

Target = Literal["production", "preview"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One immutable build: where it runs, and what the platform says of it.

    ``state`` and ``substate`` are Vercel's words: a build that is not ``READY`` can
    serve nothing, one that is ``STAGED`` never saw production traffic.
    """

    id: str
    name: str
    git_sha: str
    port: int
    upstream: str
    target: Target = "production"
    state: str = "READY"
    substate: str = "PROMOTED"
    meta: tuple[tuple[str, str], ...] = ()
    """What whoever had it built has noted with it."""

    @property
    def url(self) -> str:
        """Its own host, behind the bypass secret; no scheme, as in Vercel's answers."""
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One environment variable of the project, as its settings hold it."""

    key: str
    type: str = "sensitive"
    value: str = ""
    target: tuple[str, ...] = ("production",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One project of one team, its deployments from the oldest to the newest."""

    api_port: int
    edge_port: int
    token: str
    team_id: str
    team_slug: str
    project_id: str
    project_name: str
    bypass_secret: str
    domains: tuple[str, ...]
    deployments: tuple[Deployment, ...]
    later: tuple[Deployment, ...]
    """Builds that are not there at start; the practice stack deploys them."""
    live: str
    env: tuple[Variable, ...]
    upstream_timeout_seconds: float
    owned_domains: tuple[str, ...]
    """Domains that the team holds; aliases below them may be assigned by the CLI."""


DEFAULT_ENV = (
    {"key": "DATABASE_URL"},
    {"key": "STRIPE_SECRET_KEY"},
    {"key": "SENTRY_ENVIRONMENT", "type": "encrypted", "value": "production"},
    {"key": "NEXT_PUBLIC_SITE_NAME", "type": "plain", "value": "WedSync"},
    {"key": "PREVIEW_BANNER", "type": "plain", "value": "on", "target": ("preview",)},
)


def parse_all(settings: dict[str, Any]) -> tuple[Config, ...]:
    """Read the settings of each project; ``others`` say how they differ from the first.

    Raises:
        KeyError: a setting is missing.
        TypeError: a deployment or variable has a key that is not known.

    """
    shared = dict(settings)
    others = shared.pop("others", ())
    return tuple(parse(shared | each) for each in ({}, *others))


def parse(settings: dict[str, Any]) -> Config:
    """Read the settings.

    Raises:
        KeyError: a setting is missing.
        TypeError: a deployment or variable has a key that is not known.

    """
    given = dict(settings)
    project = given.pop("project")
    env = given.pop("env", DEFAULT_ENV)
    team_id = given["team_id"]
    return Config(
        project_id=project["id"],
        project_name=project["name"],
        team_slug=given.pop("team_slug", team_id.removeprefix("team_")),
        domains=tuple(given.pop("domains")),
        deployments=tuple(Deployment(**each) for each in given.pop("deployments")),
        later=tuple(Deployment(**each) for each in given.pop("later", ())),
        env=tuple(Variable(**each) for each in env),
        owned_domains=tuple(given.pop("owned_domains", ("example.com",))),
        upstream_timeout_seconds=given.pop("upstream_timeout_seconds", 30.0),
        **given,
    )
