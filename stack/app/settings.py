"""What one deployment is told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

RELEASES = ("v1", "v2", "v3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the dependencies are, and which release of the app this deployment runs."""

    port: int
    release: str
    environment: str
    deployment: str
    git_sha: str
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    stripe_url: str
    stripe_key: str = field(repr=False)
    stripe_webhook_secret: str = field(repr=False)
    auth_url: str
    auth_key: str = field(repr=False)
    sentry_dsn: str = field(repr=False)
    # Of fixed size: the pool grows one by one, too slowly on a slow route.
    connections: int = 40

    def since(self, release: str) -> bool:
        """Tell whether this release has what came with that one."""
        return release <= self.release

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables that the platform sets.

        Raises:
            KeyError: one is missing.
            ValueError: the port is no number, or there is no such release.

        """
        if environment["RELEASE"] not in RELEASES:
            raise ValueError(f"RELEASE is one of {', '.join(RELEASES)}")
        return cls(
            port=int(environment["PORT"]),
            release=environment["RELEASE"],
            environment=environment["VERCEL_ENV"],
            deployment=environment["VERCEL_DEPLOYMENT_ID"],
            git_sha=environment["VERCEL_GIT_COMMIT_SHA"],
            database_url=environment["DATABASE_URL"],
            redis_url=environment["REDIS_URL"],
            stripe_url=environment["STRIPE_API_BASE"].rstrip("/"),
            stripe_key=environment["STRIPE_SECRET_KEY"],
            stripe_webhook_secret=environment["STRIPE_WEBHOOK_SECRET"],
            auth_url=environment["AUTH_URL"].rstrip("/"),
            auth_key=environment["AUTH_SERVICE_KEY"],
            sentry_dsn=environment["SENTRY_DSN"],
        )
