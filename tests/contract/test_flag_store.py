"""The contract of the port `FlagStore`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from rollback.adapters.flags import RedisFlags
from rollback.adapters.memory import MemoryFlags
from rollback.errors import (
    FlagChanged,
    FlagsUnreachable,
    NothingSaved,
    RollbackError,
    UnknownFlag,
)
from rollback.ports import FlagStore
from stack.backends import Stack

from .examples import AT, later

pytestmark = [pytest.mark.anyio, pytest.mark.redis]

STATES = {
    "word": b"enabled",
    "empty": b"",
    "json": b'{"percent": 50, "for": ["a", "b"]}',
    "json-null": b"null",
    "a-quoted-word": b'"disabled"',
    "another-case": b"Disabled",
    "not-utf-8": bytes(range(256)),
    "zero-bytes": b"\x00\x00",
    "letters": "Größe 💍 \u2028".encode(),
    "escapes": b"\\u0041\r\n\t\"'",
    "looks-like-a-record": b'{"rolled_back_at": "x", "previous_state": "y"}',
    "very-long": b"x" * 1_000_000,
}


class Trial(Protocol):
    """A store, and what is really in it."""

    store: FlagStore

    def hold(self, **states: bytes) -> None:
        """Put flags in, in place of all that is there."""

    def states(self) -> Mapping[str, bytes]:
        """The flags."""

    def saved(self) -> Mapping[str, bytes]:
        """What is saved of them."""

    def save(self, name: str, record: bytes) -> None:
        """Write a record, as another program may have."""


class MemoryTrial:
    """In memory."""

    def __init__(self) -> None:
        self.double = MemoryFlags()
        self.store: FlagStore = self.double

    def hold(self, **states: bytes) -> None:
        """As the protocol."""
        self.double.states, self.double.saved = dict(states), {}

    def states(self) -> Mapping[str, bytes]:
        """As the protocol."""
        return self.double.states

    def saved(self) -> Mapping[str, bytes]:
        """As the protocol."""
        return self.double.saved

    def save(self, name: str, record: bytes) -> None:
        """As the protocol."""
        self.double.saved[name] = record


class RedisTrial:
    """In a database of its own of the practice stack's Redis."""

    def __init__(self, url: str, client: Redis) -> None:
        self.store: FlagStore = RedisFlags(url)
        self.client = client

    def hold(self, **states: bytes) -> None:
        """As the protocol."""
        self.client.flushdb()
        for name, state in states.items():
            self.client.hset("feature_flags", name, state)

    def states(self) -> Mapping[str, bytes]:
        """As the protocol."""
        return self._hash("feature_flags")

    def saved(self) -> Mapping[str, bytes]:
        """As the protocol."""
        return self._hash("feature_rollbacks")

    def save(self, name: str, record: bytes) -> None:
        """As the protocol."""
        self.client.hset("feature_rollbacks", name, record)

    def _hash(self, key: str) -> Mapping[str, bytes]:
        found: Any = self.client.hgetall(key)
        return {name.decode(): value for name, value in found.items()}


@pytest.fixture
def trial(kind: str, request: pytest.FixtureRequest) -> Iterator[Trial]:
    """A store with nothing in it."""
    if kind != "real":
        yield MemoryTrial()
        return
    stack: Stack = request.getfixturevalue("stack")
    url = own_database(stack)
    with closing(Redis.from_url(url)) as client:
        client.flushdb()
        yield RedisTrial(url, client)
        client.flushdb()


def own_database(stack: Stack) -> str:
    """A Redis database that no deployment uses."""
    scheme, _, host = stack.addresses["redis"].partition("://")
    return f"{scheme}://{host.partition('/')[0]}/7"


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
async def test_what_a_flag_held_comes_back_to_the_byte(
    trial: Trial, state: bytes
) -> None:
    """Off is `disabled`, whatever the state was; back is exactly what it was."""
    trial.hold(timeline=state, other=b"beta")

    await trial.store.disable("timeline", at=AT)

    assert trial.states() == {"timeline": b"disabled", "other": b"beta"}
    await trial.store.restore("timeline", at=later(60))
    assert trial.states() == {"timeline": state, "other": b"beta"}


async def test_what_is_saved_can_be_read_by_others(trial: Trial) -> None:
    """As the contract says: when, and the state, in one JSON text."""
    trial.hold(timeline=b"enabled")

    await trial.store.disable("timeline", at=AT)

    assert json.loads(trial.saved()["timeline"]) == {
        "rolled_back_at": "2026-11-22T03:00:00.123Z",
        "previous_state": "enabled",
    }


async def test_switching_off_twice_keeps_what_was_saved_first(trial: Trial) -> None:
    """The second time there is nothing to save, least of all `disabled`."""
    trial.hold(timeline=b"beta")
    await trial.store.disable("timeline", at=AT)
    first = trial.saved()

    await trial.store.disable("timeline", at=later(5))

    assert trial.saved() == first
    await trial.store.restore("timeline", at=later(6))
    assert trial.states() == {"timeline": b"beta"}


async def test_a_flag_that_somebody_else_switched_off_is_left(trial: Trial) -> None:
    """It is off; nothing is saved, as nobody knows what it held."""
    trial.hold(timeline=b"disabled")

    assert await trial.store.is_off("timeline")
    await trial.store.disable("timeline", at=AT)

    assert trial.saved() == {}
    with pytest.raises(NothingSaved):
        await trial.store.restore("timeline", at=AT)


