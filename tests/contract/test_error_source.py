"""The contract of the port `ErrorSource`."""

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import anyio
import httpx
import pytest
import sentry_sdk
from sentry_sdk.scope import Scope
from sentry_sdk.types import Event

from rollback.adapters.clock import SystemClock
from rollback.adapters.memory import MemoryErrors
from rollback.adapters.sentry import SentryErrors
from rollback.errors import SourceDown
from rollback.model import PlatformDeployment
from rollback.ports import ErrorSource
from stack.backends import Stack
from stack.backends.world import SENTRY

pytestmark = pytest.mark.anyio

CODES = ("STRIPE_WEBHOOK_FAILED", "DATABASE_CONNECTION_LOST", "AUTH_SERVICE_DOWN")
LOST, AUTH = CODES[1], CODES[2]
TOKEN = "sntrys_secret_token"
NOW = datetime.now(UTC).replace(microsecond=0)
SINCE = NOW - timedelta(seconds=60)
INGEST_SECONDS = 0.7  # the stand-in finds an event half a second after it came
real_only = pytest.mark.parametrize("kind", ["real"])


def deployment(git_sha: str) -> PlatformDeployment:
    """A deployment of which only the commit matters here."""
    return PlatformDeployment(
        id="dpl_bad",
        url="http://127.0.0.1:1",
        git_sha=git_sha,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ready=True,
        candidate=True,
        served=True,
    )


BAD = deployment("b" * 40)


def connect(stack: Stack, **changed: Any) -> SentryErrors:
    """An adapter for the stand-in, with some settings that differ."""
    settings: dict[str, Any] = {
        "token": SENTRY["auth_token"],
        "org": SENTRY["org"],
        "project": SENTRY["project"],
        "clock": SystemClock(),
        "url": stack.addresses["sentry"],
    }
    return SentryErrors(**{**settings, **changed})


@pytest.fixture
def source(
    kind: str, request: pytest.FixtureRequest, control: httpx.Client
) -> ErrorSource:
    """A source without any errors."""
    if kind != "real":
        return MemoryErrors()
    stack: Stack = request.getfixturevalue("stack")
    url = stack.addresses["sentry"]
    control.post(f"{url}/_control/reset").raise_for_status()
    return connect(stack)


class Report(Protocol):
    """Reports errors, as the application does."""

    def __call__(
        self,
        *codes: str,
        at: datetime = NOW,
        git_sha: str = BAD.git_sha,
        environment: str = "production",
    ) -> None:
        """One error of each code."""


@pytest.fixture
def report(source: ErrorSource, request: pytest.FixtureRequest) -> Report:
    """To Sentry, with its own SDK."""
    real = not isinstance(source, MemoryErrors)
    dsn = _dsn(request.getfixturevalue("stack")) if real else None

    def send(
        *codes: str,
        at: datetime = NOW,
        git_sha: str = BAD.git_sha,
        environment: str = "production",
    ) -> None:
        if isinstance(source, MemoryErrors):
            for code in codes:
                source.add(git_sha, code, at, environment=environment)
            return
        client = sentry_sdk.Client(dsn=dsn, release=git_sha, environment=environment)
        for code in codes:
            client.capture_event(_event(code, at), scope=Scope())
            client.flush(timeout=5)
        client.close(timeout=5)

    return send


def _dsn(stack: Stack) -> str:
    place = stack.addresses["sentry"].removeprefix("http://")
    return f"http://{SENTRY['public_key']}@{place}/{SENTRY['project_id']}"


def _event(code: str, at: datetime) -> Event:
    return {"level": "error", "timestamp": at, "tags": {"error_code": code}}


async def asked(
    source: ErrorSource, of: PlatformDeployment = BAD, *, since: datetime = SINCE
) -> dict[str, int]:
    """The codes found, and how often; after what Sentry takes to find an event."""
    if not isinstance(source, MemoryErrors):
        await anyio.sleep(INGEST_SECONDS)
    found = await source.critical_errors(
        of, codes=CODES, environment="production", since=since
    )
    return {error.code: error.count for error in found}


async def test_errors_are_counted_by_code(source: ErrorSource, report: Report) -> None:
    """Each critical code is told once, with how often it was seen."""
    report(LOST, AUTH, LOST)
    assert await asked(source) == {LOST: 2, AUTH: 1}


async def test_nothing_is_found_where_nothing_was(source: ErrorSource) -> None:
    """A release without critical errors has none."""
    assert await asked(source) == {}


async def test_the_first_one_is_dated(source: ErrorSource, report: Report) -> None:
    """A code is dated by the first of its errors, in UTC."""
    for seconds in (20, 40, 30):
        report(LOST, at=NOW - timedelta(seconds=seconds))
    await asked(source)
    (found,) = await source.critical_errors(
        BAD, codes=CODES, environment="production", since=SINCE
    )
    assert found.first_seen == NOW - timedelta(seconds=40)
    assert found.first_seen.utcoffset() == timedelta(0)


