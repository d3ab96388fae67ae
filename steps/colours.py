"""Steps of blue and green: the API as a project of its own, beside the site.

Who serves what is asked from outside, of the addresses that visitors have.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pytest_bdd import given, parsers, then, when

from stack.backends import Stack

from .command import Command, Ran, end

BYPASS = "x-vercel-protection-bypass"
VERSION = "x-deployment-version"
HEALTH = "/api/health"
REASON = "the checkout is down"
MIGRATION = "003"
RELEASES = ("v1", "v2")


@pytest.fixture
def answers() -> list[httpx.Response]:
    """What was answered, the last one at the end."""
    return []


# -- given --------------------------------------------------------------------


@given("v1 and blue are stable, and v2 and green have just gone live")
def all_recorded(command: Command, fresh: Stack) -> None:
    """Recorded and probed by the command, as the pipelines of both would have done."""
    _record(command, fresh, "v1", "v2", "blue", "green")
    _probe(command, fresh, "v1", "blue")


@given("v1 is stable, and no API ever passed")
def no_api_passed(command: Command, fresh: Stack) -> None:
    """Blue is on record, and nobody has probed it."""
    _record(command, fresh, "v1", "v2", "blue", "green")
    _probe(command, fresh, "v1")


def _record(command: Command, stack: Stack, *names: str) -> None:
    for name, ran in _all(
        command,
        {
            name: (
                *("record", stack.deployments[name], "--json"),
                *("--git-sha", stack.git_shas[name], "--migration", MIGRATION),
            )
            for name in names
        },
    ):
        assert ran.code == 0, ran.stderr
        part = "application" if name in RELEASES else "api"
        assert ran.document["part"] == part


def _probe(command: Command, stack: Stack, *names: str) -> None:
    for _, ran in _all(command, {n: ("health", stack.deployments[n]) for n in names}):
        assert ran.code == 0, ran.stderr


def _all(
    command: Command, asked: dict[str, tuple[str, ...]]
) -> Iterator[tuple[str, Ran]]:
    """Run them side by side."""
    running = {name: command.start(*arguments) for name, arguments in asked.items()}
    try:
        for name, each in running.items():
            yield name, each.result(seconds=60)
    finally:
        for each in running.values():
            end(each)


@given("the platform refuses to move the API")
def api_is_refused(fresh: Stack) -> None:
    """Its project alone is denied, so that the site's is not touched by it."""
    answer = httpx.post(
        f"{fresh.addresses['platform']}/_control/faults",
        params={"projectId": fresh.environment["VERCEL_API_PROJECT_ID"]},
        json={"rollback": {"status": 403, "message": "Not allowed for this token"}},
    )
    assert answer.status_code == 204, answer.text


# -- when ---------------------------------------------------------------------


@when("the API is rolled back alone", target_fixture="undone")
def api_alone(command: Command) -> Ran:
    """By a person."""
    return _roll_back(command, "--only", "api")


@when("the site is rolled back alone", target_fixture="undone")
def site_alone(command: Command) -> Ran:
    """By a person."""
    return _roll_back(command, "--only", "application")


@when("the site and the API are rolled back together", target_fixture="undone")
def both(command: Command) -> Ran:
    """By a person who names no part: what is live of either has not passed."""
    return _roll_back(command)


def _roll_back(command: Command, *more: str) -> Ran:
    """Undo it, with one look at what was restored: the drill has three."""
    settings = {**command.settings, "ROLLBACK_HEALTHY_IN_A_ROW": "1"}
    return replace(command, settings=settings).run(
        "run", "--reason", REASON, "--yes", "--json", *more
    )


@when(parsers.parse("a tester asks the site for {colour:w}, with the bypass secret"))
def tester_asks(fresh: Stack, colour: str, answers: list[httpx.Response]) -> None:
    """By the header of the spec's vercel.json."""
    secret = fresh.environment["VERCEL_AUTOMATION_BYPASS_SECRET"]
    headers = {VERSION: colour, BYPASS: secret}
    answers.append(httpx.get(fresh.addresses["edge"] + HEALTH, headers=headers))


@when(parsers.parse("somebody asks the site for {colour:w}, without the secret"))
def somebody_asks(fresh: Stack, colour: str, answers: list[httpx.Response]) -> None:
    """Anybody can send a header."""
    headers = {VERSION: colour}
    answers.append(httpx.get(fresh.addresses["edge"] + HEALTH, headers=headers))


@when(
    parsers.parse("somebody asks v1's own address for {colour:w}, without the secret")
)
def asks_own_address(fresh: Stack, colour: str, answers: list[httpx.Response]) -> None:
    """A deployment's own address is protected."""
    headers = {VERSION: colour}
    answers.append(httpx.get(fresh.deployment_urls["v1"] + HEALTH, headers=headers))


# -- then ---------------------------------------------------------------------


@then(parsers.parse("{release:w} serves the site"))
def serves_site(fresh: Stack, release: str) -> None:
    """Seen at the production address."""
    _serves(fresh, "edge", release)


@then(parsers.parse("{colour:w} serves the API"))
def serves_api(fresh: Stack, colour: str) -> None:
    """Seen at the API's own alias."""
    _serves(fresh, "api", colour)


