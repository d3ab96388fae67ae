"""Steps on the practice stack: somebody who is not Stripe cannot trigger a rollback."""

import json
from dataclasses import replace

import httpx
from pytest_bdd import then, when

from stack.backends import Stack

from .command import Command, Ran

FORGED = {"id": "evt_forged", "type": "payment_intent.succeeded", "data": {}}
# What a forger may send: no signature, one of the right form, and an old one.
SIGNATURES = ("", "t=1700000000,v1=" + "0" * 64, "nonsense")


@when("somebody sends v2 webhooks with a wrong signature", target_fixture="answers")
def forge(fresh: Stack) -> list[httpx.Response]:
    """Past the edge, to its own address."""
    secret = fresh.environment["VERCEL_AUTOMATION_BYPASS_SECRET"]
    url = f"{fresh.deployment_urls['v2']}/api/webhooks/stripe"
    with httpx.Client(timeout=10, trust_env=False) as client:
        return [
            client.post(
                url,
                content=json.dumps(FORGED),
                headers={
                    "x-vercel-protection-bypass": secret,
                    "stripe-signature": signature,
                },
            )
            for signature in SIGNATURES
        ]


@when("the check command looks at v2", target_fixture="look")
def check(command: Command, fresh: Stack) -> Ran:
    """For a moment only: it is not to say healthy."""
    settings = {**command.settings, "ROLLBACK_HEALTHY_REQUESTS": "10"}
    brief = replace(command, settings=settings)
    return brief.run("check", fresh.deployments["v2"], "--json")


@then("v2 refused the webhooks with 400")
def refused(answers: list[httpx.Response]) -> None:
    """Every one, for its signature."""
    codes = {(a.status_code, a.json()["error"]["code"]) for a in answers}
    assert codes == {(400, "BAD_SIGNATURE")}


@then("the check command saw no critical error, though it asked")
def no_critical_error(look: Ran, fresh: Stack) -> None:
    """Sentry was asked, and answered; it holds none."""
    verdict = look.document
    assert verdict["critical_errors"] == [], verdict
    assert verdict["row"] == "watching", verdict
    assert "sentry" in look.stderr, look.stderr
    kept = httpx.get(f"{fresh.addresses['sentry']}/_control/state", timeout=5).json()
    assert kept["events"] == []
