"""The port `MetricSource` on Sentry's transactions: what no other source has."""

import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback.errors import SettingsInvalid, SourceDown
from rollback.model import Counts
from stack.backends import Stack

from .answering import Asked, Reply, answering
from .test_metric_source import BAD, GOOD, deployment
from .tracing import Traced, connect

pytestmark = pytest.mark.anyio

SECOND = 1_800_000_000
AT = datetime.fromtimestamp(SECOND, UTC)
NOW = SECOND + 10_000
TOKEN = "sntrys_secret_token"


@pytest.fixture
def anyio_backend() -> str:
    """The adapter's own."""
    return "asyncio"


@pytest.fixture
def traced(stack: Stack) -> Traced:
    """An app that has traced nothing yet."""
    return Traced(stack.addresses["sentry"])


async def counted(stack: Stack, *, until: int = SECOND + 60, **changed: Any) -> Counts:
    """All counts of a minute in one."""
    source = connect(stack, now=NOW, **changed)
    total = Counts(second=0)
    for each in await source.counts(BAD, since=SECOND, until=until):
        total += each
    return total


@pytest.mark.parametrize("dataset", ["spans", "transactions"])
async def test_a_status_of_the_server_s_fault_is_a_failure(
    stack: Stack, traced: Traced, dataset: str
) -> None:
    """500 and more failed, 4xx did not; without a number the status decides."""
    traced.send(BAD.id, *((AT, code, 0.1) for code in (200, 302, 404, 429, 499)))
    traced.send(BAD.id, *((AT, code, 0.1) for code in (500, 501, 503, 504)))
    for status in ("internal_error", "unavailable", "not_found", "cancelled", "ok"):
        traced.send(BAD.id, (AT, None, 0.1), status=status)
    traced.send(BAD.id, (AT, None, 0.1))
    found = await counted(stack, dataset=dataset)
    assert (found.requests, found.failed, found.slow) == (15, 6, 0)


@pytest.mark.parametrize("dataset", ["spans", "transactions"])
async def test_more_than_three_seconds_is_slow(
    stack: Stack, traced: Traced, dataset: str
) -> None:
    """Exactly the bound is not slow."""
    traced.send(BAD.id, *((AT, 200, seconds) for seconds in (2.9, 3.0, 3.001, 20)))
    found = await counted(stack, dataset=dataset)
    assert (found.requests, found.slow) == (4, 2)


async def test_a_request_counts_where_the_data_set_has_it(
    stack: Stack, traced: Traced
) -> None:
    """Spans have a request where it began, transactions where it ended."""
    traced.send(BAD.id, (AT, 200, 5.0))
    for dataset, second in (("spans", SECOND), ("transactions", SECOND + 5)):
        source = connect(stack, now=NOW, dataset=dataset)
        (found,) = await source.counts(BAD, since=SECOND, until=SECOND + 60)
        assert found.second == second


async def test_only_requests_of_the_release_and_place_count(
    stack: Stack, traced: Traced
) -> None:
    """Other releases, environments and kinds of transactions leave the counts alone."""
    traced.send(BAD.id, (AT, 200, 0.1))
    traced.send(GOOD.id, (AT, 500, 0.1))
    traced.send(BAD.id, (AT, 500, 0.1), environment="preview")
    traced.send(BAD.id, (AT, 500, 0.1), op="queue.task")
    traced.send(BAD.id, (AT, 500, 0.1), op="pageload")
    found = await counted(stack)
    assert (found.requests, found.failed) == (1, 0)


async def test_every_page_is_read(stack: Stack, traced: Traced) -> None:
    """More requests than Sentry gives at once are counted, too."""
    traced.count(BAD.id, Counts(second=SECOND, requests=130, failed=70))
    traced.count(BAD.id, Counts(second=SECOND + 1, requests=10))
    found = await counted(stack)
    assert (found.requests, found.failed) == (140, 70)


async def test_of_too_many_the_newest_whole_seconds_count(
    stack: Stack, traced: Traced
) -> None:
    """The second that the bound cuts, and those before it, are absent and not less."""
    for offset in range(3):
        traced.count(BAD.id, Counts(second=SECOND + offset, requests=40, failed=10))
    source = connect(stack, now=NOW, pages=1)
    found = await source.counts(BAD, since=SECOND, until=SECOND + 60)
    assert found == tuple(
        Counts(second=SECOND + offset, requests=40, failed=10) for offset in (1, 2)
    )


