"""What only the flags in Redis have to promise: one step, and no other key."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from redis import Redis

from rollback.adapters import flags
from rollback.adapters.flags import RedisFlags
from rollback.errors import FlagsUnreachable, SettingsInvalid
from stack.backends import Stack

from .examples import AT
from .test_flag_store import own_database

pytestmark = [pytest.mark.anyio, pytest.mark.redis]


@pytest.fixture
def kind() -> str:
    """Only the real adapter."""
    return "real"


@pytest.fixture
def url(stack: Stack) -> str:
    """A Redis database that no deployment uses."""
    return own_database(stack)


@pytest.fixture
def redis(url: str) -> Iterator[Redis]:
    """The same database, directly."""
    with closing(Redis.from_url(url)) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
def store(url: str) -> RedisFlags:
    """The adapter."""
    return RedisFlags(url)


async def test_no_other_key_is_touched(store: RedisFlags, redis: Redis) -> None:
    """Everything else is there as before, with the time that it has to live."""
    redis.set("session:a", "b", ex=1000)
    redis.hset("requests:dpl_x:1", "requests", 1)
    redis.hset("feature_flags", mapping={"timeline": "enabled", "seating": "beta"})
    redis.hset("feature_rollbacks", "seating", "somebody else's")
    before = {name: redis.dump(name) for name in (b"session:a", b"requests:dpl_x:1")}

    await store.disable("timeline", at=AT)
    await store.restore("timeline", at=AT)

    keys: Any = redis.keys()
    assert sorted(keys) == sorted([*before, b"feature_flags", b"feature_rollbacks"])
    assert {name: redis.dump(name) for name in before} == before
    left: Any = redis.ttl("session:a")
    assert 0 < left <= 1000
    assert redis.hget("feature_flags", "seating") == b"beta"
    assert redis.hget("feature_rollbacks", "seating") == b"somebody else's"


@contextmanager
def meddling(change: Callable[[Redis], Any], url: str) -> Iterator[None]:
    """Something else writes without a pause."""
    stop = threading.Event()

    def run() -> None:
        with closing(Redis.from_url(url)) as client:
            while not stop.is_set():
                change(client)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def test_nobody_ever_sees_a_flag_off_without_its_saved_state(
    store: RedisFlags, redis: Redis, url: str
) -> None:
    """A reader who takes both at once finds both or neither, all the time."""
    redis.hset("feature_flags", "timeline", "enabled")
    torn: list[Any] = []
    seen: set[bytes] = set()

    def look(client: Redis) -> None:
        with client.pipeline(transaction=True) as pipe:
            pipe.hget("feature_flags", "timeline")
            pipe.hget("feature_rollbacks", "timeline")
            state, record = pipe.execute()
        held = json.loads(record) if record else {}
        off = "previous_state" in held and "restored_at" not in held
        seen.add(state)
        if off != (state == b"disabled"):
            torn.append((state, record))

    with meddling(look, url), anyio.fail_after(20):
        for _ in range(50):
            await store.disable("timeline", at=AT)
            await store.restore("timeline", at=AT)
        while len(seen) < 2:  # the reader has seen it change
            await store.disable("timeline", at=AT)
            await anyio.sleep(0.01)
            await store.restore("timeline", at=AT)
    assert torn == []


class Meddler(RedisFlags):
    """A store in which the flag changes just after it was read, so many times."""

    def __init__(self, url: str, redis: Redis, times: int) -> None:
        super().__init__(url)
        self.redis, self.left, self.number = redis, times, 0

    def meddle(self) -> None:
        """What somebody else does in that very moment."""
        if self.left:
            self.left, self.number = self.left - 1, self.number + 1
            self.redis.hset("feature_flags", "timeline", f"state {self.number}")


@pytest.fixture
def meddle(monkeypatch: pytest.MonkeyPatch) -> Callable[[Meddler], None]:
    """Let a store be meddled with between what it reads and what it writes."""
    held = flags._held

    def install(store: Meddler) -> None:
        async def read(pipe: Any, name: str) -> Any:
            found = await held(pipe, name)
            store.meddle()
            return found

        monkeypatch.setattr(flags, "_held", read)

    return install


async def test_a_state_that_changes_in_between_is_the_one_that_is_saved(
    url: str, redis: Redis, meddle: Callable[[Meddler], None]
) -> None:
    """What comes back later is the state that was really replaced."""
    redis.hset("feature_flags", "timeline", "state 0")
    store = Meddler(url, redis, times=3)
    meddle(store)

    await store.disable("timeline", at=AT)

    assert redis.hget("feature_flags", "timeline") == b"disabled"
    record: Any = redis.hget("feature_rollbacks", "timeline")
    assert json.loads(record)["previous_state"] == "state 3"


async def test_a_flag_that_never_rests_is_given_up(
    url: str, redis: Redis, meddle: Callable[[Meddler], None]
) -> None:
    """Bounded, and nothing is half done."""
    redis.hset("feature_flags", "timeline", "state 0")
    store = Meddler(url, redis, times=10_000)
    meddle(store)

    with pytest.raises(FlagsUnreachable, match="changed 50 times"):
        await store.disable("timeline", at=AT)

    assert redis.hget("feature_flags", "timeline") == b"state 50"
    assert not redis.exists("feature_rollbacks")


@pytest.mark.parametrize("key", ["feature_flags", "feature_rollbacks"])
async def test_a_key_of_another_type_is_told_and_left(
    store: RedisFlags, redis: Redis, key: str
) -> None:
    """Neither hash is written when one of them cannot be."""
    redis.hset("feature_flags", "timeline", "enabled")
    redis.delete(key)
    redis.set(key, "a text")
    before = dumped(redis)

    with pytest.raises(FlagsUnreachable, match="wrong kind of value"):
        await store.disable("timeline", at=AT)

    assert dumped(redis) == before


def dumped(redis: Redis) -> dict[Any, Any]:
    """All that there is."""
    return {name: redis.dump(name) for name in redis.scan_iter()}


async def test_a_wrong_password_is_told_without_it(redis: Redis, stack: Stack) -> None:
    """Redis' own words, and no secret in them."""
    redis.hset("feature_flags", "timeline", "enabled")
    host = own_database(stack).partition("://")[2]
    store = RedisFlags(f"redis://somebody:hush-hush@{host}")

    with pytest.raises(FlagsUnreachable) as raised:
        await store.disable("timeline", at=AT)

    assert "hush" not in str(raised.value)
    assert redis.hget("feature_flags", "timeline") == b"enabled"


def test_an_address_that_is_none_is_told_without_it() -> None:
    """Before anything is asked."""
    with pytest.raises(SettingsInvalid) as raised:
        RedisFlags("somewhere:hush@else")
    assert "hush" not in str(raised.value)


async def test_a_reply_that_is_lost_is_no_second_change(
    url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change was made, its answer was not heard: asked again, all is right."""
    redis.hset("feature_flags", "timeline", "enabled")
    made = flags._change
    lost: list[datetime] = []

    async def change(pipe: Any, how: Any, name: str, at: datetime) -> bool:
        done = await made(pipe, how, name, at)
        if len(lost) < 2:
            lost.append(datetime.now(UTC))
            raise ConnectionResetError
        return done

    monkeypatch.setattr(flags, "_change", change)

    await RedisFlags(url).disable("timeline", at=AT)

    assert len(lost) == 2
    record: Any = redis.hget("feature_rollbacks", "timeline")
    assert json.loads(record)["previous_state"] == "enabled"
