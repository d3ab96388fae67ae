"""One event, as it is kept and as it is asked about."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

# Tags that this shop's events carry; others count once an event has carried them.
SHOP_TAGS = frozenset({"error_code", "deployment"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A row of a data set. ``timestamp`` is the sender's, ``received_at`` ours.

    ``more`` has what only this data set has, by the names that queries use.
    """

    event_id: str
    timestamp: datetime
    received_at: datetime
    level: str
    title: str
    message: str
    exception: Mapping[str, str] | None
    tags: Mapping[str, str]
    release: str | None
    environment: str | None
    platform: str | None
    transaction: str | None
    more: Mapping[str, str | float] = field(default_factory=dict)

    def json(self) -> Json:
        """Give the event for the test that looks into the stand-in."""
        return {
            "event_id": self.event_id,
            "timestamp": self.timestamp.isoformat(),
            "received_at": self.received_at.isoformat(),
            "level": self.level,
            "title": self.title,
            "message": self.message,
            "exception": self.exception and dict(self.exception),
            "tags": dict(self.tags),
            "release": self.release,
            "environment": self.environment,
            "platform": self.platform,
            "transaction": self.transaction,
            **self.more,
        }

    def part(self, name: str) -> str | None:
        """Give a part of the exception, if there is one."""
        return self.exception.get(name) if self.exception else None


Reader = Callable[[Event], str | float | None]

# Fields that Sentry keeps apart from the tags; ``timestamp`` is asked in its own way.
COMMON: Mapping[str, Reader] = {
    "id": lambda event: event.event_id,
    "release": lambda event: event.release,
    "environment": lambda event: event.environment,
    "platform": lambda event: event.platform,
    "transaction": lambda event: event.transaction,
}
ERRORS: Mapping[str, Reader] = {
    **COMMON,
    "title": lambda event: event.title,
    "message": lambda event: event.message,
    "level": lambda event: event.level,
    "event.type": lambda event: "error" if event.exception else "default",
    "error.type": lambda event: event.part("type"),
    "error.value": lambda event: event.part("value"),
}


def parse(payload: bytes, received_at: datetime) -> Event:
    """Read the SDK's event.

    Raises:
        ValueError: it is not one.

    """
    data = json.loads(payload)
    if not isinstance(data, dict):
        raise ValueError("an event is an object")  # noqa: TRY004  # bad data, no bug
    exception = _exception(data)
    message = _message(data)
    return Event(
        event_id=str(data.get("event_id") or uuid.uuid4().hex).replace("-", ""),
        timestamp=moment(data.get("timestamp", received_at.isoformat())),
        received_at=received_at,
        level=str(data.get("level") or "error"),
        title=_title(exception, message),
        message=message,
        exception=exception,
        tags=_tags(data.get("tags")),
        release=data.get("release"),
        environment=data.get("environment"),
        platform=data.get("platform"),
        transaction=data.get("transaction"),
    )


def moment(value: object) -> datetime:
    """Read a time as Sentry takes it: ISO 8601 (UTC if not said) or epoch seconds.

    Sentry's error events know whole seconds only, in what is kept and what is asked.

    Raises:
        ValueError: it is neither.

    """
    if isinstance(value, int | float):
        return datetime.fromtimestamp(int(value), UTC)
    when = datetime.fromisoformat(str(value)).replace(microsecond=0)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _exception(data: Json) -> dict[str, str] | None:
    values = data.get("exception") or {}
    if isinstance(values, dict):
        values = values.get("values") or []
    if not values:
        return None
    # The last one is the one that was raised; those before it are its causes.
    last = values[-1]
    return {key: str(last.get(key) or "") for key in ("type", "value")}


def _message(data: Json) -> str:
    entry = data.get("logentry") or data.get("message") or ""
    if isinstance(entry, dict):
        entry = entry.get("formatted") or entry.get("message") or ""
    return str(entry)


def _title(exception: dict[str, str] | None, message: str) -> str:
    if exception is None:
        return message.partition("\n")[0] or "<unlabeled event>"
    return ": ".join(filter(None, (exception["type"], exception["value"])))


def _tags(tags: Any) -> dict[str, str]:
    pairs = tags.items() if isinstance(tags, dict) else tags or []
    return {str(key): str(value) for key, value in pairs if value is not None}