async def test_putting_back_twice_is_once(trial: Trial) -> None:
    """A lost reply is no reason to be afraid of asking again."""
    trial.hold(timeline=b"enabled")
    await trial.store.disable("timeline", at=AT)
    assert not await trial.store.is_back("timeline")
    await trial.store.restore("timeline", at=later(1))
    record = trial.saved()

    assert await trial.store.is_back("timeline")
    await trial.store.restore("timeline", at=later(2))

    assert (trial.states(), trial.saved()) == ({"timeline": b"enabled"}, record)


async def test_it_can_be_switched_off_and_put_back_again_and_again(
    trial: Trial,
) -> None:
    """Each time it is the latest state that is saved."""
    for number, state in enumerate((b"enabled", b"beta", b"")):
        set_state(trial, state)
        await trial.store.disable("timeline", at=later(2 * number))
        assert await trial.store.is_off("timeline")
        await trial.store.restore("timeline", at=later(2 * number + 1))
        assert trial.states() == {"timeline": state}


def set_state(trial: Trial, state: bytes) -> None:
    """What the app itself does: another state, the records as they are."""
    saved = dict(trial.saved())
    trial.hold(timeline=state)
    for name, record in saved.items():
        trial.save(name, record)


async def test_a_state_set_after_it_was_put_back_stays(trial: Trial) -> None:
    """What was saved before has had its turn."""
    trial.hold(timeline=b"enabled")
    await trial.store.disable("timeline", at=AT)
    await trial.store.restore("timeline", at=later(1))
    set_state(trial, b"disabled")

    with pytest.raises(NothingSaved, match="has changed since"):
        await trial.store.restore("timeline", at=later(2))

    assert trial.states() == {"timeline": b"disabled"}


async def test_a_state_that_somebody_set_meanwhile_is_theirs(trial: Trial) -> None:
    """It is refused to write over it, and nothing is changed."""
    trial.hold(timeline=b"enabled")
    await trial.store.disable("timeline", at=AT)
    set_state(trial, b"beta")
    before = trial.saved()

    for ask in (trial.store.is_back("timeline"), restore(trial)):
        with pytest.raises(FlagChanged):
            await ask

    assert (trial.states(), trial.saved()) == ({"timeline": b"beta"}, before)


async def restore(trial: Trial) -> None:
    """Put it back."""
    await trial.store.restore("timeline", at=later(9))


@pytest.mark.parametrize("name", ["nope", "", "Timeline", "time\x00line", "größe"])
async def test_an_unknown_flag_is_an_error_and_no_new_one(
    trial: Trial, name: str
) -> None:
    """By all four methods; a name is what it is, to the letter."""
    trial.hold(timeline=b"enabled")
    store = trial.store

    for ask in (
        store.is_off(name),
        store.is_back(name),
        store.disable(name, at=AT),
        store.restore(name, at=AT),
    ):
        with pytest.raises(UnknownFlag):
            await ask

    assert (trial.states(), trial.saved()) == ({"timeline": b"enabled"}, {})


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"previous_state": null}',
        b'{"previous_state": {"percent": 50}}',
        b'{"previous_state": null, "previous_state_base64": "%"}',
    ],
)
async def test_what_cannot_be_put_back_exactly_is_not(
    trial: Trial, record: bytes
) -> None:
    """A record of another program, which may have read a state as JSON."""
    trial.hold(timeline=b"disabled")
    trial.save("timeline", record)

    with pytest.raises(NothingSaved):
        await trial.store.restore("timeline", at=AT)

    assert trial.states() == {"timeline": b"disabled"}
    assert trial.saved() == {"timeline": record}


async def test_looking_changes_nothing(trial: Trial) -> None:
    """Neither `is_off` nor `is_back` leaves a trace."""
    trial.hold(timeline=b"enabled")

    assert not await trial.store.is_off("timeline")
    with pytest.raises(NothingSaved):
        await trial.store.is_back("timeline")

    assert (trial.states(), trial.saved()) == ({"timeline": b"enabled"}, {})


async def test_a_store_that_is_down_says_so(kind: str) -> None:
    """By all four methods, within a few seconds, as what it is."""
    store: FlagStore
    if kind == "real":
        store = RedisFlags("redis://:hush@127.0.0.1:1", timeout_seconds=0.5)
    else:
        store = double = MemoryFlags(timeline=b"enabled")
        double.down = "no answer"
    for ask in (
        store.is_off("timeline"),
        store.is_back("timeline"),
        store.disable("timeline", at=AT),
        store.restore("timeline", at=AT),
    ):
        with pytest.raises(FlagsUnreachable) as raised:
            await ask
        assert "hush" not in raised.value.message


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    first=st.binary(max_size=64).filter(lambda state: state != b"disabled"),
    asked=st.lists(st.sampled_from(["disable", "restore", "set"]), max_size=8),
)
async def test_whatever_is_asked_the_saved_state_is_never_lost(
    trial: Trial, first: bytes, asked: list[str]
) -> None:
    """In any order of off, back and somebody's own change, back is what was last on."""
    trial.hold(timeline=first)
    last, states = first, 0
    for number, ask in enumerate(asked):
        if ask == "set":
            states += 1
            last = b"state %d" % states
            set_state(trial, last)
            continue
        try:
            await getattr(trial.store, ask)("timeline", at=later(number))
        except RollbackError:
            continue
        assert trial.states()["timeline"] == (b"disabled" if ask == "disable" else last)
