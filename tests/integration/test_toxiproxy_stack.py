"""The whole catalogue of faults, on every dependency of a real practice stack."""

from collections.abc import Iterator

import pytest

from stack.backends.embedded import EmbeddedStack
from stack.faults import CATALOGUE, Faults

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

QUICK = {"latency": {"latency": 100}, "trickle": {"rate": 20}}
"""Numbers with which a proof takes less long than with the defaults."""


@pytest.fixture(scope="module")
def handle() -> Iterator[Faults]:
    """The faults of a stack, with little patience."""
    with (
        EmbeddedStack.start(seed=7) as stack,
        Faults(stack.addresses["toxiproxy"], patience=0.3) as faults,
    ):
        yield faults


@pytest.fixture
def faults(handle: Faults) -> Iterator[Faults]:
    """The same, with none left after the test."""
    yield handle
    handle.heal_all()


@pytest.mark.parametrize(
    ("kind", "dependency"),
    [(kind.name, each) for kind in CATALOGUE for each in kind.dependencies],
)
def test_each_fault_bites_where_it_applies(
    faults: Faults, kind: str, dependency: str
) -> None:
    """Each fault is measured on each dependency of v2, and no more when healed."""
    fault = faults.inject(kind, "v2", dependency, **QUICK.get(kind, {}))
    assert fault.prove()
    fault.heal()
    assert fault.prove_healed()


@pytest.mark.parametrize("kind", ["refused", "trickle"])
def test_a_shared_outage_of_the_database(faults: Faults, kind: str) -> None:
    """A fault on PostgreSQL itself is felt by both releases."""
    fault = faults.inject(kind, "*", "postgres", **QUICK.get(kind, {}))
    proof = fault.prove().text
    assert "on v1-postgres" in proof
    assert "on v2-postgres" in proof
    fault.heal()
    assert fault.prove_healed()
