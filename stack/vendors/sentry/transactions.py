"""A transaction of the SDK, as the two data sets have it that know transactions.

Source: getsentry/sentry, src/sentry/snuba/events.py and src/sentry/search/eap/spans/
attributes.py for the fields; develop.sentry.dev for the payload. In ``spans`` the
timestamp is the beginning, in ``transactions`` the end.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from stack.vendors.sentry import events
from stack.vendors.sentry.events import Event

Json = dict[str, Any]

DURATIONS = frozenset({"span.duration", "transaction.duration"})
SPANS = frozenset(
    {
        "span.duration",
        "span.status",
        "span.status_code",
        "is_transaction",
        "transaction.op",
    }
)
TRANSACTIONS = frozenset(
    {"transaction.duration", "transaction.status", "transaction.op"}
)
CODE = "http.status_code"  # a tag


def parse(payload: bytes, received_at: datetime) -> dict[str, Event]:
    """Read the SDK's transaction: a row for each data set, by its name.

    Raises:
        ValueError: it is not one.

    """
    ended = events.parse(payload, received_at)
    data = json.loads(payload)
    trace = data["contexts"]["trace"]
    begin, end = (_seconds(data[key]) for key in ("start_timestamp", "timestamp"))
    status = str(trace.get("status") or "unknown")
    facts = {"transaction.op": str(trace.get("op") or "default")}
    duration = round((end - begin) * 1000, 3)
    span: dict[str, str | float] = {
        **facts,
        "is_transaction": "true",
        "span.duration": duration,
        "span.status": status,
        "span.status_code": ended.tags.get(CODE, ""),
    }
    return {
        "transactions": replace(
            ended,
            more={
                **facts,
                "transaction.duration": duration,
                "transaction.status": status,
            },
        ),
        "spans": replace(
            ended,
            event_id=str(trace["span_id"]),
            timestamp=events.moment(data["start_timestamp"]),
            more=span,
        ),
    }


def fields(names: frozenset[str]) -> Mapping[str, events.Reader]:
    """How a data set's own fields are read, beside the ones that all have."""
    return {**events.COMMON, **{name: _reader(name) for name in names}}


def _reader(name: str) -> events.Reader:
    return lambda event: event.more.get(name)


def _seconds(value: Any) -> float:
    if isinstance(value, int | float):
        return float(value)
    return datetime.fromisoformat(str(value)).timestamp()
