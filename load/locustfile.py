"""Who uses WedSync during a drill: suppliers sign up, couples fill in forms, some pay.

    LOAD_RECORD=load.jsonl LOAD_SEED=1 python -m locust -f load/locustfile.py \
        --headless --host http://127.0.0.1:PORT -u 25 -r 25 --only-summary

Each user begins a task every second, payers two, so 25 of them send some 45 requests
per second; while answers are slow, they wait for them as people do. Payers hardly rest
so that at any time a few webhooks are on their way to the site. Every request is
appended to the file in ``LOAD_RECORD`` as one line of JSON:

``t`` (unix seconds at its end), ``flow`` (signup, form, payment, page, feature),
``method``, ``path_template``, ``status`` (null without an answer), ``ms``,
``deployment`` (which one answered, null if the edge did not say), ``outcome``: ``ok``,
``failed``, or ``unknown`` for a write that got no answer and may have been done. What
else is known of it stands beside: ``order_id``, ``supplier_id``, ``submission_id``,
``payment_status``.
"""

import json
import os
import random
import time
import uuid
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant_throughput, events, task
from locust.env import Environment

TIMEOUT_S = 10.0
REFUSED = 400
POLLS = 10
POLL_EVERY_S = 0.4
DEPLOYMENT = "x-deployment-id"
SUPPLIERS = "/api/suppliers"
FORM = "/api/forms/{form}/submissions"
PAYMENTS = "/api/payments"
FORMS = ("enquiry", "rsvp", "wedding-details")
CARDS = ("pm_card_visa", "pm_card_mastercard", "pm_card_amex")

SEED = os.environ.get("LOAD_SEED", "0")
RUN = uuid.uuid4().hex[:8]  # the same seed may be used again on the same data
RECORD = Path(os.environ.get("LOAD_RECORD", os.devnull)).open("a", buffering=1)  # noqa: SIM115 - open as long as the process
numbers = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What a request belongs to, and what is known of it before it is sent."""

    name: str
    template: str
    known: dict[str, str] = field(default_factory=dict)


def unique(kind: str) -> str:
    """Give a name that no other run and no other user has."""
    return f"{kind}-{SEED}-{RUN}-{next(numbers)}"


@events.quitting.add_listener
def leave_well(environment: Environment, **_: Any) -> None:
    """Failed requests are what a drill is about; they are no failure of the load."""
    environment.process_exit_code = 0


class Visitor(FastHttpUser):
    """Anybody: sends a request and writes down what came of it."""

    abstract = True
    wait_time = constant_throughput(1)
    connection_timeout = TIMEOUT_S
    network_timeout = TIMEOUT_S

    def on_start(self) -> None:
        """Give each user dice of its own, and spread their seconds."""
        self.dice = random.Random(f"{SEED}-{next(numbers)}")
        gevent.sleep(self.dice.random())

    def ask(self, flow: Flow, method: str, path: str, body: Any = None) -> Any:
        """Send one request, record it, and give the JSON of a good answer."""
        begun = time.monotonic()
        try:
            with self.client.request(
                method, path, name=flow.template, json=body, catch_response=True
            ) as answer:
                status = answer.status_code or None
                good = status is not None and status < REFUSED
                answer.success() if good else answer.failure(f"answered {status}")
        except gevent.GreenletExit:  # the run ends, and this was on its way
            if method == "POST":
                record(flow, method, begun)
            raise
        shown = _json(answer.text) if good else {}
        deployment = (answer.headers or {}).get(DEPLOYMENT)
        record(
            flow, method, begun, status, deployment=deployment, **_learnt(flow, shown)
        )
        return shown if good else None


def record(
    flow: Flow, method: str, begun: float, status: int | None = None, **learnt: Any
) -> None:
    """Write down one request that began at ``begun`` (monotonic) and ends now."""
    if status is None:
        outcome = "unknown" if method == "POST" else "failed"
    else:
        outcome = "ok" if status < REFUSED else "failed"
    line = {
        "t": round(time.time(), 3),
        "flow": flow.name,
        "method": method,
        "path_template": flow.template,
        "status": status,
        "ms": round((time.monotonic() - begun) * 1000, 1),
        "deployment": None,
        "outcome": outcome,
        **flow.known,
        **learnt,
    }
    RECORD.write(json.dumps(line) + "\n")


class Supplier(Visitor):
    """Signs up, again and again, under a new name."""

    weight = 6

    @task
    def sign_up(self) -> None:
        """One sign-up with an e-mail address nobody has."""
        name = unique("supplier")
        body = {
            "name": name,
            "email": f"{name}@example.com",
            "password": uuid.uuid4().hex,
        }
        self.ask(Flow(name="signup", template=SUPPLIERS), "POST", SUPPLIERS, body)


class Couple(Visitor):
    """Looks around, and fills in forms."""

    weight = 11

    @task(5)
    def submit(self) -> None:
        """One form."""
        flow = Flow(name="form", template=FORM)
        day = f"2027-{self.dice.randint(1, 12):02}-{self.dice.randint(1, 28):02}"
        answers = {"names": unique("couple"), "wedding_date": day}
        path = FORM.format(form=self.dice.choice(FORMS))
        self.ask(flow, "POST", path, {"answers": answers})

    @task(3)
    def look(self) -> None:
        """The front page."""
        self.ask(Flow(name="page", template="/"), "GET", "/")

    @task(1)
    def feature(self) -> None:
        """Whether the timeline is on."""
        template = "/api/features/{name}"
        self.ask(
            Flow(name="feature", template=template),
            "GET",
            template.format(name="timeline"),
        )


class Payer(Visitor):
    """Pays for an order and waits until the payment is confirmed."""

    weight = 8
    wait_time = constant_throughput(2)

    @task
    def pay(self) -> None:
        """One order, looked at until its webhook has told how it ended."""
        order = unique("order")
        body = {
            "order_id": order,
            "amount": self.dice.randint(1_000, 90_000),
            "currency": "gbp",
            "payment_method": self.dice.choice(CARDS),
        }
        known = {"order_id": order}
        flow = Flow(name="payment", template=PAYMENTS, known=known)
        if self.ask(flow, "POST", PAYMENTS, body) is None:
            return
        template = f"{PAYMENTS}/{{order_id}}"
        flow = Flow(name="payment", template=template, known=known)
        for _ in range(POLLS):
            gevent.sleep(POLL_EVERY_S)
            payment = self.ask(flow, "GET", f"{PAYMENTS}/{order}")
            if payment is None or payment.get("status") != "processing":
                return


def _json(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _learnt(flow: Flow, shown: dict[str, Any]) -> dict[str, Any]:
    if flow.name == "signup" and "id" in shown:
        return {"supplier_id": shown["id"]}
    if flow.name == "form" and "id" in shown:
        return {"submission_id": shown["id"]}
    if flow.name == "payment" and "status" in shown:
        return {"payment_status": shown["status"]}
    return {}
