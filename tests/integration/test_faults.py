"""Faults are put on routes, seen to bite, taken away and seen to be gone."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path

import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis
from redis import TimeoutError as RedisTimeoutError
from redis.backoff import NoBackoff
from redis.retry import Retry

from stack.backends import redis as redis_server
from stack.faults import (
    CATALOGUE,
    Faults,
    ToxiproxyError,
    UnknownFault,
)
from stack.toxiproxy.client.api import Client
from stack.toxiproxy.client.ping import REDIS, ping
from tests.integration.test_toxiproxy_process import (
    free_port,
    running,
    until,
)

pytestmark = pytest.mark.chaos

PATIENCE_S = 0.5
KINDS = [kind.name for kind in CATALOGUE]
QUICK = {"latency": {"latency": 200}, "trickle": {"rate": 10}}
"""Numbers with which a proof takes less long than with the defaults."""


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis server; gives its address."""
    port = free_port()
    argv, _ = redis_server.find(port, folder)
    address = ("127.0.0.1", port)
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:  # noqa: S603  # found, not given
        try:
            until(
                lambda: ping(address, REDIS, timeout=1).outcome == "answered",
                "Redis answers",
            )
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A fault proxy with both releases' routes to a Redis and to an HTTP server."""
    with (
        redis(tmp_path_factory.mktemp("redis")) as address,
        running() as (client, _),
    ):
        for release in ("v1", "v2"):
            client.create(f"{release}-redis", address)
            # Its own API is as good an HTTP server as any.
            client.create(f"{release}-stripe", client.url.netloc.decode())
        yield client


@pytest.fixture(scope="module")
def handle(client: Client) -> Iterator[Faults]:
    """The faults of that proxy."""
    with Faults(str(client.url), patience=PATIENCE_S) as faults:
        yield faults


@pytest.fixture
def faults(handle: Faults) -> Iterator[Faults]:
    """The same, with none left after the test."""
    yield handle
    handle.heal_all()


def redis_through(client: Client, route: str) -> Redis:
    """The vendor's own client on a route; it does not try again by itself."""
    port = int(client.proxy(route)["listen"].rpartition(":")[2])
    return Redis(port=port, socket_timeout=2, retry=Retry(NoBackoff(), 0))


@pytest.mark.parametrize("dependency", ["redis", "stripe"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_bites_and_heals(faults: Faults, kind: str, dependency: str) -> None:
    """Each of the catalogue is measured on its route, and no more after its healing."""
    fault = faults.inject(kind, "v2", dependency, **QUICK.get(kind, {}))
    assert faults.active == (fault,)
    assert fault.prove().text == fault.proof
    assert f"ping on v2-{dependency} " in fault.proof
    fault.heal()
    assert not faults.active
    assert "ping on v2-" in fault.prove_healed().text


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("latency", r"took [2-9]\d\d ms"),
        ("refused", r"was refused"),
        ("black_hole", r"got nothing within [5-9]\d\d ms"),
        ("lost_reply", r"got nothing within [5-9]\d\d ms"),
        ("reset", r"was reset after .* ms"),
        ("cut_reply", r"was cut off after .* ms"),
        ("trickle", r"took \d{3,4} ms"),
    ],
)
def test_proof_is_a_sentence_with_numbers(faults: Faults, kind: str, told: str) -> None:
    """The proof says what a ping met, and how long one took before."""
    fault = faults.inject(kind, "v2", "redis", **QUICK.get(kind, {}))
    pattern = rf"a Redis ping on v2-redis {told}; it took \d+\.?\d* ms before"
    assert re.fullmatch(pattern, fault.prove().text)


def test_times_are_utc_and_in_order(faults: Faults) -> None:
    """Injected, proved and healed have a time each, in UTC and in this order."""
    fault = faults.inject("refused", "v2", "redis")
    assert (fault.kind, fault.route) == ("refused", "v2-redis")
    assert (fault.proved_at, fault.healed_at) == (None, None)
    proved, healed, well = fault.prove(), fault.heal(), fault.prove_healed()
    assert fault.injected_at is not None
    assert (fault.proved_at, fault.healed_at) == (proved.at, healed.at)
    assert fault.injected_at < proved.at < healed.at < well.at
    assert {at.tzinfo for at in (fault.injected_at, healed.at, well.at)} == {UTC}


def test_the_other_release_is_spared(client: Client, faults: Faults) -> None:
    """A fault on v2's route leaves v1's as it was."""
    faults.inject("refused", "v2", "redis")
    with redis_through(client, "v1-redis") as v1:
        assert v1.ping()
    with redis_through(client, "v2-redis") as v2, pytest.raises(RedisConnectionError):
        v2.ping()


def test_star_is_every_release(faults: Faults) -> None:
    """A fault on the dependency itself is proved on each release's route."""
    fault = faults.inject("refused", "*", "redis")
    assert fault.route == "*-redis"
    proof = fault.prove().text
    assert "on v1-redis was refused" in proof
    assert "on v2-redis was refused" in proof
    fault.heal()
    well = fault.prove_healed().text
    assert "on v1-redis took" in well
    assert "on v2-redis took" in well


