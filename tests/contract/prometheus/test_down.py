"""Prometheus that cannot be read: it is down, and says what is to be mended."""

import socket
from dataclasses import replace

import anyio
import pytest

from rollback.adapters.memory import FixedClock
from rollback.adapters.prometheus import Queries
from rollback.adapters.promql import seconds
from rollback.errors import SettingsInvalid, SourceDown
from tests.contract.answering import Answering, Reply

from .played import BAD, OWN, PASSWORD, START, TOKEN, Server, connect

pytestmark = pytest.mark.anyio

PARTLY = {"warnings": ["receive series from 10.0.0.7: deadline exceeded"]}
HINT = {"warnings": ["PromQL info: metric might not be a counter"], "infos": ["…"]}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=503, body={"status": "error", "error": "too slow"}), "too slow"),
        (Reply(status=500, body=b"<html>"), r"Internal Server Error \(500\)"),
        (
            Reply(status=400, body={"status": "error", "error": "parse error"}),
            r"parse error \(400\)\. Correct ROLLBACK_PROMETHEUS_REQUESTS",
        ),
        (Reply(status=422, body={"error": "too many samples"}), "too many samples"),
        (Reply(status=401, body=b"<html>"), "PROMETHEUS_TOKEN"),
        (Reply(status=302, body=b"", headers={"location": "/login"}), "PROMETHEUS_URL"),
        (Reply(status=404, body=b"<html>"), "PROMETHEUS_URL"),
        (Reply(body={"status": "error", "error": "bad"}), "Prometheus says bad"),
        (Reply(body=b"<html>"), "cannot be read"),
        (Reply(body=[]), "cannot be read"),
        (Reply(body={"status": "success"}), "cannot be read"),
        (
            Reply(body={"status": "success", "data": {"result": [{"values": [[1]]}]}}),
            "cannot be read",
        ),
        (
            Reply(body={"status": "success", "data": {"result": []}, **PARTLY}),
            r"in part only: receive series from 10\.0\.0\.7",
        ),
    ],
)
async def test_an_answer_that_is_none_is_down(
    api: Answering, clock: FixedClock, server: Server, reply: Reply, said: str
) -> None:
    """What is no count says what to mend, never looks like silence, shows no secret."""
    server.fault = reply
    url = api.url.replace("//", f"//user:{PASSWORD}@")
    source = connect(url, clock, token=TOKEN)
    with pytest.raises(SourceDown, match=said) as caught:
        await source.counts(BAD, since=START, until=START + 15)
    assert PASSWORD not in caught.value.message
    assert TOKEN not in caught.value.message


async def test_a_hint_is_no_partial_answer(
    api: Answering, clock: FixedClock, server: Server
) -> None:
    """What Prometheus remarks about the query does not make the counts worse."""
    server.extra = HINT
    assert await connect(api.url, clock).counts(BAD, since=START, until=START + 15)


@pytest.mark.parametrize("missing", ["failed", "slow"])
async def test_an_unanswered_half_is_no_zero(
    api: Answering, clock: FixedClock, server: Server, missing: str
) -> None:
    """Requests of which nobody knows how many were bad are not taken for good ones."""
    del server.values[missing]
    with pytest.raises(SourceDown, match=f"ROLLBACK_PROMETHEUS_{missing.upper()}"):
        await connect(api.url, clock).counts(BAD, since=START, until=START + 15)


async def test_one_that_does_not_answer_is_down(clock: FixedClock) -> None:
    """A refused connection is down, and a silent server costs the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://user:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}"
        slow = connect(url, clock, timeout_seconds=0.3)
        with anyio.fail_after(5), pytest.raises(SourceDown, match="PROMETHEUS_URL"):
            await slow.counts(BAD, since=START, until=START + 15)
    with pytest.raises(SourceDown, match=r"127\.0\.0\.1") as caught:
        await connect(url, clock).counts(BAD, since=START, until=START + 15)
    assert PASSWORD not in caught.value.message


async def test_credentials_are_sent(api: Answering, clock: FixedClock) -> None:
    """A token goes as bearer, else the address's name and password as basic auth."""
    await connect(api.url, clock, token=TOKEN).counts(BAD, since=START, until=START + 1)
    assert api.headers[-1]["authorization"] == f"Bearer {TOKEN}"
    url = api.url.replace("//", "//user:p%40ss@")
    await connect(url, clock).counts(BAD, since=START, until=START + 1)
    assert api.headers[-1]["authorization"] == "Basic dXNlcjpwQHNz"
    await connect(url, clock, token=TOKEN).counts(BAD, since=START, until=START + 1)
    assert api.headers[-1]["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "url", [f"ftp://user:{PASSWORD}@host", f"user:{PASSWORD}", f"http://:{PASSWORD}"]
)
def test_an_unreadable_address_is_not_repeated(url: str) -> None:
    """An address that cannot be read is refused without showing its password."""
    with pytest.raises(SettingsInvalid) as caught:
        connect(url, FixedClock())
    assert PASSWORD not in caught.value.message


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN} x", f"{TOKEN}é"])
def test_an_unsendable_token_is_not_repeated(token: str) -> None:
    """A token that no header can hold is refused without showing it."""
    with pytest.raises(SettingsInvalid, match="PROMETHEUS_TOKEN") as caught:
        connect("http://127.0.0.1:1", FixedClock(), token=token)
    assert TOKEN not in caught.value.message


def test_a_query_must_say_of_which_deployment() -> None:
    """A query for everybody's requests is refused, and so is a word without meaning."""
    with pytest.raises(SettingsInvalid, match="other deployments"):
        Queries(requests="sum(http_requests_total)")
    with pytest.raises(SettingsInvalid, match=r"\{\{project\}\}"):
        Queries(slow='x{d="{{deployment}}",p="{{ project }}"}')


async def test_an_unknown_commit_is_not_asked_about(
    api: Answering, clock: FixedClock
) -> None:
    """A query by commit is not asked where no commit is known."""
    source = connect(api.url, clock, queries=replace(OWN, slow='x{r="{{ git_sha }}"}'))
    with pytest.raises(SourceDown, match="git sha"):
        await source.counts(replace(BAD, git_sha=""), since=START, until=START + 15)


def test_bounds_are_written_both_ways() -> None:
    """A histogram's bound is found as Prometheus 2 and as Prometheus 3 writes it."""
    assert seconds(3000) == r"3(\\.0)?"
    assert seconds(2500) == r"2\\.5"
    assert seconds(10_000) == r"10(\\.0)?"
