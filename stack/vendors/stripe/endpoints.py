"""Which requests Stripe answers here, and the parameters that each takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stack.vendors.stripe import params as read
from stack.vendors.stripe import payments, refunds
from stack.vendors.stripe.errors import bad_param
from stack.vendors.stripe.store import Call, Store

Json = dict[str, Any]

_PAGING = "limit starting_after ending_before created"
_CONFIRM = (
    "payment_method return_url off_session receipt_email setup_future_usage "
    "error_on_requires_action payment_method_types payment_method_options"
)
_INTENT = (
    f"{_CONFIRM} amount currency confirm customer metadata description "
    "capture_method confirmation_method automatic_payment_methods "
    "statement_descriptor statement_descriptor_suffix shipping"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A method and path below ``/v1``; every other parameter is refused."""

    method: str
    path: str
    accepts: frozenset[str]
    run: Callable[[Store, Call], Json]

    def check(self, params: Json) -> None:
        """Refuse a parameter that Stripe does not know here, as Stripe does."""
        for name in params:
            if name not in self.accepts and name != "expand":
                message = f"Received unknown parameter: {name}"
                raise bad_param(name, message, "parameter_unknown")


def _post(path: str, accepts: str, run: Callable[[Store, Call], Json]) -> Endpoint:
    names = frozenset(accepts.split())
    return Endpoint(method="POST", path=path, accepts=names, run=run)


def _one(kind: str, param: str = "id") -> Endpoint:
    def run(store: Store, call: Call) -> Json:
        return store.find(kind, call.target, param=param, status=404)

    path = f"/{kind}/{{target}}"
    return Endpoint(method="GET", path=path, accepts=frozenset(), run=run)


def _list(kind: str, *filters: str) -> Endpoint:
    def run(store: Store, call: Call) -> Json:
        return store.page(kind, call, filters)

    names = frozenset(_PAGING.split()) | set(filters)
    return Endpoint(method="GET", path=f"/{kind}", accepts=names, run=run)


def _create_customer(store: Store, call: Call) -> Json:
    texts = ("email", "name", "description", "phone")
    values = {key: read.text(call.params, key) for key in texts}
    return store.add("customers", "cus", **values, metadata=read.metadata(call.params))


ENDPOINTS = (
    _post("/customers", "email name description phone metadata", _create_customer),
    _one("customers"),
    _list("customers", "email"),
    _post("/payment_intents", _INTENT, payments.create),
    _one("payment_intents", "intent"),
    _list("payment_intents", "customer"),
    _post("/payment_intents/{target}/confirm", _CONFIRM, payments.confirm),
    _post("/payment_intents/{target}/capture", "amount_to_capture", payments.capture),
    _post("/payment_intents/{target}/cancel", "cancellation_reason", payments.cancel),
    _post("/refunds", "payment_intent charge amount reason metadata", refunds.create),
    _one("refunds"),
    _list("refunds", "payment_intent", "charge"),
    _one("charges"),
    _list("charges", "payment_intent", "customer"),
    _one("events"),
    _list("events", "type"),
)
