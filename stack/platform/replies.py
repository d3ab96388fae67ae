"""An answer that never arrives."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class LostReply(Response):
    """Drop the connection in place of the answer, after the work was done."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an interim answer, which clients skip, and nothing after it.

        That is all that ASGI lets an app do to make the server hang up: an app that
        sends nothing, or raises, is answered for with a 500.
        """
        del scope, receive
        await send({"type": "http.response.start", "status": 102, "headers": []})
