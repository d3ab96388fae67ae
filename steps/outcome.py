"""Steps of the drill that assert: what was seen, by whom, and within what time.

The engine's word is never enough: it is held against the fault proxy, the visitors, the
looks from outside, and the numbers of the specification.
"""

import time
from typing import Any

import httpx
from pytest_bdd import parsers, then

from stack.backends import Stack
from stack.faults import Fault

from . import clocks
from .command import Command
from .outside import Outside
from .release import STEADY_SECONDS, Watch
from .story import Inconclusive, Story, iso
from .visitors import Visitors

GATE_ENDS_WITHIN = 120.0  # the gate's window, the rollback and its verification
HEALTHY_WITHIN = 10.0
IDENTIFY = clocks.BUDGETS["identify"]
RESTORE = clocks.BUDGETS["initiate"] + clocks.BUDGETS["verify"]


@then("the fault is seen to bite")
def fault_bites(watch: Watch, story: Story, tell: Any) -> None:
    """Measured on the fault's own route; a fault that does not bite fails here."""
    for fault in watch.faults:
        fault.prove()
        assert fault.proved_at, f"{fault.kind} on {fault.route} was not proved"
        tell(f"broken: {fault.kind} on {fault.route}; proof: {fault.proof}")
    story.fault = _fault(watch.faults[0])


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "route": fault.route,
        "proof": fault.proof,
        "injected_at": iso(fault.injected_at),
        "proved_at": iso(fault.proved_at),
        "healed_at": iso(fault.healed_at),
    }


@then("the gate says healthy")
def gate_says_healthy(watch: Watch, story: Story, tell: Any) -> None:
    """Exit 0, and the row that said it."""
    story.verdict = _ruling(watch)
    assert watch.ran
    assert watch.ran.code == 0, f"exit {watch.ran.code}: {story.verdict['reason']}"
    assert (story.verdict["verdict"], story.verdict["row"]) == ("healthy", "healthy")
    tell(f"verdict: healthy; {story.verdict['reason']}")


@then(
    parsers.parse(
        'the gate rolls {release:w} back by the row "{row}" for the response time'
    ),
    target_fixture="rolled_back",
)
def rolled_back_for_response_time(
    watch: Watch, story: Story, row: str, tell: Any
) -> None:
    """The expected row, for the expected signal."""
    _rolled_back(watch, story, row, tell)
    assert story.verdict
    assert story.verdict["signal"] == "response_time", story.verdict


@then(
    parsers.parse(
        'the gate rolls {release:w} back by the row "{row}" because of {code:w}'
    ),
    target_fixture="rolled_back",
)
def rolled_back_for_code(
    watch: Watch, story: Story, row: str, code: str, tell: Any
) -> None:
    """The expected row, for the expected critical error."""
    _rolled_back(watch, story, row, tell)
    assert story.verdict
    assert code in story.verdict["critical_errors"], story.verdict


def _ruling(watch: Watch) -> dict[str, Any]:
    """The gate's JSON; a gate that could not tell proves nothing."""
    ruling = watch.ruling
    assert watch.ran
    if watch.ran.code == 3 or ruling["verdict"] in ("inconclusive", "watching"):
        said = f"exit {watch.ran.code}, {ruling['verdict']}: {ruling['reason']}"
        raise Inconclusive(f"the gate could not tell: {said}")
    return ruling


def _rolled_back(watch: Watch, story: Story, row: str, tell: Any) -> None:
    assert watch.running, "the gate was not started"
    watch.ran = watch.running.result(seconds=GATE_ENDS_WITHIN)
    story.verdict = verdict = watch.ruling
    story.incident = verdict["rollback"]
    _ruling(watch)
    assert (verdict["verdict"], verdict["row"]) == ("roll_back", row), verdict
    tell(f"verdict: roll back, row {row!r}: {verdict['reason']}")
    assert story.incident
    assert watch.ran.code == 1, f"exit {watch.ran.code}: {story.incident['detail']}"
    assert story.incident["outcome"] == "restored", story.incident


@then(parsers.parse("{release:w} serves the site again, healthy from outside"))
def serves_again(  # noqa: PLR0917 - fixtures, which are passed by name
    fresh: Stack, outside: Outside, watch: Watch, story: Story, release: str, tell: Any
) -> None:
    """Held against what was seen from outside, not against what the engine says."""
    good = fresh.deployments[release]
    injected = _injected_at(watch)
    _look(outside)
    steady = outside.wait_until(
        lambda seen: all(s.healthy and s.deployment == good for s in seen[-4:]),
        seconds=10,
    )
    assert steady, f"not healthy by {good}: {outside.samples[-4:]}"
    story.restored_at = outside.restored_at(good, after=injected)
    assert story.restored_at, f"not restored: {outside.samples[-4:]}"
    decided = clocks.unix(watch.ruling["decided_at"])
    to_verdict, to_restored = decided - injected, story.restored_at - decided
    tell(
        f"restored: {release} answers healthily from outside, {to_verdict:.1f} s from "
        f"fault to verdict, {to_restored:.1f} s from verdict to restored"
    )
    assert story.restored_at > injected
    assert 0 < to_verdict <= IDENTIFY, f"{to_verdict:.1f} s from fault to verdict"
    assert to_restored <= RESTORE, f"{to_restored:.1f} s from verdict to restored"


