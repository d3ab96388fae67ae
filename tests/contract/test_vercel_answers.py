"""Each answer of Vercel leads where docs/vercel.md says, row by row."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollback.adapters.vercel import VercelPlatform
from rollback.errors import (
    NotATarget,
    PlatformDenied,
    PlatformUnreachable,
    RollbackError,
    StepFailed,
)
from rollback.model import Step
from rollback.targets import application
from rollback.targets.application import Application
from stack.backends import Stack

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "vercel.md"
CUSTOM, SECOND = "book.example.com", "shop.example.com"
FOR_GOOD = 99
OUTCOMES: dict[type[RollbackError], str] = {
    PlatformDenied: "denied",
    NotATarget: "not a target",
    PlatformUnreachable: "unreachable",
    StepFailed: "failed",
}
COUNTED = {
    "read": "project",
    "job": "rollback",
    "alias": "assign_alias",
    "rollback": "rollback",
    "promote": "promote",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is arranged for a row, and whether production goes forward."""

    faults: dict[str, Any] = field(default_factory=dict)
    forward: bool = False
    by_hand: bool = False
    second: bool = False
    rolling: bool = False
    words: str = ""


def answers(endpoint: str, status: int, **more: Any) -> dict[str, Any]:
    """One answer of an endpoint, once or `times` times."""
    return {endpoint: {"status": status, "message": f"Says {status}"} | more}


ALREADY = "dpl is already the current production deployment"
OLDER = {"type": "rollback", "to": "v1", "status": "succeeded", "age_seconds": 60}


def rollback(answer: str, status: int, **more: Any) -> tuple[tuple[str, str], Setting]:
    """A row of the rollback's own request."""
    faults = answers("rollback", status, **more)
    return ("rollback", answer), Setting(faults=faults, words=f"{status}")


def promote(answer: str, **faults: Any) -> tuple[tuple[str, str], Setting]:
    """A row of a promotion."""
    return ("promote", answer), Setting(faults=faults, forward=True)


def read(answer: str, status: int, **more: Any) -> tuple[tuple[str, str], Setting]:
    """A row of the requests that change nothing."""
    return ("read", answer), Setting(faults=answers("project", status, **more))


SETTINGS = dict(
    [
        *(read(f"{status}", status) for status in (401, 402, 403, 404, 410)),
        read("429, come again in 1 s", 429, retry_after=1),
        read("429, come again in an hour", 429, retry_after=3600),
        read("500, twice", 500, times=2),
        read("503, for good", 503, times=FOR_GOOD),
        (("rollback", "201"), Setting()),
        *(
            rollback(f"{status}", status)
            for status in (400, 401, 403, 404, 410, 422, 500, 503)
        ),
        (
            ("rollback", "402, the plan goes back one deployment only"),
            Setting(
                faults=answers("rollback", 402, message="upgrade to pro"),
                words="upgrade to pro",
            ),
        ),
        rollback("409, already the current deployment", 409, message=ALREADY),
        rollback("409, for another reason", 409),
        rollback("429, come again in 1 s", 429, retry_after=1),
        rollback("429, come again in an hour", 429, retry_after=3600),
        rollback("429, without a time", 429),
        (("rollback", "none, and it was taken"), Setting(faults={"lose_reply": 1})),
        (
            ("rollback", "none, and it was not taken"),
            Setting(faults={"lose_request": 1}),
        ),
        (
            ("rollback", "201, an older job of somebody else had succeeded"),
            Setting(faults={"older_job": OLDER}),
        ),
        (("rollback", "201, and a rolling release ends"), Setting(rolling=True)),
        (("job", "failed"), Setting(faults={"job_status": "failed"})),
        (
            ("job", "failed for one host"),
            Setting(
                faults={"failed_domains": ["wedsync.localhost"]},
                words="wedsync.localhost",
            ),
        ),
        (("job", "skipped"), Setting(faults={"job_status": "skipped"})),
        (("job", "in progress for ever"), Setting(faults={"hang": True})),
        (("alias", "200, a custom alias"), Setting(by_hand=True)),
        (
            ("alias", "403, a custom alias of somebody else"),
            Setting(by_hand=True, faults=answers("assign_alias", 403)),
        ),
        (
            ("alias", "403 for one of two custom aliases"),
            Setting(
                by_hand=True,
                second=True,
                faults=answers("assign_alias", 403),
                words=CUSTOM,
            ),
        ),
        (
            ("alias", "409, though it leads elsewhere"),
            Setting(by_hand=True, faults=answers("assign_alias", 409)),
        ),
        (("alias", "429"), Setting(by_hand=True, faults=answers("assign_alias", 429))),
        promote("201"),
        (
            ("promote", "202, queued behind a rolling release"),
            Setting(faults=answers("promote", 202), forward=True, words="queued"),
        ),
        (
            ("promote", "not asked, as a rolling release is under way"),
            Setting(forward=True, rolling=True, words="nothing was asked"),
        ),
        promote(
            "409, already the current deployment",
            **answers("promote", 409, message=ALREADY),
        ),
        promote("422", **answers("promote", 422)),
        promote("429, come again in 1 s", **answers("promote", 429, retry_after=1)),
        promote("500", **answers("promote", 500)),
        promote("none, and it was taken", lose_reply=1),
        promote("none, and it was not taken", lose_request=1),
    ]
)


