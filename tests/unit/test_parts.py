"""The application and the API: two projects that go back alone or together."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest

from rollback.adapters.memory import MemoryPlatform, MemorySite, SiteRequest
from rollback.engine import Engine, Ruling
from rollback.errors import (
    AlreadyRollingBack,
    NoStableDeployment,
    NoSuchPart,
    NotATarget,
    PlatformDenied,
    UnknownDeployment,
)
from rollback.model import Answer, Counts, HealthStatus, Incident, Outcome, StepStatus
from rollback.targets.api import Api
from rollback.testing import World, git_sha, simulate

API_HOST = "api.example"
REASON = "the checkout is down"


@dataclass
class Both:
    """A world in which the API is a project of its own, and green is live of it."""

    world: World
    api: MemoryPlatform

    @property
    def engine(self) -> Engine:
        """The engine of both."""
        return self.world.engine

    async def live(self) -> tuple[str, str]:
        """What serves the site, and the API."""
        return await self.world.live(), (await self.api.live())[API_HOST]

    async def passed(self, *deployments: str) -> None:
        """Record these as passing."""
        for name in deployments:
            await self.world.ledger.set_health(
                name, "production", HealthStatus.PASSING, self.world.clock.now()
            )

    def answer(self, request: SiteRequest) -> Answer:
        """The API answers as the site does, at its alias and its own addresses."""
        host = request.url.split("/")[2]
        given = self.world.answer(request)
        if host in ("blue.example", "green.example"):
            return replace(given, deployment=f"dpl_{host.removesuffix('.example')}")
        if host == API_HOST:
            return replace(given, deployment=self.api._hosts[API_HOST])
        return given


def play(scene: Callable[[Both], Awaitable[Any]]) -> Any:
    """Play a scene in a world that has an API, of which blue has passed."""

    async def with_api(world: World) -> Any:
        names = ("blue", "green")
        api = MemoryPlatform(
            clock=world.clock,
            deployments=[world.deployment(name) for name in names],
            hosts={API_HOST: "dpl_green"},
            move_seconds=2.0,
        )
        both = Both(world=world, api=api)
        targets = {**world.engine.targets, "api": Api(api, timeout_seconds=60)}
        site = MemorySite(both.answer)
        world.engine = replace(world.engine, api=api, targets=targets, site=site)
        for name in names:
            sha = git_sha(name)
            await world.engine.record(f"dpl_{name}", git_sha=sha, migration="1")
            await anyio.sleep(1)
        await both.passed("dpl_blue")
        return await scene(both)

    return simulate(with_api)


def steps(incident: Incident) -> list[tuple[str, str, StepStatus]]:
    """Part, goal and end of each step."""
    return [(s.target, s.to_deployment, s.status) for s in incident.steps]


def test_a_bad_api_is_rolled_back_by_its_gate_and_the_site_stays() -> None:
    """Whose deployment it is says the platform; it is compared with the last API."""

    async def scene(both: Both) -> Ruling:
        async def fail() -> None:
            while True:
                await anyio.sleep(1)
                second = int(both.world.clock.now().timestamp()) - 1
                for name, failed in (("dpl_green", 10), ("dpl_blue", 0)):
                    counts = Counts(second=second, requests=10, failed=failed)
                    both.world.source.add(name, counts)

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            ruling = await both.engine.gate("dpl_green", act=True)
            group.cancel_scope.cancel()
        assert await both.live() == ("dpl_v2", "dpl_blue")
        return ruling

    ruling = play(scene)
    assert ruling.verdict.stable == "dpl_blue"
    assert ruling.incident.outcome is Outcome.RESTORED
    assert ruling.incident.part == "api"
    assert steps(ruling.incident) == [("api", "dpl_blue", StepStatus.DONE)]


def test_what_is_asked_of_no_part_is_unknown() -> None:
    """A deployment that neither project has is refused by name."""

    async def scene(both: Both) -> None:
        with pytest.raises(UnknownDeployment, match="dpl_other"):
            await both.engine.record("dpl_other", git_sha="a", migration="1")
        with pytest.raises(UnknownDeployment, match="dpl_other"):
            await both.engine.plan(reason=REASON, candidate="dpl_other")

    play(scene)


def test_the_api_alone_needs_an_api() -> None:
    """Without a project of it, nothing else is rolled back in its place."""

    async def scene(world: World) -> None:
        with pytest.raises(NoSuchPart, match="api"):
            await world.engine.roll_back(reason=REASON, only=("api",))
        with pytest.raises(NoSuchPart, match="api"):
            world.engine.alone("api")
        assert await world.live() == "dpl_v2"

    simulate(scene)


def test_an_api_that_passed_is_left_alone_until_it_is_named() -> None:
    """A bad site is no reason to take back an API that is good."""

    async def scene(both: Both) -> None:
        await both.passed("dpl_green")
        undone = await both.engine.roll_back(reason=REASON)
        assert undone.outcome is Outcome.RESTORED
        assert await both.live() == ("dpl_v1", "dpl_green")
        undone = await both.engine.roll_back(reason=REASON, only=("api",))
        assert (undone.part, undone.outcome) == ("api", Outcome.RESTORED)
        assert await both.live() == ("dpl_v1", "dpl_blue")

    play(scene)


def test_an_api_that_has_not_passed_goes_back_with_the_site() -> None:
    """One plan, the site first; both are measured, both are recorded as failing."""

    async def scene(both: Both) -> Incident:
        undone = await both.engine.roll_back(reason=REASON)
        assert await both.live() == ("dpl_v1", "dpl_blue")
        for name in ("dpl_v2", "dpl_green"):
            found = await both.world.ledger.find(name, "production")
            assert found
            assert found.health_check_status is HealthStatus.FAILING
        return undone

    undone = play(scene)
    assert undone.outcome is Outcome.RESTORED
    assert steps(undone) == [
        ("application", "dpl_v1", StepStatus.DONE),
        ("api", "dpl_blue", StepStatus.DONE),
    ]
    assert len(undone.flows) == 6


def test_a_deployment_that_is_named_names_its_part() -> None:
    """Going back from green, or to blue, leaves the site where it is."""

    async def scene(both: Both) -> None:
        undone = await both.engine.roll_back(reason=REASON, target="dpl_blue")
        assert (undone.part, undone.from_deployment) == ("api", "dpl_green")
        assert await both.live() == ("dpl_v2", "dpl_blue")
        again = await both.engine.roll_back(reason=REASON, candidate="dpl_green")
        assert again.outcome is Outcome.NOTHING_TO_DO

    play(scene)


def test_from_one_part_to_another_is_refused() -> None:
    """No release of the site can take the API's place."""

    async def scene(both: Both) -> None:
        with pytest.raises(NotATarget, match="another part"):
            await both.engine.plan(
                reason=REASON, candidate="dpl_v2", target="dpl_blue", override=True
            )

    play(scene)


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        ("application", ("dpl_v2", "dpl_blue")),
        ("api", ("dpl_v1", "dpl_green")),
    ],
)
def test_a_part_that_is_refused_does_not_hold_the_other(
    refused: str, expected: tuple[str, str]
) -> None:
    """The other one goes back and is measured; a person is called for this one."""

    async def scene(both: Both) -> Incident:
        platform = both.api if refused == "api" else both.world.platform
        platform.refuse = PlatformDenied("Not allowed.")
        undone = await both.engine.roll_back(reason=REASON)
        assert await both.live() == expected
        return undone

    undone = play(scene)
    assert undone.outcome is Outcome.ESCALATED
    ended = {s.target: s.status for s in undone.steps}
    other = "application" if refused == "api" else "api"
    assert ended == {refused: StepStatus.FAILED, other: StepStatus.DONE}
    assert f"{other}: healthy 3 times in a row" in undone.detail
    assert "Not allowed." in undone.detail


