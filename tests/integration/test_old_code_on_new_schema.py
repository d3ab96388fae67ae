"""Whether the release before runs on the schema of the one that follows it.

What comes out is what a pipeline records with the deployment, and what a rollback goes
by: a schema that the stable release cannot live with goes back first.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from stack.app.migrate import SCHEMAS, migrate
from stack.backends import Stack
from steps.command import Command

PAID_WITHIN = 20.0


@pytest.fixture
def old(fresh: Stack) -> Iterator[Callable[[str, str], httpx.Client]]:
    """Puts a release live on a schema, and gives its site."""
    with httpx.Client(
        base_url=fresh.addresses["edge"], timeout=15, trust_env=False
    ) as site:

        def live(release: str, version: str) -> httpx.Client:
            fresh.reset(live=release)
            migrate(fresh.addresses["postgres"], version)
            with psycopg.connect(fresh.addresses["postgres"]) as connection:
                found = connection.execute("SELECT max(version) FROM schema_migrations")
                assert found.fetchone() == (version,)
            answer = site.get("/api/features/timeline")
            assert answer.headers["x-deployment-id"] == fresh.deployments[release]
            return site

        yield live


def health(site: httpx.Client) -> str | None:
    """Say what is not healthy."""
    report: dict[str, str] = site.get("/api/health").json()
    unwell = [name for name, verdict in report.items() if verdict != "healthy"]
    return ", ".join(unwell) or None


def signup(site: httpx.Client) -> str | None:
    """Sign up as a supplier, and look at the front page, which shows it."""
    name = f"Florist {uuid.uuid4().hex}"
    email = f"{uuid.uuid4().hex}@example.com"
    entered = {"name": name, "email": email, "password": "correct-Horse-7"}
    answer = site.post("/api/suppliers", json=entered)
    if answer.status_code != 201:
        return f"{answer.status_code} {answer.text}"
    page = site.get("/")
    return None if name in page.text else f"{page.status_code}: the page lacks {name}"


def form(site: httpx.Client) -> str | None:
    """Fill in a form, and read it again."""
    path = "/api/forms/rsvp/submissions"
    answers = {"names": "Kim & Lou", "wedding_date": "2027-06-12"}
    answer = site.post(path, json={"answers": answers})
    if answer.status_code != 201:
        return f"{answer.status_code} {answer.text}"
    stored = site.get(f"{path}/{answer.json()['id']}")
    kept = stored.status_code == 200 and stored.json()["answers"] == answers
    return None if kept else stored.text


def payment(site: httpx.Client) -> str | None:
    """Pay for an order, and wait for its webhook."""
    order = f"order-{uuid.uuid4().hex}"
    paid = {"amount": 4200, "currency": "gbp", "payment_method": "pm_card_visa"}
    answer = site.post("/api/payments", json={"order_id": order} | paid)
    if answer.status_code != 201:
        return f"{answer.status_code} {answer.text}"
    deadline = time.monotonic() + PAID_WITHIN
    status = answer.json()["status"]
    while status != "paid" and time.monotonic() < deadline:
        time.sleep(0.05)
        status = site.get(f"/api/payments/{order}").json()["status"]
    return None if status == "paid" else f"still {status}"


def problems(site: httpx.Client) -> dict[str, str]:
    """What does not work on this schema: the health check, the critical flows."""
    tried = {each.__name__: each(site) for each in (health, signup, form, payment)}
    return {name: problem for name, problem in tried.items() if problem}


def on_record(
    command: Command, stack: Stack, release: str, *, compatible: bool
) -> dict[str, Any]:
    """Record a release with the outcome, and give what is on record of it."""
    outcome = "--backward-compatible" if compatible else "--backward-incompatible"
    made = command.run(
        "record",
        stack.deployments[release],
        *("--git-sha", stack.git_shas[release]),
        *("--migration", SCHEMAS[release]),
        outcome,
    )
    assert made.code == 0, made.stderr
    (found, *_) = command.run("history", "--json").document
    assert found["deployment"] == stack.deployments[release]
    document: dict[str, Any] = found
    return document


def test_v1_runs_on_the_schema_of_v2(
    old: Callable[[str, str], httpx.Client], fresh: Stack, command: Command
) -> None:
    """v1 is healthy on v2's schema and every critical flow passes: recorded so."""
    wrong = problems(old("v1", SCHEMAS["v2"]))

    assert wrong == {}
    kept = on_record(command, fresh, "v2", compatible=not wrong)
    assert kept["backward_compatible"] is True


def test_v2_does_not_run_on_the_schema_of_v3(
    old: Callable[[str, str], httpx.Client], fresh: Stack, command: Command
) -> None:
    """On v3's schema v2 says it is healthy, but nobody can sign up: recorded so."""
    wrong = problems(old("v2", SCHEMAS["v3"]))

    assert set(wrong) == {"signup"}
    assert "500" in wrong["signup"]
    fresh.deploy("v3")
    kept = on_record(command, fresh, "v3", compatible=not wrong)
    assert kept["backward_compatible"] is False


def test_v3_runs_on_its_own_schema(fresh: Stack) -> None:
    """It is the release before that fails there, not the flows on that schema."""
    fresh.deploy("v3")

    with httpx.Client(
        base_url=fresh.addresses["edge"], timeout=15, trust_env=False
    ) as site:
        assert site.get("/").headers["x-deployment-id"] == fresh.deployments["v3"]
        assert problems(site) == {}
