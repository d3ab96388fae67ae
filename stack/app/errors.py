"""The answers that are not what was asked for.

AppError
├── BadJson 400 · BadSignature 400
├── CardDeclined 402
├── NotFound 404
├── EmailTaken 409 · OrderDiffers 409
├── InvalidInput 422
├── StripeWebhookFailed 500, critical
├── StripeUnavailable 502
└── DatabaseConnectionLost 503, critical · DatabaseBusy 503 · CacheUnavailable 503
    · AuthServiceDown 503, critical
"""

from typing import ClassVar


class AppError(Exception):
    """An answer with a code; the first argument is its message to the user."""

    status: ClassVar[int]
    code: ClassVar[str]
    critical: ClassVar[bool] = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.__doc__)


class BadJson(AppError):
    """The body is not a JSON object."""

    status, code = 400, "BAD_JSON"


class BadSignature(AppError):
    """The webhook's signature does not fit its body."""

    status, code = 400, "BAD_SIGNATURE"


class CardDeclined(AppError):
    """The card was declined."""

    status, code = 402, "CARD_DECLINED"


class NotFound(AppError):
    """There is no such thing."""

    status, code = 404, "NOT_FOUND"


class EmailTaken(AppError):
    """There is an account with this e-mail address already."""

    status, code = 409, "EMAIL_TAKEN"


class OrderDiffers(AppError):
    """This order was made with another amount or currency."""

    status, code = 409, "ORDER_DIFFERS"


class InvalidInput(AppError):
    """A field is missing or wrong."""

    status, code = 422, "INVALID_INPUT"


class StripeWebhookFailed(AppError):
    """The event could not be handled because Stripe cannot be reached."""

    status, code, critical = 500, "STRIPE_WEBHOOK_FAILED", True


class StripeUnavailable(AppError):
    """No payment now; asking again for this order charges once at most."""

    status, code = 502, "STRIPE_UNAVAILABLE"


class DatabaseConnectionLost(AppError):
    """The database cannot be reached."""

    status, code, critical = 503, "DATABASE_CONNECTION_LOST", True


class DatabaseBusy(AppError):
    """The database is there, but too busy to answer in time."""

    status, code = 503, "DATABASE_BUSY"


class CacheUnavailable(AppError):
    """Sessions and flags cannot be read now."""

    status, code = 503, "CACHE_UNAVAILABLE"


class AuthServiceDown(AppError):
    """Accounts cannot be created now."""

    status, code, critical = 503, "AUTH_SERVICE_DOWN", True
