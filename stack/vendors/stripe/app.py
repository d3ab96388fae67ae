"""The HTTP face: who may ask, how a request is read, and how it is answered."""

import asyncio
import base64
import binascii
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stack.serving import control
from stack.vendors.stripe.endpoints import ENDPOINTS, Endpoint
from stack.vendors.stripe.errors import StripeError
from stack.vendors.stripe.idempotency import Answer, IdempotencyKeys
from stack.vendors.stripe.params import nested
from stack.vendors.stripe.store import API_VERSION, Call, Store
from stack.vendors.stripe.webhooks import Webhooks

# Stripe takes a moment to write, and so a request can be sent twice at once: without
# this pause nobody would ever meet ``idempotency_key_in_use``.
WRITING_S = 0.05
FORM = "application/x-www-form-urlencoded"

Json = dict[str, Any]
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A port of 127.0.0.1, the shop's secret key, and where its webhook listens."""

    port: int
    secret_key: str
    webhook_url: str
    webhook_secret: str


class _Stripe:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._keys = IdempotencyKeys()
        self.webhooks = Webhooks(url=config.webhook_url, secret=config.webhook_secret)
        self._store = Store(on_event=self.webhooks.send)

    def state(self) -> Json:
        objects = {
            kind: list(by_id.values()) for kind, by_id in self._store.objects.items()
        }
        charges = objects.pop("charges")
        return {
            **objects,
            "charges": [one for one in charges if one["status"] == "succeeded"],
            "declined_charges": [one for one in charges if one["status"] == "failed"],
            "deliveries": self.webhooks.state(),
        }

    def reset(self) -> None:
        self.webhooks.forget()
        self._store.clear()
        self._keys.clear()

    def handler(self, endpoint: Endpoint) -> Handler:
        async def handle(request: Request) -> Response:
            call = None
            try:
                self._authenticate(request.headers.get("authorization", ""))
                call = await _call(request)
                answer = await self._once(endpoint, call, request.url.path)
            except StripeError as error:
                answer = _answer(error.status, error.body, call)
            return _response(answer, call)

        return handle

    def _authenticate(self, header: str) -> None:
        key = _key(header)
        if not key:
            message = (
                "You did not provide an API key. You need to provide your API key in "
                "the Authorization header, using Bearer auth (e.g. 'Authorization: "
                "Bearer YOUR_SECRET_KEY')."
            )
            raise StripeError(401, message)
        if key != self._config.secret_key:
            hidden = key[:8] + "*" * max(0, len(key) - 12) + key[-4:]
            raise StripeError(401, f"Invalid API Key provided: {hidden}")

    async def _once(self, endpoint: Endpoint, call: Call, path: str) -> Answer:
        if endpoint.method != "POST":
            return self._run(endpoint, call)
        if call.idempotency_key is None:
            await asyncio.sleep(WRITING_S)
            return self._run(endpoint, call)
        earlier = self._keys.begin(call.idempotency_key, path, call.params)
        if earlier is not None:
            return replace(earlier, replayed=True)
        await asyncio.sleep(WRITING_S)
        answer = self._run(endpoint, call)
        self._keys.finish(call.idempotency_key, answer)
        return answer

    def _run(self, endpoint: Endpoint, call: Call) -> Answer:
        try:
            endpoint.check(call.params)
            body = endpoint.run(self._store, call)
            body = self._store.expand(body, call.params.get("expand"))
            return _answer(200, body, call)
        except StripeError as error:
            # Stripe saves an answer once execution began: not for a bad parameter.
            answer = _answer(error.status, error.body, call)
            return replace(answer, saved=error.param is None)


def create_app(config: Config) -> Starlette:
    """Give the stand-in, with nothing bought yet."""
    stripe = _Stripe(config)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with stripe.webhooks.running():
            yield

    api = [
        Route(f"/v1{one.path}", stripe.handler(one), methods=[one.method])
        for one in ENDPOINTS
    ]
    return Starlette(
        routes=[*control(stripe.state, stripe.reset), *api],
        lifespan=lifespan,
        exception_handlers={HTTPException: _unrecognized},
    )


async def _unrecognized(request: Request, _: Exception) -> Response:
    message = f"Unrecognized request URL ({request.method}: {request.url.path})."
    return JSONResponse(StripeError(404, message).body, 404)


def _key(header: str) -> str:
    """Read the key: as a bearer token, or as the user name of basic authentication."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


async def _call(request: Request) -> Call:
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if body and kind != FORM:
        message = f"Invalid request (check that your POST content type is {FORM})."
        raise StripeError(400, message)
    pairs = parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
    return Call(
        params=nested([*request.query_params.multi_items(), *pairs]),
        target=request.path_params.get("target", ""),
        request_id=f"req_{secrets.token_hex(7)}",
        idempotency_key=request.headers.get("idempotency-key"),
    )


def _answer(status: int, body: Json, call: Call | None) -> Answer:
    return Answer(
        status=status,
        # Written down now: the objects in it go on changing, a stored answer does not.
        content=json.dumps(body, indent=2).encode(),
        request_id=call.request_id if call else "",
    )


def _response(answer: Answer, call: Call | None) -> Response:
    headers = {"Stripe-Version": API_VERSION}
    if call is not None:
        headers["Request-Id"] = call.request_id
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = call.idempotency_key
    if answer.replayed:
        headers["Idempotent-Replayed"] = "true"
        headers["Original-Request"] = answer.request_id
    return Response(answer.content, answer.status, headers, "application/json")
