"""What every flag store does with a flag and what is saved of it, wherever it is kept.

A flag that is off holds `disabled`. What it held before is kept as JSON: when it was
switched off (`rolled_back_at`), its state (`previous_state`), and when that was put
back (`restored_at`). A state that is no text stands in base64 in
`previous_state_base64` instead.
"""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rollback.errors import FlagChanged, NothingSaved, UnknownFlag

__all__ = ["OFF", "Held", "put_back", "switched_off"]

OFF = b"disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a store holds of one flag, to the byte; None where it holds nothing."""

    state: bytes | None
    record: bytes | None


def switched_off(name: str, held: Held, at: datetime) -> Held | None:
    """What is to be held so that the flag is off; None when it is off already.

    A flag that is off keeps the record that it has: what it held before is in there.
    """
    if held.state is None:
        raise UnknownFlag(name)
    if held.state == OFF:
        return None
    saved = {"rolled_back_at": _iso(at), **_written(held.state)}
    return Held(state=OFF, record=json.dumps(saved).encode())


def put_back(name: str, held: Held, at: datetime) -> Held | None:
    """What is to be held so that the flag is as it was; None when it is already.

    A state that somebody has set meanwhile is theirs, and is not written over.
    """
    if held.state is None:
        raise UnknownFlag(name)
    record = _read(held.record)
    previous = _previous(name, record)
    done = "restored_at" in record
    if held.state == previous and done:
        return None
    if held.state != previous and done:
        raise NothingSaved(
            f"{name} was put back at {record['restored_at']} and has changed since: "
            "nothing newer is saved."
        )
    if held.state not in (previous, OFF):
        raise FlagChanged(
            f"{name} was given another state after it was switched off: "
            "that is not written over."
        )
    marked = {**record, "restored_at": _iso(at)}
    return Held(state=previous, record=json.dumps(marked).encode())


def _written(state: bytes) -> dict[str, Any]:
    try:
        return {"previous_state": state.decode()}
    except UnicodeDecodeError:
        encoded = base64.b64encode(state).decode()
        return {"previous_state": None, "previous_state_base64": encoded}


def _read(record: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(record or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _previous(name: str, record: dict[str, Any]) -> bytes:
    """The state that was saved. Only text and bytes can be put back as they were."""
    text, encoded = record.get("previous_state"), record.get("previous_state_base64")
    try:
        if isinstance(text, str):
            return text.encode()
        if isinstance(encoded, str):
            return base64.b64decode(encoded, validate=True)
    except ValueError:  # what another program has written
        pass
    raise NothingSaved(f"No state is saved for {name} that could be put back.")


def _iso(at: datetime) -> str:
    """As JavaScript's `toISOString` writes it."""
    utc = at.astimezone(UTC).isoformat(timespec="milliseconds")
    return utc.replace("+00:00", "Z")
