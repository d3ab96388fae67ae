"""Who is who in the practice stack: names, keys, ports, what each process is told."""

import json
import os
import random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

RELEASES = ("v1", "v2")
LATER = ("v3",)
"""Releases that are not there at start: ``Stack.deploy`` brings them."""
DEPENDENCIES = ("postgres", "redis", "stripe", "auth", "edge")
COLOURS = {"blue": "v1", "green": "v2"}
"""The API's deployments, and the release whose process runs each."""
VENDORS = ("stripe", "sentry", "slack", "auth")
SINGLE = ("edge", "platform", "toxiproxy", "postgres", "redis", *VENDORS)
ROUTES = tuple(f"{r}-{d}" for r in RELEASES for d in DEPENDENCIES)
PORT_NAMES = (*SINGLE, *ROUTES, *RELEASES, *(f"{r}-app" for r in RELEASES))
PORT_NAMES += ("api", *COLOURS, *(f"{c}-app" for c in COLOURS))
PORT_NAMES += (*LATER, *(f"{r}-app" for r in LATER))
PORT_NAMES += tuple(f"{r}-{d}" for r in LATER for d in DEPENDENCIES)

STRIPE_KEY = "sk_test_wedsync"
WEBHOOK_SECRET = "whsec_test_wedsync"
AUTH_KEY = "auth_test_service_key"
PLATFORM_TOKEN = "vercel_test_token"
TEAM = "team_wedsync"
PROJECT = {"id": "prj_wedsync", "name": "wedsync"}
API_PROJECT = {"id": "prj_wedsync_api", "name": "wedsync-api"}
BYPASS_SECRET = "bypass_test_secret"
SENTRY = {
    "public_key": "0123456789abcdef0123456789abcdef",
    "project_id": "1",
    "org": "wedsync",
    "project": "wedsync-web",
    "auth_token": "sntrys_test_token",
}
SLACK_PATH = "/services/T0000/B0000/test"

