"""The port `MetricSource` on Prometheus: what was scraped comes in buckets."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rollback.adapters.memory import FixedClock
from rollback.evidence import Evidence, update
from rollback.model import Counts, Signal
from tests.contract.answering import Answering, Reply

from .played import BAD, DELAY, START, STEP, Server, connect, looked

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("every", [1, 2, 7, 15, 40, 92])
async def test_each_bucket_comes_once(
    api: Answering, clock: FixedClock, every: int
) -> None:
    """However often one looks, no bucket and no second is lost or told twice."""
    found = await looked(connect(api.url, clock), clock, every)
    assert [c.second - START for c in found] == list(range(3, 90))
    assert {c.second - START: (c.requests, c.failed, c.slow) for c in found} == {
        second: (100, second // STEP, 2 * (second // STEP))
        if second % STEP == STEP - 1
        else (0, 0, 0)
        for second in range(3, 90)
    }


async def test_a_bucket_is_one_batch_of_evidence(
    api: Answering, clock: FixedClock, server: Server
) -> None:
    """Fifteen seconds that were scraped once move the evidence once."""
    for bucket in range(6):
        server.set(bucket, 100, 100, 0)
    found = await looked(connect(api.url, clock), clock, 1)
    told = once = Evidence(0.05)
    for counts in found:
        told = update(told, *counts.of(Signal.ERROR_RATE))
    for _ in range(6):
        once = update(once, 100, 100)
    assert told == once


async def test_a_bucket_is_read_once(
    api: Answering, clock: FixedClock, server: Server
) -> None:
    """Looks at every second cost three questions a bucket, not three a second."""
    await looked(connect(api.url, clock), clock, 1)
    # The seventh bucket is asked for too, and is silent: that takes one question.
    assert len(server.queries) == 6 * 3 + 1


async def test_a_bucket_that_was_read_does_not_change(
    api: Answering, clock: FixedClock, server: Server
) -> None:
    """What comes later than the delay is left out, and nothing is told in two ways."""
    source = connect(api.url, clock)
    early = await source.counts(BAD, since=START, until=START + 5)
    server.set(0, 9999, 9999, 9999)
    server.fault = Reply(status=503)
    late = await source.counts(BAD, since=START + 5, until=START + 15)
    assert [c.second - START for c in (*early, *late)] == list(range(15))
    assert late[-1].requests == 100


async def test_the_bucket_that_still_fills_is_not_told(
    api: Answering, clock: FixedClock
) -> None:
    """Until the delay after its end is over, nothing of a bucket is there."""
    clock.at = datetime.fromtimestamp(START + 2 * STEP + DELAY, UTC)
    source = connect(api.url, clock)
    found = await source.counts(BAD, since=START, until=START + 90)
    assert [c.second - START for c in found] == list(range(30))
    clock.advance(-1)
    found = await connect(api.url, clock).counts(BAD, since=START, until=START + 90)
    assert [c.second - START for c in found] == list(range(15))


async def test_silence_is_no_zero(
    api: Answering, clock: FixedClock, server: Server
) -> None:
    """A bucket without a value, or with one that is no number, is absent."""
    server.set(0, 0, 0, 0)
    del server.values["requests"][1]
    for bucket, value in ((2, "NaN"), (3, "+Inf")):
        server.values["requests"][bucket] = value
    source = connect(api.url, clock)
    found = await source.counts(BAD, since=START, until=START + 60)
    assert found == tuple(Counts(second=START + s) for s in range(15))


async def test_half_a_bucket_is_none(
    api: Answering, clock: FixedClock, server: Server
) -> None:
    """Requests of which the failures are unknown are absent, and block no others."""
    del server.values["failed"][1]
    found = await connect(api.url, clock).counts(BAD, since=START, until=START + 45)
    assert [c.second - START for c in found] == [*range(15), *range(30, 45)]


async def test_guesses_are_made_whole(
    api: Answering, clock: FixedClock, server: Server
) -> None:
    """What `increase()` guesses is rounded, and no more are bad than there are."""
    server.set(0, 9.6, 12.3, -0.2)
    found = await connect(api.url, clock).counts(BAD, since=START, until=START + 15)
    assert found[-1] == Counts(second=START + 14, requests=10, failed=10, slow=0)


async def test_other_deployments_are_asked_for_apart(
    api: Answering, clock: FixedClock, server: Server
) -> None:
    """What was read of one deployment is not told of another."""
    source = connect(api.url, clock)
    await source.counts(BAD, since=START, until=START + 5)
    other = replace(BAD, id='dpl"} or x{d="\n')
    await source.counts(other, since=START, until=START + 5)
    assert server.queries[0] == 'requests{d="dpl_bad"}'
    assert server.queries[3] == (
        'requests{d="dpl\\U00000022\\U0000007d\\U00000020or\\U00000020x\\U0000007bd'
        '\\U0000003d\\U00000022\\U0000000a"}'
    )


async def test_the_lag_lets_a_bucket_close(api: Answering, clock: FixedClock) -> None:
    """Nothing is asked for before it can be told, and not a second later."""
    source = connect(api.url, clock, step_seconds=STEP, delay_seconds=DELAY)
    clock.at = datetime.fromtimestamp(START + 1 + source.lag_seconds, UTC)
    assert await source.counts(BAD, since=START, until=START + 1)
    clock.at -= timedelta(seconds=1)
    early = connect(api.url, clock)
    assert not await early.counts(BAD, since=START, until=START + 1)
