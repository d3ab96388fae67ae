"""The edge: finds the deployment that a host leads to, and guards its own host."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from stack.platform import pages
from stack.platform.config import Deployment
from stack.platform.delivery import Delivery
from stack.platform.visit import Visit, host_of, version_of
from stack.platform.world import World
from stack.serving import ASGIApp, Message, Receive, Send

COLOURED = b"/api/"
"""The paths that the rewrite of ``vercel.json`` is for."""


class Edge:
    """Serves the project's hosts on one port, and each deployment on its own.

    ``colours`` is the edge of the API's project: with ``x-deployment-version`` a visit
    of ``/api/`` is answered by its deployment of that name, as by a rewrite.
    """

    def __init__(self, world: World, *, colours: "Edge | None" = None) -> None:
        self.world = world
        self._colours = colours
        timeout_s = world.config.upstream_timeout_seconds
        self._delivery = Delivery(world.cache, timeout_s)

    def production(self) -> ASGIApp:
        """Give the app that serves whatever deployment the asked host leads to."""

        async def app(scope: Message, receive: Receive, send: Send) -> None:
            host = self._known(host_of(scope))
            deployment = self.world.serving(host)
            if deployment is None:
                await _not_found(send)
                return
            public = host in self.world.hosts
            if public and self._colours and (colour := self._colours.picked(scope)):
                await self._colours.show(Visit(scope, receive, send, colour))
                return
            visit = Visit(scope, receive, send, deployment)
            await self._admit(visit, guarded=not public)

        return Starlette(routes=[Mount("/", app)], lifespan=self._lifespan)

    def alone(self, deployment: Deployment) -> ASGIApp:
        """Give the app that serves one deployment, behind the bypass secret."""

        async def app(scope: Message, receive: Receive, send: Send) -> None:
            if deployment.id not in self.world.deployments:
                await _not_found(send)
                return
            visit = Visit(scope, receive, send, deployment)
            await self._admit(visit, guarded=True)

        return Starlette(routes=[Mount("/", app)])

    def picked(self, scope: Message) -> Deployment | None:
        """Find the deployment that a visit asks for by its name; None for any other."""
        wanted = version_of(scope)
        if wanted is None or not scope["raw_path"].startswith(COLOURED):
            return None
        kept = (d for d in self.world.deployments.values() if d.name == wanted)
        return next((d for d in kept if d.id not in self.world.deleted), None)

    async def show(self, visit: Visit) -> None:
        """Answer as what was picked: as guarded as at its own address, unless live."""
        live = visit.deployment.id in self.world.hosts.values()
        await self._admit(visit, guarded=not live)

    async def _admit(self, visit: Visit, *, guarded: bool) -> None:
        if guarded and not visit.knows(self.world.config.bypass_secret):
            await pages.send_login(visit.send, visit.common)
        else:
            await self._delivery.answer(visit)

    def _known(self, host: str) -> str:
        """Give the host as it is known: a name that leads anywhere may have a port."""
        name, _, _ = host.partition(":")
        return name if name in self.world.hosts else host

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        await self._delivery.aclose()


async def _not_found(send: Send) -> None:
    number = pages.request_id()
    await pages.send_error(send, 404, "DEPLOYMENT_NOT_FOUND", [], number=number)
