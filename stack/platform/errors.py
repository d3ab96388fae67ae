"""Refusals of the REST API, in Vercel's envelope."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

CODES = {
    400: "bad_request",
    401: "unauthorized",
    402: "payment_required",
    403: "forbidden",
    404: "not_found",
    405: "method_unknown",
    409: "conflict",
    410: "gone",
    422: "unprocessable_entity",
    429: "rate_limited",
    500: "internal_server_error",
}


class ApiError(Exception):
    """The API refuses: a status, a message, and what else the envelope carries."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        code = CODES.get(status, "internal_server_error")
        self.error = {"code": code, "message": message} | more

    def response(self) -> JSONResponse:
        """Give ``{"error": {"code", "message", ...}}``."""
        return JSONResponse({"error": self.error}, self.status, headers=self.headers)
