"""What a query string says of time and of pages, each in Sentry's own form."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request

from stack.vendors.sentry.events import moment
from stack.vendors.sentry.query import QueryError

MAX_PAGE = 100
DEFAULT_PERIOD = "90d"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def span(asked: QueryParams) -> tuple[datetime, datetime]:
    """Give the first moment and the one after the last; 90 days if nothing is said."""
    start, end = asked.get("start"), asked.get("end")
    period = asked.get("statsPeriod")
    if period is None and (start or end):
        if not (start and end):
            raise QueryError("start and end are both required")
        return _ordered(_moment(start), _moment(end))
    now = datetime.now(UTC)
    # Up to a second ahead: timestamps are those of the senders' clocks.
    return now - _period(period or DEFAULT_PERIOD), now + timedelta(seconds=1)


def _ordered(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    if start > end:
        raise QueryError("start must be before end")
    return start, end


def _moment(value: str) -> datetime:
    try:
        return moment(value)
    except ValueError:
        raise QueryError(f"{value} is not a valid ISO8601 date") from None


def _period(value: str) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", value)
    if match is None:
        raise QueryError(f"Invalid statsPeriod: {value!r}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def page_size(asked: QueryParams) -> int:
    """Give how many rows a page has."""
    value = asked.get("per_page", str(MAX_PAGE))
    if not value.isdigit() or not 1 <= int(value) <= MAX_PAGE:
        message = f"Invalid per_page value. Must be between 1 and {MAX_PAGE}."
        raise QueryError(message)
    return int(value)


def offset(asked: QueryParams) -> int:
    """Give the row with which the page begins: the cursor's middle number."""
    match = re.fullmatch(r"0:([0-9]{1,9}):[01]", asked.get("cursor", "0:0:0"))
    if match is None:
        raise QueryError("Invalid cursor parameter.")
    return int(match[1])


def link(request: Request, begin: int, size: int, *, more: bool) -> str:
    """Give the header ``Link``; only ``results="true"`` says that there is a page."""
    before = _relation(request, "previous", max(0, begin - size), 1, begin > 0)
    after = _relation(request, "next", begin + size, 0, more)
    return f"{before}, {after}"


def _relation(request: Request, name: str, begin: int, back: int, results: bool) -> str:
    cursor = f"0:{begin}:{back}"
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
    url = request.url.replace(query=urlencode([*pairs, ("cursor", cursor)]))
    found = str(results).lower()
    return f'<{url}>; rel="{name}"; results="{found}"; cursor="{cursor}"'
