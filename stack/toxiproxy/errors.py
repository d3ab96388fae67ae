"""What the API answers when it does not do as asked."""

from http import HTTPStatus


class ApiError(Exception):
    """A refusal; the wording is part of the protocol, clients compare it."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status

    def as_json(self) -> dict[str, object]:
        """Give the body of the answer."""
        return {"error": str(self), "status": self.status.value}


def bad_body(reason: str) -> ApiError:
    """Refuse a body that is not the JSON expected."""
    return ApiError(HTTPStatus.BAD_REQUEST, f"bad request body: {reason}")


def missing(field: str) -> ApiError:
    """Refuse a proxy without a name or an upstream."""
    return ApiError(HTTPStatus.BAD_REQUEST, f"missing required field: {field}")


def proxy_not_found() -> ApiError:
    """Answer for a name that no proxy has."""
    return ApiError(HTTPStatus.NOT_FOUND, "proxy not found")


def proxy_exists() -> ApiError:
    """Refuse a second proxy of the same name."""
    return ApiError(HTTPStatus.CONFLICT, "proxy already exists")


def toxic_not_found() -> ApiError:
    """Answer for a name that no toxic of the proxy has."""
    return ApiError(HTTPStatus.NOT_FOUND, "toxic not found")


def toxic_exists() -> ApiError:
    """Refuse a second toxic of the same name, on either stream."""
    return ApiError(HTTPStatus.CONFLICT, "toxic already exists")


def bad_toxic_type() -> ApiError:
    """Refuse a type that is not in the catalogue."""
    return ApiError(HTTPStatus.BAD_REQUEST, "invalid toxic type")


def bad_stream() -> ApiError:
    """Refuse a direction that is none."""
    message = "stream was invalid, can be either upstream or downstream"
    return ApiError(HTTPStatus.BAD_REQUEST, message)


def broken(reason: str) -> ApiError:
    """Report what the operating system, or an address, did not allow."""
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, reason)
