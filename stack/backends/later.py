"""Releases that are deployed while the stack runs, and that its reset takes back."""

import psycopg

from stack.app.migrate import SCHEMAS, migrate
from stack.backends.errors import StackError
from stack.backends.world import LATER, World
from stack.toxiproxy.client.api import Client, ToxiproxyError

__all__ = ["prepare", "withdraw"]


def prepare(world: World, release: str) -> None:
    """Bring the schema to what the release was made for, and give it its routes.

    Raises:
        StackError: the database or the fault proxy refused, or cannot be reached.

    """
    try:
        migrate(world.postgres, SCHEMAS[release])
        with Client(world.url("toxiproxy")) as proxies:
            there = proxies.proxies()
            for route in world.routes(release):
                if route["name"] not in there:
                    proxies.create(**route)
    except (psycopg.Error, ToxiproxyError) as error:
        raise StackError(
            f"{release} cannot be deployed ({error}). Start the stack again."
        ) from error


def withdraw(world: World) -> None:
    """Take away the routes of every later release.

    Raises:
        ToxiproxyError: the fault proxy refused, or cannot be reached.

    """
    with Client(world.url("toxiproxy")) as proxies:
        there = proxies.proxies()
        for release in LATER:
            for route in world.routes(release):
                if route["name"] in there:
                    proxies.delete(route["name"])