def _look(outside: Outside) -> None:
    begun = time.time()
    if not outside.wait_until(
        lambda seen: bool(seen) and seen[-1].at > begun, seconds=10
    ):
        raise Inconclusive("nobody could look at the site from outside")


def _injected_at(watch: Watch) -> float:
    at = watch.faults[0].injected_at
    assert at, "nothing was injected"
    return at.timestamp()


@then(parsers.parse("visitors are served again at {rate:d} requests a second"))
def served_again(visitors: Visitors, rate: int, tell: Any) -> None:
    """The same load as before, without failure."""
    assert visitors.process.poll() is None, "the load ended during the drill"
    seen = visitors.wait_for_steady_state(rate=rate, seconds=STEADY_SECONDS)
    tell(f"visitors are served again: {seen:.0f} requests/s, none failed")


@then("every phase kept its time budget")
def budgets_kept(watch: Watch, visitors: Visitors, story: Story, tell: Any) -> None:
    """All five were measured, can be true, and kept the specification's budgets."""
    assert story.incident
    phases: dict[str, Any] = story.incident["phases"]
    said = [
        f"{name.replace('_', ' ')} {_budget(name, p)}" for name, p in phases.items()
    ]
    tell(f"phases: {', '.join(said)}")
    effect = clocks.first_effect(visitors.requests(), after=_injected_at(watch))
    if effect is None or watch.steady_at is None:
        raise Inconclusive("no visitor saw the fault, so its start cannot be checked")
    wrong = clocks.problems(
        phases,
        decided_at=clocks.unix(watch.ruling["decided_at"]),
        steady_at=watch.steady_at,
        effect_at=effect,
    )
    assert not wrong, "; ".join(wrong)


def _budget(name: str, phase: dict[str, Any]) -> str:
    budget = clocks.BUDGETS.get(name)
    return f"{phase['seconds']:.1f} s" + (f" of {budget:.0f}" if budget else "")


@then("the incident is on record and #incidents was told")
def incident_recorded(command: Command, fresh: Stack, story: Story, tell: Any) -> None:
    """The command finds it again, and Slack holds both messages."""
    assert story.incident
    name = story.incident["incident"]
    shown = command.run("incidents", "show", name, "--json").document
    assert shown["outcome"] == "restored"
    assert {s["status"] for s in shown["steps"]} == {"done"}
    said = _slack(fresh)
    assert any("Rolling back" in text for text in said), said
    assert any("is restored" in text and name in text for text in said), said
    tell(f"incident {name} on record, #incidents told twice")


def _slack(stack: Stack) -> list[str]:
    state = httpx.get(f"{stack.addresses['slack']}/_control/state", timeout=5).json()
    return [str(message) for message in state["messages"]]


@then(parsers.parse("after healing {release:w} answers as before"))
def healed(watch: Watch, fresh: Stack, story: Story, release: str, tell: Any) -> None:
    """The fault is taken out and seen to be gone, by the proxy and by the release."""
    for fault in watch.faults:
        fault.heal()
        tell(f"healed: {fault.prove_healed().text}")
    story.fault = _fault(watch.faults[0])
    secret = fresh.environment["VERCEL_AUTOMATION_BYPASS_SECRET"]
    url = f"{fresh.deployment_urls[release]}/api/health"
    said = _until_healthy(url, {"x-vercel-protection-bypass": secret})
    assert said == "200", (
        f"{release} is not healthy {HEALTHY_WITHIN:.0f} s after: {said}"
    )
    tell(f"{release} itself is healthy again")


def _until_healthy(url: str, headers: dict[str, str]) -> str:
    """`200` as soon as it answers so, else what it said last."""
    deadline = time.monotonic() + HEALTHY_WITHIN
    said = "nothing"
    with httpx.Client(headers=headers, timeout=5, trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                answer = client.get(url)
            except httpx.HTTPError as error:
                said = repr(error)
            else:
                if answer.status_code == 200:
                    return "200"
                said = f"{answer.status_code} {answer.text}"
            time.sleep(0.2)
    return said


@then("v2 is still live")
def v2_still_live(outside: Outside, fresh: Stack) -> None:
    """Nothing was rolled back."""
    _look(outside)
    assert outside.samples[-1].deployment == fresh.deployments["v2"]


@then("v2 is recorded as passing")
def v2_passing(command: Command, fresh: Stack) -> None:
    """It may be gone back to from now on."""
    history = command.run("history", "--json").document
    status = {d["deployment"]: d["health_check_status"] for d in history}
    assert status[fresh.deployments["v2"]] == "passing", status
