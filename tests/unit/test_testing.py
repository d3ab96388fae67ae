"""What other projects' tests import does what it says."""

import textwrap
from collections.abc import Callable

import anyio
import pytest

from rollback import testing
from rollback.model import Counts
from rollback.testing import (
    Traffic,
    World,
    bursty,
    down,
    silent,
    simulate,
    spread,
    steady,
    switched,
)


def played(traffic: Traffic, seconds: int) -> list[Counts]:
    """What happens in so many seconds."""
    return [counts for second in range(seconds) if (counts := traffic(second))]


def total(traffic: Traffic, seconds: int) -> Counts:
    """All of it together."""
    return sum(played(traffic, seconds), start=Counts(second=0))


def test_the_example_of_the_module_runs() -> None:
    """What people copy works as it stands."""
    assert testing.__doc__
    example = testing.__doc__.partition("\n    from ")[2].partition("\nA `Traffic`")[0]
    names: dict[str, Callable[[], None]] = {}

    exec(textwrap.dedent(f"    from {example}"), names)  # noqa: S102 - our own text
    names["test_an_outage_is_undone"]()


@pytest.mark.parametrize("bad", [0, 1, 299, 300, 301])
def test_what_is_spread_adds_up_and_is_worst_at_the_end(bad: int) -> None:
    """To the last request; then there is nothing."""
    traffic = spread(300, requests=6000, probes=601, failed=bad)

    assert total(traffic, 400) == Counts(
        second=299, requests=6000, probes=601, failed=bad
    )
    shares = [total(traffic, end) for end in range(1, 300)]
    assert all(early.failed * 6000 <= bad * early.requests for early in shares)
    assert shares[-1].failed < bad or not bad


def test_bursts_are_the_same_for_the_same_seed() -> None:
    """So that a failure can be looked into; other seeds have others."""
    assert played(bursty(1), 300) == played(bursty(1), 300)
    assert played(bursty(1), 300) != played(bursty(2), 300)


@pytest.mark.parametrize("seed", range(20))
def test_bursts_are_rare_and_hard(seed: int) -> None:
    """Far below the limit on the whole; half of the requests in their second."""
    seconds = played(bursty(seed), 1800)
    requests = sum(counts.requests for counts in seconds)

    assert 0.001 < sum(counts.failed for counts in seconds) / requests < 0.02
    assert max(counts.failed / counts.requests for counts in seconds) > 0.4


def test_what_changes_does_so_at_its_second() -> None:
    """The first second is in, the last one is not."""
    usual = steady(requests=4, probes=2)
    out = down(usual, 3, 5)
    gone = silent(usual, 3, 5)
    more = switched(3, usual, steady(requests=8))

    failed = [(c.failed, c.unavailable) for c in played(out, 6)]
    assert failed == [(0, 0)] * 3 + [(4, 2)] * 2 + [(0, 0)]
    assert [c.second for c in played(gone, 6)] == [0, 1, 2, 5]
    assert [c.requests for c in played(more, 5)] == [4, 4, 4, 8, 8]


def test_both_releases_are_measured() -> None:
    """What is live by its visitors, the one before it by probes alone."""

    async def scene(world: World) -> list[Counts]:
        now = int(world.clock.now().timestamp())
        await anyio.sleep(10.5)
        return [
            (await world.source.counts(d, since=now, until=now + 60))[-1]
            for d in (world.deployment("v2"), world.deployment("v1"))
        ]

    live, stable = simulate(scene)

    assert (live.requests, live.probes) == (10, 2)
    assert (stable.requests, stable.probes) == (2, 2)
    assert live.second == stable.second