async def test_other_releases_do_not_count(source: ErrorSource, report: Report) -> None:
    """An error of the stable release says nothing about the candidate."""
    report(LOST, git_sha="c" * 40)
    assert await asked(source) == {}
    assert await asked(source, deployment("c" * 40)) == {LOST: 1}


async def test_other_environments_do_not_count(
    source: ErrorSource, report: Report
) -> None:
    """An error in staging says nothing about production."""
    report(LOST, environment="staging")
    assert await asked(source) == {}


async def test_what_came_before_does_not_count(
    source: ErrorSource, report: Report
) -> None:
    """An error from before the moment that was named is left out, to the second."""
    report(LOST, at=SINCE)
    report(LOST, AUTH, at=SINCE - timedelta(seconds=1))
    assert await asked(source) == {LOST: 1}


async def test_the_second_of_the_beginning_counts(
    source: ErrorSource, report: Report
) -> None:
    """An error after the moment is counted, also when Sentry cuts off its fraction."""
    report(LOST, at=SINCE + timedelta(seconds=0.7))
    assert await asked(source, since=SINCE + timedelta(seconds=0.5)) == {LOST: 1}


async def test_an_error_that_is_found_late_counts(
    source: ErrorSource, report: Report
) -> None:
    """An answer without it was no proof: it counts by when it happened."""
    assert await asked(source) == {}
    report(LOST, at=SINCE + timedelta(seconds=1))
    assert await asked(source) == {LOST: 1}


async def test_other_codes_do_not_count(source: ErrorSource, report: Report) -> None:
    """A code that is not critical is not told."""
    report("CACHE_UNAVAILABLE")
    assert await asked(source) == {}


async def test_an_unknown_commit_cannot_be_asked_about(source: ErrorSource) -> None:
    """Without a commit no error can be told to be the deployment's own."""
    with pytest.raises(SourceDown, match="git sha"):
        await asked(source, deployment(""))


async def test_a_source_that_is_down_says_so(
    source: ErrorSource, request: pytest.FixtureRequest
) -> None:
    """A source that cannot be asked is an error, and never looks like no errors."""
    if isinstance(source, MemoryErrors):
        source.down = "127.0.0.1 is gone"
    else:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        source = connect(request.getfixturevalue("stack"), url=url)
    with pytest.raises(SourceDown, match=r"127\.0\.0\.1"):
        await asked(source)


@real_only
async def test_every_page_is_read(source: ErrorSource, report: Report) -> None:
    """More errors than Sentry gives at once are counted, too."""
    report(*[LOST] * 130)
    report(AUTH, at=NOW - timedelta(seconds=1))
    assert await asked(source) == {LOST: 130, AUTH: 1}


@real_only
@pytest.mark.parametrize(
    "changed",
    [{"token": TOKEN}, {"org": "other"}, {"project": "other"}],
)
async def test_a_refusal_is_in_sentry_s_words(
    stack: Stack, changed: dict[str, str]
) -> None:
    """A wrong token, organization or project is told, and no secret repeated."""
    with pytest.raises(SourceDown, match=r"\((401|403|404)\)") as caught:
        await asked(connect(stack, **changed))
    assert TOKEN not in caught.value.message


@real_only
async def test_a_limit_is_waited_for(
    source: ErrorSource, report: Report, stack: Stack
) -> None:
    """When Sentry's window is used up, the next one is waited for."""
    report(LOST)
    await anyio.sleep(INGEST_SECONDS)
    await use_up(stack)
    (found,) = await source.critical_errors(
        BAD, codes=CODES, environment="production", since=SINCE
    )
    assert found.code == LOST


async def use_up(stack: Stack) -> None:
    """Ask until Sentry refuses: its window is a second."""
    url = f"{stack.addresses['sentry']}/api/0/organizations/{SENTRY['org']}/events/"
    headers = {"authorization": f"Bearer {SENTRY['auth_token']}"}
    statuses: set[int] = set()

    async def ask() -> None:
        answer = await other.get(url, params={"field": "id"})
        statuses.add(answer.status_code)

    async with httpx.AsyncClient(trust_env=False, headers=headers) as other:
        with anyio.fail_after(10):
            while 429 not in statuses:
                async with anyio.create_task_group() as tasks:
                    for _ in range(50):
                        tasks.start_soon(ask)


@real_only
async def test_a_silent_sentry_is_given_up(stack: Stack) -> None:
    """A server that takes the connection and says nothing costs the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        source = connect(stack, url=url, timeout_seconds=0.5)
        with anyio.fail_after(3), pytest.raises(SourceDown):
            await asked(source)


@real_only
@pytest.mark.parametrize("bad", ['b" OR release:"c', "b]", ""])
async def test_a_query_cannot_be_widened(stack: Stack, bad: str) -> None:
    """A code that is more than a word is not put into Sentry's query."""
    with pytest.raises(SourceDown):
        await connect(stack).critical_errors(
            replace(BAD), codes=[bad], environment="production", since=SINCE
        )