async def test_a_long_time_is_read_as_far_as_time_allows(stack: Stack) -> None:
    """A slow Sentry that has much to say is heard out in part, and not given up."""
    pages = itertools.count()

    def reply(_: Asked) -> Reply:
        time.sleep(0.1)
        second = SECOND + 50 - next(pages)
        at = datetime.fromtimestamp(second, UTC).isoformat()
        row = {"timestamp": at, "span.duration": 1, "span.status": "ok"}
        rows = [{**row, "id": f"{second}", "span.status_code": "200"}]
        more = '<http://127.0.0.1/>; rel="next"; results="true"; cursor="0:1:0"'
        return Reply(body={"data": rows}, headers={"link": more})

    with answering(reply) as api:
        source = connect(stack, now=NOW, url=api.url, pages=1000, timeout_seconds=8)
        found = await source.counts(BAD, since=SECOND - 900, until=SECOND + 51)
    seconds = [counts.second for counts in found]
    assert seconds == list(range(seconds[0], SECOND + 51))


async def test_a_second_that_is_too_much_is_down(stack: Stack, traced: Traced) -> None:
    """A second that never can be read whole is told, with what to do about it."""
    traced.count(BAD.id, Counts(second=SECOND, requests=101))
    with pytest.raises(SourceDown, match="traces_sample_rate"):
        await counted(stack, pages=1, until=SECOND + 1)


async def test_what_comes_late_counts_within_the_lag(
    stack: Stack, traced: Traced
) -> None:
    """A second is told when its lag is over, with what was found until then."""
    source = connect(stack, now=SECOND + 30, lag_seconds=30)
    assert source.lag_seconds == 30
    traced.send(BAD.id, (AT, 200, 0.1))
    assert await source.counts(BAD, since=SECOND, until=SECOND + 1) == ()
    traced.send(BAD.id, (AT + timedelta(seconds=0.9), 500, 0.05))
    later = connect(stack, now=SECOND + 31, lag_seconds=30)
    found = await later.counts(BAD, since=SECOND, until=SECOND + 10)
    assert found == (Counts(second=SECOND, requests=2, failed=1),)


@pytest.mark.parametrize("changed", [{"token": TOKEN}, {"org": "x"}, {"project": "x"}])
async def test_a_refusal_is_in_sentry_s_words(
    stack: Stack, changed: dict[str, Any]
) -> None:
    """A wrong token, organization or project is told, and no secret repeated."""
    with pytest.raises(SourceDown, match=r"\((401|403|404)\)") as caught:
        await counted(stack, **changed)
    assert TOKEN not in caught.value.message


@pytest.mark.parametrize("git_sha", ["", 'b" OR release:"c'])
async def test_another_release_cannot_be_meant(stack: Stack, git_sha: str) -> None:
    """Without a commit, or with one that is more than a word, nothing is asked."""
    with pytest.raises(SourceDown):
        await connect(stack, now=NOW).counts(
            deployment(git_sha), since=SECOND, until=SECOND + 1
        )


@pytest.mark.parametrize(
    "body", [[], {}, {"data": [{}]}, {"data": [{"id": "1", "timestamp": "soon"}]}]
)
async def test_an_unreadable_answer_is_down(stack: Stack, body: object) -> None:
    """An answer that is no table is told, and never looks like silence."""
    with (
        answering(lambda _: Reply(body=body)) as api,
        pytest.raises(SourceDown, match="cannot be read"),
    ):
        await counted(stack, url=api.url)


async def test_too_many_at_once_is_tried_again(stack: Stack) -> None:
    """Refused for what runs beside it, and not for the window, it asks again soon."""
    refused = {
        "x-sentry-rate-limit-remaining": "30",
        "x-sentry-rate-limit-reset": str(NOW + 3600),
        "x-sentry-rate-limit-concurrentremaining": "0",
    }
    row = {"id": "1", "timestamp": AT.isoformat(), "span.duration": 12}
    row |= {"span.status": "ok", "span.status_code": "200"}
    replies = [
        Reply(status=429, body={"detail": "too many"}, headers=refused),
        Reply(body={"data": [row]}),
    ]
    with answering(lambda _: replies.pop(0)) as api:
        assert (await counted(stack, url=api.url)).requests == 1


async def test_a_window_that_ends_too_late_is_not_waited_for(stack: Stack) -> None:
    """Used up for longer than a rollback can wait, it is down at once, until when."""
    refused = {
        "x-sentry-rate-limit-remaining": "0",
        "x-sentry-rate-limit-reset": str(NOW + 3600),
    }
    reply = Reply(status=429, body={"detail": "too many"}, headers=refused)
    with (
        answering(lambda _: reply) as api,
        pytest.raises(SourceDown, match=r"limit is reached until \d\d:\d\d:\d\d UTC"),
    ):
        await counted(stack, url=api.url)
    assert len(api.headers) == 1


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN}é"])
def test_an_unsendable_token_is_not_repeated(stack: Stack, token: str) -> None:
    """A token that no header can hold is refused without showing it."""
    with pytest.raises(SettingsInvalid, match="SENTRY_AUTH_TOKEN") as caught:
        connect(stack, now=NOW, token=token)
    assert TOKEN not in caught.value.message
