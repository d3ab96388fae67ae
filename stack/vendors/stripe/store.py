"""What the stand-in holds, and how it is found, listed and expanded."""

import copy
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stack.vendors.stripe import params as read
from stack.vendors.stripe.cards import Card
from stack.vendors.stripe.errors import bad_param, no_such

API_VERSION = "2026-10-28.endive"
DEFAULT_PAGE = 10
MAX_PAGE = 100
_RANGE = {"gt": int.__gt__, "gte": int.__ge__, "lt": int.__lt__, "lte": int.__le__}

Json = dict[str, Any]
# What Stripe calls an object, by the name of its list.
KINDS = {
    "customers": "customer",
    "payment_intents": "payment_intent",
    "charges": "charge",
    "refunds": "refund",
    "events": "event",
}
_REFERENCES = {
    "customer": "customers",
    "payment_intent": "payment_intents",
    "latest_charge": "charges",
    "charge": "charges",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: its parameters and, where the path names an object, its id."""

    params: Json
    target: str
    request_id: str
    idempotency_key: str | None


@dataclass(slots=True, kw_only=True)
class Store:
    """Every object by its id, oldest first. ``on_event`` is told of each new event."""

    on_event: Callable[[Json], None]
    objects: dict[str, dict[str, Json]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )
    payment_methods: dict[str, Card] = field(default_factory=dict)

    def add(self, kind: str, prefix: str, **values: object) -> Json:
        """Keep a new object and give it, with its id and time of creation (s)."""
        thing: Json = {
            "id": f"{prefix}_{secrets.token_hex(12)}",
            "object": KINDS[kind],
            "created": int(time.time()),
            "livemode": False,
            **values,
        }
        self.objects[kind][thing["id"]] = thing
        return thing

    def find(self, kind: str, name: str, *, param: str, status: int = 400) -> Json:
        """Give one object, or raise what Stripe says when there is none."""
        try:
            return self.objects[kind][name]
        except KeyError:
            raise no_such(KINDS[kind], name, param=param, status=status) from None

    def record(self, kind: str, about: Json, call: Call, **before: object) -> None:
        """Make an event of what ``about`` is like now; ``before`` is what it was."""
        data: Json = {"object": copy.deepcopy(about)}
        if before:
            data["previous_attributes"] = before
        event = self.add(
            "events",
            "evt",
            api_version=API_VERSION,
            data=data,
            pending_webhooks=1,
            request={"id": call.request_id, "idempotency_key": call.idempotency_key},
            type=kind,
        )
        self.on_event(event)

    def clear(self) -> None:
        """Forget everything."""
        for objects in self.objects.values():
            objects.clear()
        self.payment_methods.clear()

    def page(self, kind: str, call: Call, filters: tuple[str, ...]) -> Json:
        """Give one page of a list, newest first."""
        found = [
            thing
            for thing in reversed(self.objects[kind].values())
            if all(thing[key] == call.params.get(key, thing[key]) for key in filters)
            and _in_range(thing["created"], call.params.get("created"))
        ]
        limit = read.integer(call.params, "limit") or DEFAULT_PAGE
        if limit > MAX_PAGE:
            message = f"This value must be less than or equal to {MAX_PAGE}."
            raise bad_param("limit", message, "parameter_invalid_integer")
        found, more = self._cut(found, kind, call.params, limit)
        return {
            "object": "list",
            "data": found,
            "has_more": more,
            "url": f"/v1/{kind}",
        }

    def _cut(
        self, found: list[Json], kind: str, params: Json, limit: int
    ) -> tuple[list[Json], bool]:
        if after := read.text(params, "starting_after"):
            place = found.index(self.find(kind, after, param="starting_after"))
            found = found[place + 1 :]
        if before := read.text(params, "ending_before"):
            place = found.index(self.find(kind, before, param="ending_before"))
            found = found[:place]
            return found[-limit:], len(found) > limit
        return found[:limit], len(found) > limit

    def expand(self, answer: Json, names: object) -> Json:
        """Put whole objects in the place of the ids that the caller named."""
        if not names:
            return answer
        answer = copy.deepcopy(answer)
        for name in names if isinstance(names, list) else [names]:
            word = str(name)
            of_list = answer["object"] == "list" and word.startswith("data.")
            things = answer["data"] if of_list else [answer]
            for thing in things:
                self._expand_one(thing, word.removeprefix("data.") if of_list else word)
        return answer

    def _expand_one(self, thing: Json, name: str) -> None:
        if name not in _REFERENCES or name not in thing:
            raise bad_param("expand", f"This property cannot be expanded ({name}).")
        if isinstance(thing[name], str):
            thing[name] = self.objects[_REFERENCES[name]][thing[name]]


def _in_range(created: int, wanted: Any) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return created == read.integer({"created": wanted}, "created", least=0)
    for word in wanted:
        limit = read.integer(wanted, word, least=0)
        if word not in _RANGE:
            raise bad_param(f"created[{word}]", f"Received unknown parameter: {word}")
        if limit is not None and not _RANGE[word](created, limit):
            return False
    return True
