"""Steps of the feature flags: what is given and done, in Redis and at the edge."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from pytest_bdd import given, parsers, then, when
from redis import Redis

from stack.backends import Stack

from .command import Command
from .flag_scene import FLAGS, SAVED, TIMELINE, Flagging

STATES = {
    "a word": b"beta",
    "nothing at all": b"",
    "JSON": b'{"percent": 50, "for": ["a", "b"]}',
    "letters and zeros": "\x00 Größe 💍 \x00".encode(),
    "a million letters": b"x" * 1_000_000,
}
NOWHERE = "127.0.0.1:1"  # nobody listens there


@pytest.fixture
def flagging(fresh: Stack, command: Command) -> Iterator[Flagging]:
    """The command and the practice stack, with v2 live."""
    with (
        closing(Redis.from_url(fresh.addresses["redis"])) as redis,
        httpx.Client(trust_env=False, timeout=20) as http,
    ):
        yield Flagging(fresh, command, redis, http)


# -- given --------------------------------------------------------------------


@given("v2 serves the site, with the feature timeline on")
def timeline_on(flagging: Flagging) -> None:
    """As it is after the start."""
    flagging.redis.hset(FLAGS, "timeline", "enabled")


@given("the edge keeps the answer that timeline is on")
def edge_keeps(flagging: Flagging) -> None:
    """Two visitors look; the second is answered by the edge alone."""
    url = flagging.stack.addresses["edge"] + TIMELINE
    flagging.http.get(url)
    again = flagging.http.get(url)
    kept = (again.headers["x-vercel-cache"], again.json()["enabled"])
    assert kept == ("HIT", True), kept


@given("the edge keeps it in another encoding and with a query as well")
def edge_keeps_forms(flagging: Flagging) -> None:
    """Each is an entry of its own."""
    for path, encoding in ((TIMELINE, "identity"), (f"{TIMELINE}?from=mail", "gzip")):
        assert flagging.shown(path, **{"accept-encoding": encoding})
    assert len(flagging.platform()["cache"]) == 3


@given(parsers.parse("the flag of timeline holds {kind}"))
def flag_holds(flagging: Flagging, kind: str) -> None:
    """Set by the app, and not by us."""
    flagging.redis.hset(FLAGS, "timeline", STATES[kind])


@given(parsers.parse('somebody sets the flag of timeline to "{state}"'))
def somebody_sets(flagging: Flagging, state: str) -> None:
    """By hand, past the command."""
    flagging.redis.hset(FLAGS, "timeline", state)


@given(parsers.parse("the platform answers the next {times:d} purges with {status:d}"))
def platform_fails(flagging: Flagging, times: int, status: int) -> None:
    """Nothing is purged by these; a limit comes with the time to wait."""
    wait = {"retry_after": 1} if status == 429 else {}
    flagging.fault({"status": status, "times": times, **wait})


@given("the platform purges nothing")
def platform_down(flagging: Flagging) -> None:
    """Whatever is asked, it breaks; nobody wants to wait for half a minute here."""
    flagging.fault({"status": 500, "times": 9999})
    flagging.settings(ROLLBACK_PURGE_TIMEOUT_SECONDS="2")


@given("the platform refuses the purge")
def platform_refuses(flagging: Flagging) -> None:
    """For its credentials."""
    flagging.fault({"status": 403, "message": "Not authorized", "times": 9})


@given("the flags can no longer be reached")
def flags_gone(flagging: Flagging) -> Iterator[None]:
    """The command's way to Redis goes over a route of the fault proxy, which is cut."""
    proxies = flagging.http.get(f"{flagging.stack.addresses['toxiproxy']}/proxies")
    (listen,) = (
        proxy["listen"]
        for name, proxy in proxies.json().items()
        if "v1" in name and "redis" in name
    )
    flagging.settings(REDIS_URL=f"redis://{listen}/0")
    fault = flagging.stack.faults.inject("refused", "v1", "redis")
    fault.prove()
    yield
    fault.heal()


@given("the ledger can no longer be reached")
def ledger_gone(flagging: Flagging) -> None:
    """Nobody listens where it should be."""
    flagging.settings(ROLLBACK_LEDGER_URL=f"postgresql://nobody@{NOWHERE}/none")


# -- when ---------------------------------------------------------------------


@given(parsers.parse("{name:w} is switched off"))
@when(parsers.parse("{name:w} is switched off"))
def switch_off(flagging: Flagging, name: str) -> None:
    """By the command, with consent."""
    flagging.switch(name)


@when(parsers.parse("{name:w} is put back"))
def put_back(flagging: Flagging, name: str) -> None:
    """By the command, with consent."""
    flagging.switch(name, "--restore")


@when("timeline would be switched off without --yes")
def without_consent(flagging: Flagging) -> None:
    """There is no terminal on which anybody could be asked."""
    flagging.run("timeline")


@when("the plan for switching timeline off is shown")
def plan_shown(flagging: Flagging) -> None:
    """Both steps, and the exit code of a plan that can be carried out."""
    flagging.run("timeline", "--plan")
    assert flagging.ran
    assert [s["target"] for s in flagging.ran.document["steps"]] == ["flags", "cdn"]


