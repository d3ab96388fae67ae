"""Stripe's refusals, in its words: docs.stripe.com/error-codes."""

from typing import Any

Json = dict[str, Any]


class StripeError(Exception):
    """An answer other than 200. ``param`` names the parameter at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        **details: object,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        named = {"code": code, "message": message, "param": param, "type": kind}
        given = {key: value for key, value in named.items() if value is not None}
        self.body: Json = {"error": given | details}
        if code is not None:
            page = code.replace("_", "-")
            self.body["error"]["doc_url"] = (
                f"https://stripe.com/docs/error-codes/{page}"
            )


def bad_param(param: str, message: str, code: str | None = None) -> StripeError:
    """Give the refusal of one parameter."""
    return StripeError(400, message, code=code, param=param)


def missing_param(param: str) -> StripeError:
    """Give the refusal of a request that lacks ``param``."""
    return bad_param(param, f"Missing required param: {param}.", "parameter_missing")


def no_such(what: str, name: str, *, param: str, status: int = 400) -> StripeError:
    """Give the answer about an object that does not exist: 404 if the path names it."""
    message = f"No such {what}: '{name}'"
    return StripeError(status, message, code="resource_missing", param=param)


def wrong_state(message: str, intent: Json) -> StripeError:
    """Give the refusal of a step that the intent's status does not allow."""
    code = "payment_intent_unexpected_state"
    return StripeError(400, message, code=code, payment_intent=intent)
