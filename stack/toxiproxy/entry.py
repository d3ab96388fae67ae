"""A toxic as it stands in a proxy's list: its name, direction and chance of biting."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast

from stack.toxiproxy.decode import members
from stack.toxiproxy.errors import bad_body, bad_stream, bad_toxic_type
from stack.toxiproxy.toxics import TYPES, Toxic

Direction = Literal["upstream", "downstream"]
"""Upstream is from the client to the server."""

_MEMBERS = {
    "name": str,
    "type": str,
    "stream": str,
    "toxicity": float,
    "attributes": dict,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One toxic of one proxy; never changed in place."""

    name: str
    stream: str
    """As the client wrote it."""
    toxicity: float
    """The chance, from 0 to 1, that a connection is hit."""
    toxic: Toxic

    @property
    def direction(self) -> Direction:
        """Which way it looks."""
        return cast("Direction", self.stream.lower())

    def as_json(self) -> dict[str, Any]:
        """Describe it in the API's words."""
        return {
            "attributes": asdict(self.toxic),
            "name": self.name,
            "type": self.toxic.type,
            "stream": self.stream,
            "toxicity": self.toxicity,
        }


def new(body: Any) -> Entry:
    """Make an entry from what a client sent.

    Raises:
        ApiError: 400, with the original's reasons, checked in its order.

    """
    sent = members(body, "struct field ToxicWrapper", _MEMBERS)
    stream = sent.get("stream", "downstream")
    if stream.lower() not in ("upstream", "downstream"):
        raise bad_stream()
    kind = sent.get("type", "")
    if kind not in TYPES:
        raise bad_toxic_type()
    return Entry(
        name=sent.get("name") or f"{kind}_{stream}",
        stream=stream,
        toxicity=sent.get("toxicity", 1.0),
        toxic=_with_attributes(TYPES[kind](), sent.get("attributes")),
    )


def updated(entry: Entry, body: Any) -> Entry:
    """Merge in what a client sent; only attributes and toxicity can change.

    Raises:
        ApiError: 400, something has the wrong type or a senseless value.

    """
    kinds = {"toxicity": float, "attributes": dict}
    sent = members(body, "value", kinds)
    toxic = _with_attributes(entry.toxic, sent.get("attributes"))
    return replace(entry, toxicity=sent.get("toxicity", entry.toxicity), toxic=toxic)


def _with_attributes(toxic: Toxic, sent: Any) -> Toxic:
    kinds = {field.name: int for field in fields(toxic)}
    changed = replace(toxic, **members(sent, "struct field attributes", kinds))
    try:
        changed.check()
    except ValueError as error:
        raise bad_body(str(error)) from error
    return changed