# -- then ---------------------------------------------------------------------


@then("the command ends as done")
def ends_as_done(flagging: Flagging) -> None:
    """Exit 0; a change is restored, as it was seen."""
    assert flagging.ran
    assert flagging.ran.code == 0, flagging.ran.stderr
    assert flagging.ran.document.get("outcome", "restored") == "restored"


@then(parsers.parse('the command ends with {code:d} and says "{words}"'))
def ends_with(flagging: Flagging, code: int, words: str) -> None:
    """A sentence of what is wrong and one of what to do, and no traceback."""
    assert flagging.ran
    assert flagging.ran.code == code, flagging.ran.stderr
    assert words in flagging.ran.stderr
    assert "Traceback" not in flagging.ran.stderr


@then("the command ends as not restored and names the purge")
def ends_unrestored(flagging: Flagging) -> None:
    """Exit 5; the flag is done, the purge is what failed."""
    assert flagging.ran
    assert flagging.ran.code == 5, flagging.ran.stderr
    document = flagging.ran.document
    assert document["outcome"] == "escalated"
    assert [step["status"] for step in document["steps"]] == ["done", "failed"]
    assert "the edge was not purged" in document["detail"]


@then("visitors are shown no timeline, from the next request on")
def shown_no_timeline(flagging: Flagging) -> None:
    """Neither by the feature's address nor on the page behind it."""
    assert not flagging.shown()
    page = flagging.http.get(f"{flagging.stack.addresses['edge']}/api/timeline")
    assert page.status_code == 404, page.text


@then(parsers.parse('its flag is "{state}", and "{saved}" is saved'))
def flag_is_saved(flagging: Flagging, state: str, saved: str) -> None:
    """In Redis itself, as the contract has it."""
    assert flagging.state() == state.encode()
    record: Any = flagging.redis.hget(SAVED, "timeline")
    held = json.loads(record)
    assert held["previous_state"] == saved
    assert held.keys() == {"rolled_back_at", "previous_state"}


@then(parsers.parse('the flag of timeline is "{state}"'))
def flag_is(flagging: Flagging, state: str) -> None:
    """In Redis itself."""
    assert flagging.state() == state.encode()


@then(parsers.parse("the flag of timeline holds {kind}"))
def flag_holds_again(flagging: Flagging, kind: str) -> None:
    """To the byte."""
    assert flagging.state() == STATES[kind]


@then("the edge answers as the app does")
def edge_answers_as_the_app(flagging: Flagging) -> None:
    """What it gives from its cache is what it gets past it."""
    assert flagging.shown() == flagging.shown(authorization="Bearer me")


@then("no other key of Redis has changed")
def nothing_else(flagging: Flagging) -> None:
    """One hash more: what was saved."""
    after = flagging.keys()
    assert after.keys() - flagging.before.keys() == {SAVED.encode()}
    assert {name: after[name] for name in flagging.before} == flagging.before
    assert flagging.redis.hlen(SAVED) == 1


@then("the edge keeps nowhere that timeline is on")
def kept_nowhere(flagging: Flagging) -> None:
    """By each form of it that a visitor asked for before."""
    for path, encoding in (
        (TIMELINE, "gzip, deflate"),
        (TIMELINE, "identity"),
        (f"{TIMELINE}?from=mail", "gzip"),
    ):
        assert not flagging.shown(path, **{"accept-encoding": encoding})


@then("nothing was changed, and nobody was told")
def nothing_changed(flagging: Flagging) -> None:
    """Redis, the edge, #incidents and the record are as before."""
    assert flagging.keys() == flagging.before
    assert flagging.shown()
    assert flagging.purges() == []
    assert flagging.slack() == []
    assert flagging.command.run("incidents", "list", "--json").document == []


@then(
    parsers.parse(
        "the incident of timeline is on record as {outcome:w}, and was told to "
        "#incidents"
    )
)
def on_record(flagging: Flagging, outcome: str) -> None:
    """The command finds it again; both messages have arrived."""
    assert flagging.ran
    name = flagging.ran.document["incident"]
    shown = flagging.command.run("incidents", "show", name, "--json").document
    assert (shown["outcome"], shown["reason"]) == (outcome, "it shows wrong times")
    assert shown["journal"], "its journal is empty"
    said = flagging.slack()
    assert any("Switching feature:timeline off" in text for text in said), said
    last = {"restored": "feature:timeline is disabled", "escalated": "NOT restored"}
    assert last[outcome] in said[-1]
    assert name in said[-1]


@then(parsers.parse("the purge was asked for with the answers {answers}"))
def purge_answers(flagging: Flagging, answers: str) -> None:
    """In that order, as the platform counts them."""
    assert flagging.purges() == [int(answer) for answer in answers.split(", ")]


@then("when the platform purges again, doing it again ends as done")
def heals(flagging: Flagging) -> None:
    """Nothing but the purge is left to do."""
    flagging.fault(None)
    flagging.switch("timeline")
    ends_as_done(flagging)
    assert flagging.ran
    statuses = [step["status"] for step in flagging.ran.document["steps"]]
    assert statuses == ["already", "done"]