def test_each_part_is_claimed() -> None:
    """While both go back nobody can begin with the API alone, nor afterwards again."""

    async def scene(both: Both) -> Incident:
        refused: list[str] = []

        async def ask() -> None:
            await anyio.sleep(1)
            with pytest.raises(AlreadyRollingBack) as caught:
                await both.engine.roll_back(reason="me too", only=("api",))
            refused.append(caught.value.message)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            undone = await both.engine.roll_back(reason=REASON)
        assert f"{undone.id}-api" in refused[0]
        kept = await both.world.ledger.incident(f"{undone.id}-api")
        assert kept
        assert (kept.part, kept.from_deployment) == ("api", "dpl_green")
        assert kept.outcome is Outcome.RESTORED
        return undone

    assert play(scene).outcome is Outcome.RESTORED


def test_a_part_that_somebody_else_holds_holds_the_whole_plan() -> None:
    """Nothing is moved, and the site can be rolled back by itself at once."""

    async def scene(both: Both) -> None:
        begun = both.world.clock.now()
        other = Incident(
            id="inc-other",
            environment="production",
            from_deployment="dpl_green",
            to_deployment="dpl_blue",
            reason="somebody else",
            opened_at=begun,
        )
        await both.world.ledger.open_incident(other, lease_seconds=900)
        with pytest.raises(AlreadyRollingBack, match="inc-other"):
            await both.engine.roll_back(reason=REASON)
        assert await both.live() == ("dpl_v2", "dpl_green")
        alone = await both.engine.roll_back(reason=REASON, only=("application",))
        assert alone.outcome is Outcome.RESTORED

    play(scene)


