"""``python -m stack.app``: serve one release, configured by the environment.

With ``API_PORT`` it is two deployments in one process, of the application and of the
API. Each counts and reports for itself; they share code and routes to dependencies.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace

from psycopg.conninfo import make_conninfo

from stack.app.main import create_app
from stack.app.settings import Settings
from stack.serving import serve


def deployments(environment: Mapping[str, str]) -> Iterator[Settings]:
    """Give what each deployment is told."""
    first = Settings.from_environment(environment)
    yield first
    if "API_PORT" in environment:
        yield replace(
            first,
            port=int(environment["API_PORT"]),
            deployment=environment["API_DEPLOYMENT_ID"],
            git_sha=environment["API_GIT_COMMIT_SHA"],
            database_url=make_conninfo(
                first.database_url, application_name="wedsync-api"
            ),
            connections=5,
        )


if __name__ == "__main__":
    serve(*((create_app(each), each.port) for each in deployments(os.environ)))
