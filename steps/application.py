"""Steps of rollbacks by hand: the command as its users run it, on the real stack.

What the platform was asked is read from the platform, and what visitors see from
outside: the command's own word is not enough.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import pytest
from pytest_bdd import given, parsers, when

from rollback.adapters.postgres import PostgresLedger
from rollback.model import DeploymentVersion, HealthStatus
from stack.backends import Stack

from .command import Command, Ran

REASON = "checkout is down"
BYPASS = "VERCEL_AUTOMATION_BYPASS_SECRET"
CHANGES = ("rollback", "promote", "assign_alias", "update_project")
PLAN = "To roll back further than the previous production deployment, upgrade to pro"
VISITS = 20


@dataclass(slots=True)
class ByHand:
    """A person with the command, and the platform that it is used on."""

    command: Command
    stack: Stack
    http: httpx.Client
    ran: list[Ran] = field(default_factory=list)

    def run(self, *arguments: str) -> Ran:
        """Run the command to its end."""
        self.ran.append(self.command.run(*arguments, "--json"))
        return self.ran[-1]

    def set(self, **settings: str) -> None:
        """Change settings of the command from here on."""
        self.command = replace(
            self.command, settings={**self.command.settings, **settings}
        )

    @property
    def last(self) -> Ran:
        """How the last command ended."""
        return self.ran[-1]

    def control(self, name: str, **body: Any) -> None:
        """Use one of the platform's controls."""
        url = f"{self.stack.addresses['platform']}/_control/{name}"
        self.http.post(url, json=body).raise_for_status()

    def state(self) -> dict[str, Any]:
        """What the platform holds."""
        url = f"{self.stack.addresses['platform']}/_control/state"
        found: dict[str, Any] = self.http.get(url).raise_for_status().json()
        return found

    def asked(self) -> list[str]:
        """The requests that change something, in their order."""
        calls = self.state()["calls"]
        return [call["endpoint"] for call in calls if call["endpoint"] in CHANGES]

    def id(self, release: str) -> str:
        """The deployment of a release."""
        return self.stack.deployments[release]

    def visited(self) -> str:
        """The deployment that a visitor of the site is led to now."""
        answer = self.http.get(self.stack.addresses["edge"])
        return answer.headers["x-deployment-id"]


@pytest.fixture
def by_hand(command: Command, fresh: Stack) -> Iterator[ByHand]:
    """Somebody with the command, which looks once at what it has restored."""
    # That it looks three times by itself is the drill's to see.
    quick = replace(
        command, settings={**command.settings, "ROLLBACK_HEALTHY_IN_A_ROW": "1"}
    )
    with httpx.Client(trust_env=False, timeout=20) as http:
        yield ByHand(quick, fresh, http)


# -- given --------------------------------------------------------------------


@given("v1 is known to be good and v2 is live")
def good_and_live(by_hand: ByHand) -> None:
    """Both are on record; v1 as passing."""
    anyio.run(put_on_record, by_hand.stack)


async def put_on_record(stack: Stack) -> None:
    """What `record` and `health` write, without a process for each of them."""
    ledger = PostgresLedger(stack.environment["ROLLBACK_LEDGER_URL"])
    for release in ("v1", "v2"):
        now = datetime.now(UTC)
        recorded = DeploymentVersion(
            id=f"production-{stack.deployments[release]}",
            deployment_id=stack.deployments[release],
            environment="production",
            timestamp=now,
            git_sha=stack.git_shas[release],
            db_migration_version="003",
        )
        await ledger.record(recorded)
    good = stack.deployments["v1"]
    await ledger.set_health(good, "production", HealthStatus.PASSING, datetime.now(UTC))


@given("v2 was rolled back by hand")
def was_rolled_back(by_hand: ByHand) -> None:
    """From its start to its end."""
    assert _roll_back(by_hand).code == 0, by_hand.last.stderr


@given(parsers.parse("a release is being rolled out to {share:d} of 100 visitors"))
def rolling_out(by_hand: ByHand, share: int) -> None:
    """Of whatever is not live."""
    canary = by_hand.id("v2")
    by_hand.control("faults", rolling={"canary": canary, "percentage": share})