def _serves(stack: Stack, where: str, name: str) -> None:
    answer = httpx.get(stack.addresses[where] + HEALTH)
    assert answer.status_code == 200, answer.text
    assert _by(stack, answer) == name


def _by(stack: Stack, answer: httpx.Response) -> str:
    names = {identity: name for name, identity in stack.deployments.items()}
    return names[answer.headers["x-deployment-id"]]


@then("it is restored, by a step of the API alone")
def restored_api(undone: Ran, fresh: Stack) -> None:
    """One step, that names its part and both colours."""
    _restored(undone, fresh, ("api", "green", "blue"))


@then("it is restored, by a step of the application alone")
def restored_site(undone: Ran, fresh: Stack) -> None:
    """One step, that names its part and both releases."""
    _restored(undone, fresh, ("application", "v2", "v1"))


@then("it is restored, by a step of the application and one of the API")
def restored_both(undone: Ran, fresh: Stack) -> None:
    """Two steps, in this order, of one incident."""
    _restored(undone, fresh, ("application", "v2", "v1"), ("api", "green", "blue"))
    (also,) = undone.document["also"]
    assert also == {
        "part": "api",
        "from": fresh.deployments["green"],
        "to": fresh.deployments["blue"],
    }


def _restored(undone: Ran, stack: Stack, *moves: tuple[str, str, str]) -> None:
    assert undone.code == 0, undone.stderr
    assert undone.document["outcome"] == "restored"
    assert _steps(undone) == [
        (part, stack.deployments[bad], stack.deployments[good], "done")
        for part, bad, good in moves
    ]


def _steps(undone: Ran) -> list[tuple[str, ...]]:
    steps: list[dict[str, Any]] = undone.document["steps"]
    return [(s["part"], s["from"], s["to"], s["status"]) for s in steps]


@then("the plan for both moves the application, then the API")
def plan_shows_both(command: Command, fresh: Stack) -> None:
    """Seen before anything is changed, with every host that moves."""
    ran = command.run(
        *("run", "--only", "api,application", "--reason", REASON, "--plan", "--json")
    )
    assert ran.code == 0, ran.stderr
    steps = [(s["part"], s["from"], s["to"]) for s in ran.document["steps"]]
    assert steps == [
        ("application", fresh.deployments["v2"], fresh.deployments["v1"]),
        ("api", fresh.deployments["green"], fresh.deployments["blue"]),
    ]
    hosts = {fresh.addresses[name].partition("//")[2] for name in ("edge", "api")}
    assert hosts <= set(ran.document["moves"])


@then("the rollback of the API is found by itself, too")
def found_by_itself(undone: Ran, command: Command, fresh: Stack) -> None:
    """So that it can be undone, and is seen by whoever looks for its deployment."""
    name = f"{undone.document['incident']}-api"
    shown = command.run("incidents", "show", name, "--json").document
    assert (shown["part"], shown["outcome"]) == ("api", "restored")
    assert shown["from"] == fresh.deployments["green"]


@then("it is escalated: the application is restored and the API is not")
def escalated(undone: Ran) -> None:
    """Exit 5; each part says how it ended, and the flows were tried on the one."""
    assert undone.code == 5, undone.stderr
    said = undone.document
    assert said["outcome"] == "escalated"
    assert [(s["part"], s["status"]) for s in said["steps"]] == [
        ("application", "done"),
        ("api", "failed"),
    ]
    assert "application: healthy" in said["detail"]
    assert "Not allowed for this token" in said["detail"]
    assert {flow["name"]: flow["passed"] for flow in said["flows"]} == {
        "supplier signup": True,
        "form submission": True,
        "payment": True,
    }


@then("there is no stable API to go back to")
def no_stable_api(command: Command) -> None:
    """Refused; a release of the site would pass for one if parts were mixed up."""
    asked = command.run("stable", "--part", "api", "--json")
    assert asked.code == 4, asked.stdout


@then("the stable release of the site is v1")
def stable_site(command: Command, fresh: Stack) -> None:
    """The same ledger holds both."""
    asked = command.run("stable", "--json").document
    assert (asked["deployment"], asked["part"]) == (
        fresh.deployments["v1"],
        "application",
    )


@then("the API cannot be rolled back to v1")
def not_to_another_part(command: Command, fresh: Stack) -> None:
    """It is no deployment of the API, also for somebody who overrides."""
    v1 = fresh.deployments["v1"]
    asked = _roll_back(command, "--only", "api", "--to", v1, "--override")
    assert asked.code == 2, asked.stdout
    _serves(fresh, "edge", "v2")


@then(parsers.parse("{name:w} answers"))
def answered_by(fresh: Stack, name: str, answers: list[httpx.Response]) -> None:
    """The edge says who."""
    assert answers[-1].status_code == 200, answers[-1].text
    assert _by(fresh, answers[-1]) == name


@then("it is denied")
def denied(answers: list[httpx.Response]) -> None:
    """As the platform denies a deployment's own address."""
    assert answers[-1].status_code == 401, answers[-1].text