def test_an_open_connection_is_reset(client: Client, faults: Faults) -> None:
    """The vendor's client on a connection of its pool feels a reset, and its end."""
    with redis_through(client, "v2-redis") as v2:
        assert v2.ping()
        fault = faults.inject("reset", "v2", "redis")
        with pytest.raises(RedisConnectionError, match="reset by peer"):
            v2.ping()
        fault.heal()
        assert v2.ping()


def test_a_lost_reply_was_carried_out(client: Client, faults: Faults) -> None:
    """Under a lost reply the command is done though nobody hears of it."""
    with (
        redis_through(client, "v2-redis") as v2,
        redis_through(client, "v1-redis") as v1,
    ):
        assert v2.ping()
        fault = faults.inject("lost_reply", "v2", "redis")
        with pytest.raises(RedisTimeoutError):
            v2.set("told", "nobody")
        fault.heal()
        assert v1.get("told") == b"nobody"


def test_jitter_is_proved(faults: Faults) -> None:
    """A latency with jitter as large as itself is seen in one of a few pings."""
    fault = faults.inject("latency", "v2", "redis", latency=100, jitter=100)
    assert fault.prove()


def test_heal_again_changes_nothing(client: Client, faults: Faults) -> None:
    """Healing is done once, also after somebody else has reset the proxy."""
    fault = faults.inject("latency", "v2", "redis")
    client.reset()
    first = fault.heal()
    assert fault.heal() == first
    assert fault.prove_healed()


def test_heal_takes_away_its_own_alone(client: Client, faults: Faults) -> None:
    """Of two faults of one kind on a route, the other stays."""
    one = faults.inject("latency", "v2", "redis", latency=100)
    other = faults.inject("latency", "v2", "redis", latency=200)
    one.heal()
    left = client.proxy("v2-redis")["toxics"]
    assert [toxic["attributes"]["latency"] for toxic in left] == [200]
    assert faults.active == (other,)


def test_heal_all(faults: Faults) -> None:
    """Every fault is gone at once, and says when."""
    several = [
        faults.inject("refused", "v1", "redis"),
        faults.inject("black_hole", "v2", "redis"),
        faults.inject("latency", "*", "stripe"),
    ]
    assert faults.active == tuple(several)
    faults.heal_all()
    assert faults.active == ()
    for fault in several:
        assert fault.healed_at is not None
        assert fault.prove_healed()


def test_leaving_the_block_heals(client: Client) -> None:
    """At the end of a with block nothing is left."""
    with Faults(str(client.url)) as faults:
        faults.inject("latency", "v2", "redis")
        faults.inject("refused", "v1", "redis")
    proxies = client.proxies().values()
    assert all(proxy["enabled"] and not proxy["toxics"] for proxy in proxies)


def test_a_refused_injection_leaves_nothing(client: Client, faults: Faults) -> None:
    """A fault that the proxy does not take is not active, on no route."""
    with pytest.raises(ToxiproxyError, match="cannot unmarshal"):
        faults.inject("trickle", "*", "redis", rate=10**20)
    assert faults.active == ()
    assert not any(proxy["toxics"] for proxy in client.proxies().values())


@pytest.mark.parametrize(
    ("wanted", "parameters", "told"),
    [
        ("plague v2 redis", {}, "no fault plague; there are latency, "),
        ("latency v2 fax", {}, "latency does not apply to fax"),
        ("latency v3 redis", {}, "no route v3-redis; there are v1-redis, "),
        ("latency * edge", {}, r"no route \*-edge; there are "),
        ("latency v2 redis", {"rate": 1}, "latency has no parameter rate"),
        ("latency v2 redis", {"jitter": -1}, "jitter must not be negative: -1"),
    ],
)
def test_unknown_faults(
    faults: Faults, wanted: str, parameters: dict[str, int], told: str
) -> None:
    """What the catalogue or the proxy does not have is said, with what there is."""
    kind, release, dependency = wanted.split()
    with pytest.raises(UnknownFault, match=told):
        faults.inject(kind, release, dependency, **parameters)
    assert faults.active == ()


def test_a_proxy_that_is_away() -> None:
    """Without a fault proxy there are no faults, and the error says where it was."""
    url = f"http://127.0.0.1:{free_port()}"
    with (
        Faults(url) as faults,
        pytest.raises(ToxiproxyError, match=f"{url} cannot be reached"),
    ):
        faults.inject("latency", "v2", "redis")


def test_catalogue_is_whole() -> None:
    """Each entry has a name of its own, says what it does and works by default."""
    assert len(set(KINDS)) == len(CATALOGUE)
    for kind in CATALOGUE:
        assert kind.does
        assert all(parameter.unit for parameter in kind.parameters)
        assert kind.effect(**{one.name: one.default for one in kind.parameters})