# What a server inherits from us. Anything else could be somebody's real key, or a proxy
# between two processes of one machine.
INHERITED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"),
    *("VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One stack's ports and deployments, those of later releases among them.

    ``ports`` has the names of ``PORT_NAMES``: a release's name is its deployment's port
    at the platform, ``<release>-app`` is where its process listens. ``programs`` is the
    folder of the database's own programs, ``backups`` one for what they write.
    """

    ports: dict[str, int]
    postgres: str
    programs: Path
    backups: Path
    deployments: dict[str, str]
    git_shas: dict[str, str]

    def url(self, name: str) -> str:
        """The HTTP address of a port."""
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def redis(self) -> str:
        """Redis, directly."""
        return f"redis://127.0.0.1:{self.ports['redis']}/0"

    @property
    def addresses(self) -> dict[str, str]:
        """Where a person or the engine finds each thing; nothing through the proxy."""
        web = ("edge", "api", "platform", "toxiproxy", *VENDORS)
        return {
            **{name: self.url(name) for name in web},
            "postgres": self.postgres,
            "redis": self.redis,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The settings that point the ``rollback`` command at this stack."""
        return {
            "ROLLBACK_ENVIRONMENT": "production",
            "ROLLBACK_LEDGER_URL": self.postgres,
            "ROLLBACK_SITE_URL": self.url("edge"),
            "ROLLBACK_API_URL": self.url("api"),
            "ROLLBACK_MIGRATIONS": str(ROOT / "stack" / "migrations"),
            "ROLLBACK_POSTGRES_PROGRAMS": str(self.programs),
            "ROLLBACK_BACKUPS": str(self.backups),
            "ROLLBACK_FINGERPRINT_KEY": "test_fingerprint_key",
            "DATABASE_URL": self.postgres,
            "REDIS_URL": self.redis,
            "VERCEL_TOKEN": PLATFORM_TOKEN,
            "VERCEL_TEAM_ID": TEAM,
            "VERCEL_PROJECT_ID": PROJECT["id"],
            "VERCEL_API_PROJECT_ID": API_PROJECT["id"],
            "VERCEL_AUTOMATION_BYPASS_SECRET": BYPASS_SECRET,
            "VERCEL_API_URL": self.url("platform"),
            "SENTRY_AUTH_TOKEN": SENTRY["auth_token"],
            "SENTRY_ORG": SENTRY["org"],
            "SENTRY_PROJECT": SENTRY["project"],
            "SENTRY_URL": self.url("sentry"),
            "SLACK_WEBHOOK_URL": self.url("slack") + SLACK_PATH,
        }

    def toxiproxy(self, config: Path) -> list[str]:
        """What the fault proxy is told: every release's route to every dependency."""
        routes = [route for release in RELEASES for route in self.routes(release)]
        config.write_text(json.dumps(routes))
        where = ["-host", "127.0.0.1", "-port", str(self.ports["toxiproxy"])]
        return [*where, "-config", str(config)]

    def routes(self, release: str) -> list[dict[str, Any]]:
        """One release's routes, as the fault proxy is told of them."""
        return [self._route(release, dependency) for dependency in DEPENDENCIES]

    def vendors(self) -> str:
        """What the vendors' process is told."""
        ports = self.ports
        told: dict[str, dict[str, Any]] = {
            "stripe": {
                "secret_key": STRIPE_KEY,
                "webhook_url": self.url("edge") + "/api/webhooks/stripe",
                "webhook_secret": WEBHOOK_SECRET,
            },
            "sentry": SENTRY,
            "slack": {"path": SLACK_PATH},
            "auth": {"service_key": AUTH_KEY},
        }
        return json.dumps({n: {"port": ports[n], **told[n]} for n in VENDORS})

    def platform(self) -> str:
        """What the platform is told: v2 was deployed last, and is live."""
        edge = self.ports["edge"]
        return json.dumps(
            {
                "api_port": self.ports["platform"],
                "edge_port": edge,
                "token": PLATFORM_TOKEN,
                "team_id": TEAM,
                "project": PROJECT,
                "bypass_secret": BYPASS_SECRET,
                "domains": [f"127.0.0.1:{edge}", "wedsync.localhost"],
                "deployments": [
                    self._deployment(release, self.url(f"{release}-edge"))
                    for release in RELEASES
                ],
                "later": [
                    self._deployment(release, self.url(f"{release}-edge"))
                    for release in LATER
                ],
                "live": self.deployments[RELEASES[-1]],
                "others": [self._api_project()],
            }
        )

    def _api_project(self) -> dict[str, Any]:
        """The API is a project of its own: green was deployed last, and is live."""
        edge = self.ports["api"]
        return {
            "edge_port": edge,
            "project": API_PROJECT,
            "domains": [f"127.0.0.1:{edge}", "api.wedsync.localhost"],
            "deployments": [
                self._deployment(colour, self.url(f"{colour}-app"))
                for colour in COLOURS
            ],
            "later": [],
            "live": self.deployments["green"],
        }

    def app(self, release: str) -> dict[str, str]:
        """The environment of a release's process: dependencies through the proxy."""
        ports = {name: self.ports[f"{release}-{name}"] for name in DEPENDENCIES}
        key, project = SENTRY["public_key"], SENTRY["project_id"]
        direct = f"127.0.0.1:{self.ports['postgres']}"
        return {
            **self._colour(release),
            "PORT": str(self.ports[f"{release}-app"]),
            "RELEASE": release,
            "VERCEL_ENV": "production",
            "VERCEL_DEPLOYMENT_ID": self.deployments[release],
            "VERCEL_GIT_COMMIT_SHA": self.git_shas[release],
            "DATABASE_URL": self.postgres.replace(
                direct, f"127.0.0.1:{ports['postgres']}"
            ),
            "REDIS_URL": f"redis://127.0.0.1:{ports['redis']}/0",
            "STRIPE_API_BASE": f"http://127.0.0.1:{ports['stripe']}",
            "STRIPE_SECRET_KEY": STRIPE_KEY,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "AUTH_URL": f"http://127.0.0.1:{ports['auth']}",
            "AUTH_SERVICE_KEY": AUTH_KEY,
            "SENTRY_DSN": f"http://{key}@127.0.0.1:{self.ports['sentry']}/{project}",
        }

    def _colour(self, release: str) -> dict[str, str]:
        """What a release's process is told of the API's deployment that it runs too."""
        for colour, runs in COLOURS.items():
            if runs == release:
                return {
                    "API_PORT": str(self.ports[f"{colour}-app"]),
                    "API_DEPLOYMENT_ID": self.deployments[colour],
                    "API_GIT_COMMIT_SHA": self.git_shas[colour],
                }
        return {}

    def _route(self, release: str, dependency: str) -> dict[str, Any]:
        name = f"{release}-{dependency}"
        upstream = f"{release}-app" if dependency == "edge" else dependency
        return {
            "name": name,
            "listen": f"127.0.0.1:{self.ports[name]}",
            "upstream": f"127.0.0.1:{self.ports[upstream]}",
            "enabled": True,
        }

    def _deployment(self, name: str, upstream: str) -> dict[str, Any]:
        return {
            "id": self.deployments[name],
            "name": name,
            "git_sha": self.git_shas[name],
            "port": self.ports[name],
            "upstream": upstream,
        }


def identities(
    seed: int | str, names: Sequence[str] = (*RELEASES, *COLOURS)
) -> tuple[dict[str, str], dict[str, str]]:
    """Deployment ids and commits by name, the same for a seed."""
    dice = random.Random(seed)  # noqa: S311 - names, not keys
    alphabet = string.ascii_letters + string.digits
    ids = {n: "dpl_" + "".join(dice.choices(alphabet, k=28)) for n in names}
    return ids, {n: f"{dice.getrandbits(160):040x}" for n in names}


def inherited() -> dict[str, str]:
    """The part of our environment that a server gets."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1"}
