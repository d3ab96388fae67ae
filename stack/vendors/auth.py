"""Supabase Auth (GoTrue) behind Supabase's gateway: health, users, sign-in.

Source: supabase.com/docs, "Auth REST API"; error codes as in ``@supabase/auth-js``.
"""

import re
import secrets
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stack.serving import control

TOKEN_LIFETIME_S = 3600
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

# The gateway's words, not GoTrue's: no code in them.
_NO_KEY = {
    "message": "No API key found in request",
    "hint": "No `apikey` request header or url param was found.",
}
_WRONG_KEY = {
    "message": "Invalid API key",
    "hint": "Double check your Supabase `anon` or `service_role` API key.",
}

Json = dict[str, Any]
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A port of 127.0.0.1 and the key that may do everything (``service_role``)."""

    port: int
    service_key: str


@dataclass(slots=True, kw_only=True)
class User:
    """One account. Its password is kept to check it, and never shown."""

    email: str
    password: str | None = field(repr=False)
    confirmed: bool
    metadata: Json
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    def json(self) -> Json:
        """Give the user as the API shows it."""
        return {
            "id": self.id,
            "aud": "authenticated",
            "role": "authenticated",
            "email": self.email,
            "email_confirmed_at": self.created_at if self.confirmed else None,
            "phone": "",
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": self.metadata,
            "identities": [],
            "created_at": self.created_at,
            "updated_at": self.created_at,
            "is_anonymous": False,
        }


class _AuthError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": status, "error_code": code, "msg": message}


class _Auth:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._users: dict[str, User] = {}

    def state(self) -> Json:
        return {"users": [user.json() for user in self._users.values()]}

    def reset(self) -> None:
        self._users.clear()

    async def create_user(self, request: Request) -> Response:
        self._require_bearer(request)
        body = await _body(request)
        email = _email(body)
        if email in self._users:
            taken = "A user with this email address has already been registered"
            raise _AuthError(422, "email_exists", taken)
        user = User(
            email=email,
            password=body.get("password"),
            confirmed=body.get("email_confirm") is True,
            metadata=body.get("user_metadata") or {},
        )
        self._users[email] = user
        return JSONResponse(user.json())

    async def token(self, request: Request) -> Response:
        if request.query_params.get("grant_type") != "password":
            raise _AuthError(400, "validation_failed", "unsupported_grant_type")
        body = await _body(request)
        user = self._users.get(str(body.get("email", "")).lower())
        password = body.get("password")
        if user is None or not password or user.password != password:
            raise _AuthError(400, "invalid_credentials", "Invalid login credentials")
        if not user.confirmed:
            raise _AuthError(400, "email_not_confirmed", "Email not confirmed")
        return JSONResponse(_session(user))

    def gated(self, handler: Handler) -> Handler:
        """Put the gateway before a handler: nothing passes without the ``apikey``."""

        async def behind_the_gateway(request: Request) -> Response:
            key = request.headers.get("apikey")
            if key is None:
                return JSONResponse(_NO_KEY, 401)
            if key != self._config.service_key:
                return JSONResponse(_WRONG_KEY, 401)
            return await handler(request)

        return behind_the_gateway

    def _require_bearer(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            needed = "This endpoint requires a valid Bearer token"
            raise _AuthError(401, "no_authorization", needed)
        if token != self._config.service_key:
            raise _AuthError(401, "bad_jwt", "invalid JWT: unable to verify signature")


def create_app(config: Config) -> Starlette:
    """Give the stand-in, with no user yet."""
    auth = _Auth(config)
    return Starlette(
        routes=[
            *control(auth.state, auth.reset),
            Route("/auth/v1/health", auth.gated(_health)),
            Route(
                "/auth/v1/admin/users", auth.gated(auth.create_user), methods=["POST"]
            ),
            Route("/auth/v1/token", auth.gated(auth.token), methods=["POST"]),
        ],
        exception_handlers={_AuthError: _refuse},
    )


async def _health(_: Request) -> Response:
    return JSONResponse(
        {
            "version": "v2.180.0",
            "name": "GoTrue",
            "description": "GoTrue is a user registration and authentication API",
        }
    )


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, _AuthError):
        raise error
    return JSONResponse(error.body, error.status)


async def _body(request: Request) -> Json:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _AuthError(400, "bad_json", "Could not parse request body as JSON")
    return body


def _email(body: Json) -> str:
    email = body.get("email")
    if not isinstance(email, str) or not _EMAIL.fullmatch(email):
        wrong = "Unable to validate email address: invalid format"
        raise _AuthError(400, "validation_failed", wrong)
    return email.lower()


def _session(user: User) -> Json:
    return {
        "access_token": secrets.token_urlsafe(32),
        "token_type": "bearer",
        "expires_in": TOKEN_LIFETIME_S,
        "refresh_token": secrets.token_urlsafe(12),
        "user": user.json(),
    }