def test_the_last_stable_of_one_part_is_never_of_the_other() -> None:
    """Neither for a part that never passed, nor after many releases of the other."""

    async def scene(both: Both) -> None:
        ledger, now = both.world.ledger, both.world.clock.now()
        await ledger.set_health("dpl_blue", "production", HealthStatus.FAILING, now)
        with pytest.raises(NoStableDeployment):
            await both.engine.alone("api").stable()
        recorded = await ledger.find("dpl_green", "production")
        assert recorded
        for number in range(12):
            name = f"dpl_api{number}"
            await ledger.record(replace(recorded, deployment_id=name, id=name))
        assert (await both.engine.stable()).deployment_id == "dpl_v1"

    play(scene)


def test_a_rollback_of_the_api_does_not_make_the_site_flap() -> None:
    """Trouble of what the site went back to is told, also after the API's rollback."""

    async def scene(both: Both) -> Ruling:
        await both.engine.roll_back(reason=REASON, only=("application",))
        await both.passed("dpl_v2")
        await both.engine.roll_back(reason=REASON, only=("api",))
        both.world.failing["dpl_v1"] = 10
        (ruling,) = await both.engine.watch(seconds=300, act=True)
        assert await both.live() == ("dpl_v1", "dpl_blue")
        return ruling

    ruling = play(scene)
    assert ruling.incident is None, "v1 is what the site went back to"


def test_an_interrupted_rollback_leaves_word_of_both() -> None:
    """Each part's record says that it has to be looked at."""

    async def scene(both: Both) -> None:
        with anyio.move_on_after(1):
            await both.engine.roll_back(reason=REASON)
        known = await both.world.ledger.incidents("production", limit=9)
        assert {one.part for one in known} == {"application", "api"}
        assert {one.outcome for one in known} == {Outcome.ESCALATED}

    play(scene)


@pytest.mark.parametrize("only", [(), ("api",)])
def test_each_part_s_builds_do_afterwards_what_they_did_before(
    only: tuple[str, ...],
) -> None:
    """Auto-assignment is a project's own: it is kept, told and put back by part."""

    async def scene(both: Both) -> None:
        both.api.auto_assign = False
        past = await both.engine.roll_back(reason=REASON, only=only)
        kept = {s.target: (s.auto_assign_before, s.auto_assign) for s in past.steps}
        assert kept["api"] == (False, False)
        assert kept.get("application", (True, False)) == (True, False)
        told = " ".join(both.world.channel.messages[-1].lines)
        assert "of the api do not go live" in told
        assert ("builds of the application" in told) is (not only)
        if not only:
            claim = await both.world.ledger.incident(f"{past.id}-api")
            assert claim
            assert (claim.auto_assign_before, claim.auto_assign) == (False, False)

        undone = await both.engine.forward.undo(past.id, reason=REASON)
        assert undone.outcome is Outcome.RESTORED
        assert both.api.auto_assign is False
        assert both.world.platform.auto_assign is True
        assert {s.target: s.auto_assign for s in undone.steps}["api"] is False

    play(scene)


def test_the_api_s_builds_are_not_taken_for_the_site_s() -> None:
    """Of an incident of the API alone the API's project is asked, also afterwards."""

    async def scene(both: Both) -> None:
        past = await both.engine.roll_back(reason=REASON, only=("api",))
        assert (past.auto_assign_before, past.auto_assign) == (True, False)
        assert both.world.platform.auto_assign is True

    play(scene)