def rows() -> list[list[str]]:
    """The rows of the page's table."""
    told = PAGE.read_text("utf-8").split("## What each answer leads to")[1]
    text = told.split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.fixture
def kind() -> str:
    """Only the real adapter."""
    return "real"


class Scene:
    """The stand-in with v2 live, and an adapter for it."""

    def __init__(self, stack: Stack, control: httpx.Client) -> None:
        self.stack, self._control = stack, control
        self._url = stack.addresses["platform"]
        given = stack.environment
        self.platform = VercelPlatform(
            token=given["VERCEL_TOKEN"],
            team_id=given["VERCEL_TEAM_ID"],
            project_id=given["VERCEL_PROJECT_ID"],
            url=given["VERCEL_API_URL"],
        )
        self.post("reset")

    def post(self, control: str, **body: Any) -> None:
        """Use one of the stand-in's controls."""
        url = f"{self._url}/_control/{control}"
        self._control.post(url, json=body).raise_for_status()

    def asked(self, endpoint: str) -> int:
        """How often an endpoint was asked."""
        state = self._control.get(f"{self._url}/_control/state").json()
        return sum(call["endpoint"] == endpoint for call in state["calls"])

    async def arrange(self, setting: Setting) -> Step:
        """Arrange a row; the step that it is about."""
        ids = self.stack.deployments
        bad, good = ids["v2"], ids["v1"]
        if setting.by_hand:
            await self.platform.assign(bad, CUSTOM)
        if setting.second:
            await self.platform.assign(bad, SECOND)
        if setting.rolling:
            self.post("live", deployment=good)
            canary = bad
            self.post("faults", rolling={"canary": canary, "percentage": 10})
        if "older_job" in setting.faults:
            self.post("faults", older_job=OLDER | {"to": good})
        others = {k: v for k, v in setting.faults.items() if k != "older_job"}
        self.post("faults", **others)
        step = Step(
            target="application",
            name="move production",
            from_deployment=bad,
            to_deployment=good,
            hosts=(CUSTOM, SECOND)[: setting.by_hand + setting.second],
        )
        if not setting.forward:
            return step
        if setting.rolling:
            return replace(step, forward=True, from_deployment=good, to_deployment=bad)
        return replace(step, forward=True)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}: {row[1]}")
async def test_every_row_of_the_page_holds(
    row: list[str],
    stack: Stack,
    control: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer leads to the outcome, after so many requests, and no more move."""
    request, answer, outcome, asked = row
    setting = SETTINGS[request, answer]
    monkeypatch.setattr(application, "LOST_SECONDS", 1.0)
    monkeypatch.setattr(application, "POLL_SECONDS", 0.3)
    scene = Scene(stack, control)
    step = await scene.arrange(setting)
    before = scene.asked(COUNTED[request])
    target = Application(scene.platform, timeout_seconds=2)
    if outcome == "done":
        target.timeout_seconds = 20
    ended, said = await play(target, step)

    assert ended == outcome, said
    assert outcome == "done" or setting.words in said, said
    count = scene.asked(COUNTED[request]) - before
    scene.post("faults", **dict.fromkeys(COUNTED.values()))
    live = set((await scene.platform.live()).values())
    if outcome == "done":
        assert live == {step.to_deployment}
    elif request != "alias":
        assert step.from_deployment in live
    if setting.second:
        other = await scene.platform.deployment(SECOND)
        assert other is not None
        assert other.id == step.to_deployment
    if request != "read":
        assert f"{count}" == asked
    elif asked == "several":
        assert count > 2


async def play(target: Application, step: Step) -> tuple[str, str]:
    """How the step ends: done, or the word for its error; and what was said."""
    try:
        await target.apply(step, reason="INC-1")
        return "done", await target.verify(step)
    except RollbackError as error:
        word = next(w for kind, w in OUTCOMES.items() if isinstance(error, kind))
        return word, error.message


def test_the_page_has_all_rows_that_are_known() -> None:
    """None is played that the page does not tell, and none is told twice."""
    told = [(request, answer) for request, answer, *_ in rows()]
    assert sorted(told) == sorted(SETTINGS)
