"""The contract of the port `Keys`."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Protocol

import pytest
from redis import Redis

from rollback.adapters.caches import BATCH, RedisKeys
from rollback.adapters.memory import MemoryKeys
from rollback.errors import KeysUnreachable
from rollback.ports import Keys
from stack.backends import Stack

pytestmark = [pytest.mark.anyio, pytest.mark.redis]


class Trial(Protocol):
    """A store of keys, and what is really in it."""

    keys: Keys

    def hold(self, *names: str) -> None:
        """Put these keys in, in place of all that is there."""

    def names(self) -> set[str]:
        """The keys that are there."""


class MemoryTrial:
    """In memory."""

    def __init__(self) -> None:
        self.double = MemoryKeys()
        self.keys: Keys = self.double

    def hold(self, *names: str) -> None:
        """As the protocol."""
        self.double.held = set(names)

    def names(self) -> set[str]:
        """As the protocol."""
        return self.double.held


class RedisTrial:
    """In a database of its own of the practice stack's Redis."""

    def __init__(self, url: str, client: Redis) -> None:
        self.keys: Keys = RedisKeys(url)
        self.client = client

    def hold(self, *names: str) -> None:
        """As the protocol."""
        self.client.flushdb()
        if names:
            self.client.mset(dict.fromkeys(names, "x"))

    def names(self) -> set[str]:
        """As the protocol."""
        found: Any = self.client.keys()
        return {name.decode() for name in found}


def own_database(stack: Stack) -> str:
    """A Redis database that no deployment uses."""
    scheme, _, host = stack.addresses["redis"].partition("://")
    return f"{scheme}://{host.partition('/')[0]}/6"


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


async def test_what_begins_with_the_prefix_goes_and_nothing_else(trial: Trial) -> None:
    """A key that has the prefix in its middle, or another case, stays."""
    stays = {"feature_flags", "queue:cache:1", "Cache:1", "cach", "cache"}
    trial.hold("cache:1", "cache:", "cache:a:b", *stays)

    assert await trial.keys.count("cache:") == 3
    assert await trial.keys.remove("cache:", notice=print) == 3

    assert trial.names() == stays


@pytest.mark.parametrize("prefix", ["c*", "c?", "c[ab]", "c\\", "[", "*", "größe:"])
async def test_a_prefix_is_taken_to_the_letter(trial: Trial, prefix: str) -> None:
    """What a pattern would mean by it is left alone."""
    others = {"ca", "cab", "cb", "c", "größ:1", "{c}"}
    trial.hold(f"{prefix}1", *others)

    assert await trial.keys.count(prefix) == 1
    assert await trial.keys.remove(prefix, notice=print) == 1

    assert trial.names() == others


async def test_more_than_one_batch_goes_whole(trial: Trial) -> None:
    """Each key is counted once, however often a scan shows it."""
    many = 3 * BATCH + 7
    trial.hold(*(f"page:{number}" for number in range(many)), "pages")

    assert await trial.keys.count("page:") == many
    assert await trial.keys.remove("page:", notice=print) == many

    assert trial.names() == {"pages"}


async def test_removing_again_removes_nothing_more(trial: Trial) -> None:
    """After a kill it is simply done again."""
    trial.hold("page:1", "flag")
    await trial.keys.remove("page:", notice=print)

    assert await trial.keys.remove("page:", notice=print) == 0
    assert await trial.keys.count("page:") == 0
    assert trial.names() == {"flag"}


async def test_counting_changes_nothing(trial: Trial) -> None:
    """A plan looks, and no more."""
    trial.hold("page:1", "page:2")

    assert await trial.keys.count("page:") == 2

    assert trial.names() == {"page:1", "page:2"}


async def test_a_store_that_is_down_says_so(kind: str) -> None:
    """By both methods, as what it is, and without the password."""
    keys: Keys
    if kind == "real":
        keys = RedisKeys("redis://:hush@127.0.0.1:1", timeout_seconds=2)
    else:
        keys = double = MemoryKeys("page:1")
        double.down = "no answer"
    for ask in (keys.count("page:"), keys.remove("page:", notice=print)):
        with pytest.raises(KeysUnreachable) as raised:
            await ask
        assert "hush" not in raised.value.message
