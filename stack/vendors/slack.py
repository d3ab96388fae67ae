"""Slack: an incoming webhook and ``chat.postMessage``.

Source: api.slack.com, "Sending messages using incoming webhooks" and "Rate limits".
"""

import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from stack.serving import control

# Slack allows about one message a second for each channel and "short bursts" above it.
# It names no number for the burst; ten is more than one rollback sends at once.
BURST = 10
REFILL_PER_S = 1.0
RETRY_AFTER_S = 1
MAX_BLOCKS = 50

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where the webhook listens: a port of 127.0.0.1 and a path with its secret."""

    port: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message that Slack took, and when (seconds since the epoch)."""

    channel: str
    text: str | None
    blocks: list[Json]
    payload: Json
    received_at: float


@dataclass(slots=True)
class _Bucket:
    tokens: float = BURST
    filled_at: float = field(default_factory=time.monotonic)

    def take(self) -> bool:
        now = time.monotonic()
        gained = (now - self.filled_at) * REFILL_PER_S
        self.tokens = min(BURST, self.tokens + gained)
        self.filled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class _RefusedError(Exception):
    """Carries Slack's own word for what is wrong with a message."""


class _Slack:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._buckets: defaultdict[str, _Bucket] = defaultdict(_Bucket)

    def state(self) -> Json:
        return {"messages": [asdict(message) for message in self.messages]}

    def reset(self) -> None:
        self.messages.clear()
        self._buckets.clear()

    async def webhook(self, request: Request) -> Response:
        if not self._buckets["webhook"].take():
            return _too_many(PlainTextResponse("rate_limited", 429))
        try:
            payload = _payload(await request.body(), request.headers)
            self._keep("webhook", payload)
        except _RefusedError as refusal:
            return PlainTextResponse(str(refusal), 400)
        return PlainTextResponse("ok")

    async def post_message(self, request: Request) -> Response:
        try:
            _require_token(request.headers.get("authorization", ""))
            payload = _payload(await request.body(), request.headers)
            channel = _channel(payload)
            if not self._buckets[channel].take():
                answer = {"ok": False, "error": "ratelimited"}
                return _too_many(JSONResponse(answer, 429))
            message = self._keep(channel, payload)
        except _RefusedError as refusal:
            return JSONResponse({"ok": False, "error": str(refusal)})
        return JSONResponse(_posted(message))

    def _keep(self, channel: str, payload: Json) -> Message:
        message = Message(
            channel=channel,
            text=payload.get("text"),
            blocks=_blocks(payload),
            payload=payload,
            received_at=time.time(),
        )
        if not (message.text or message.blocks or payload.get("attachments")):
            raise _RefusedError("no_text")
        self.messages.append(message)
        return message


def create_app(config: Config) -> Starlette:
    """Give the stand-in, with no message yet."""
    slack = _Slack()
    return Starlette(
        routes=[
            *control(slack.state, slack.reset),
            Route("/api/chat.postMessage", slack.post_message, methods=["POST"]),
            Route(config.path, slack.webhook, methods=["POST"]),
            Route("/{path:path}", _no_service, methods=["POST"]),
        ]
    )


async def _no_service(_: Request) -> Response:
    return PlainTextResponse("no_service", 404)


def _too_many(response: Response) -> Response:
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _payload(body: bytes, headers: Headers) -> Json:
    """Read JSON, or the older form with JSON in its field ``payload``."""
    text = body.decode(errors="replace")
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        text = parse_qs(text).get("payload", [""])[0]
    try:
        payload = json.loads(text)
    except ValueError:
        raise _RefusedError("invalid_payload") from None
    if not isinstance(payload, dict):
        raise _RefusedError("invalid_payload")
    if not isinstance(payload.get("text") or "", str):
        raise _RefusedError("invalid_payload")
    return payload


def _blocks(payload: Json) -> list[Json]:
    blocks = payload.get("blocks") or []
    if not isinstance(blocks, list) or len(blocks) > MAX_BLOCKS:
        raise _RefusedError("invalid_blocks")
    if not all(isinstance(block, dict) and block.get("type") for block in blocks):
        raise _RefusedError("invalid_blocks")
    return blocks


def _channel(payload: Json) -> str:
    channel = payload.get("channel")
    if not isinstance(channel, str) or not channel:
        raise _RefusedError("channel_not_found")
    return channel


def _require_token(authorization: str) -> None:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise _RefusedError("not_authed")
    if not token.startswith("xoxb-"):
        raise _RefusedError("invalid_auth")


def _posted(message: Message) -> Json:
    stamp = f"{message.received_at:.6f}"
    return {
        "ok": True,
        "channel": message.channel,
        "ts": stamp,
        "message": {"type": "message", "text": message.text, "ts": stamp},
    }