@given(parsers.parse("v2 is only being rolled out, to {share:d} of 100 visitors"))
def v2_rolling_out(by_hand: ByHand, share: int) -> None:
    """v1 is what the hosts name; some visitors see v2."""
    by_hand.control("live", deployment=by_hand.id("v1"))
    canary = by_hand.id("v2")
    by_hand.control("faults", rolling={"canary": canary, "percentage": share})
    seen = {by_hand.visited() for _ in range(VISITS)}
    assert seen == {by_hand.id("v1"), canary}


@given(parsers.parse('"{host}" was pointed at v2 by hand'))
def pointed_by_hand(by_hand: ByHand, host: str) -> None:
    """As somebody does who has a customer with an address of their own."""
    given = by_hand.stack.environment
    by_hand.http.post(
        f"{given['VERCEL_API_URL']}/v2/deployments/{by_hand.id('v2')}/aliases",
        params={"teamId": given["VERCEL_TEAM_ID"]},
        headers={"authorization": f"Bearer {given['VERCEL_TOKEN']}"},
        json={"alias": host},
    ).raise_for_status()


@given("v1 turns out to be of another project")
def foreign(by_hand: ByHand) -> None:
    """The token reaches both projects."""
    by_hand.control("faults", foreign=[by_hand.id("v1")])


@given("the bypass secret is not set")
def no_secret(by_hand: ByHand) -> None:
    """So no deployment's own address opens."""
    by_hand.set(**{BYPASS: ""})


@given("the platform answers nothing but 503")
def platform_down(by_hand: ByHand) -> None:
    """Every read of the project and of deployments."""
    down = {"status": 503, "message": "We are down", "times": 99}
    by_hand.control("faults", project=down, deployment=down)


@given("the platform refuses the rollback because of the plan")
def refused_for_plan(by_hand: ByHand) -> None:
    """As Vercel does when the target is further back than the plan allows."""
    by_hand.control("faults", rollback={"status": 402, "message": PLAN})


@given("the platform takes the rollback and its reply is lost")
def reply_lost(by_hand: ByHand) -> None:
    """The connection is dropped in place of the answer."""
    by_hand.control("faults", lose_reply=1)


@given("the platform's jobs never end")
def hanging_jobs(by_hand: ByHand) -> None:
    """Nobody waits for three minutes here."""
    by_hand.control("faults", hang=True)
    by_hand.set(ROLLBACK_MOVE_TIMEOUT_SECONDS="2")


@given("the platform's jobs fail")
def failing_jobs(by_hand: ByHand) -> None:
    """With nothing moved."""
    by_hand.control("faults", job_status="failed")


@given(
    parsers.parse(
        "the platform takes no rollback before {seconds:d} seconds have passed"
    )
)
def rate_limited(by_hand: ByHand, seconds: int) -> None:
    """It says so once."""
    limit = {"status": 429, "message": "Too many", "retry_after": seconds}
    by_hand.control("faults", rollback=limit)


# -- when ---------------------------------------------------------------------


@when("v2 is rolled back by hand")
def rolled_back(by_hand: ByHand) -> None:
    """Named, as it may be live for some visitors only."""
    _roll_back(by_hand)


def _roll_back(by_hand: ByHand) -> Ran:
    bad = by_hand.id("v2")
    return by_hand.run("run", "--from", bad, "--reason", REASON, "--yes")


@when("a rollback from v2 to v1 is asked for")
def both_named(by_hand: ByHand) -> None:
    """With --from and --to."""
    ids = ("--from", by_hand.id("v2"), "--to", by_hand.id("v1"))
    by_hand.run("run", *ids, "--reason", REASON, "--yes")


@when("the plan of a rollback is asked for")
def plan_asked(by_hand: ByHand) -> None:
    """Without anything but the reason."""
    by_hand.run("run", "--reason", REASON, "--plan")


@when("a rollback is asked for without --yes and without a terminal")
def not_confirmed(by_hand: ByHand) -> None:
    """As a script does that forgot it."""
    by_hand.run("run", "--reason", REASON)


@when("the rollback is undone")
def undone(by_hand: ByHand) -> None:
    """By the id of its incident."""
    by_hand.run("undo", by_hand.last.document["incident"], "--yes")
