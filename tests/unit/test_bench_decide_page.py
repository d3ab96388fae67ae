"""What the page of `bench/decide` claims follows from what was measured."""

from bench.decide.aims import aims, sooner
from bench.decide.cost import Cost
from bench.decide.figures import EVIDENCE, Delay, Fault, Healthy
from bench.decide.ratios import Ratio
from bench.decide.rules import RULES
from bench.decide.run import QUICK, Results


def test_the_page_says_which_aim_was_missed() -> None:
    """It would not call a false rollback in a hundred, or a slow verdict, met."""
    quick, slow = Delay(5, 5, 1, 0), Delay(5, 7, 1, 0)
    start, later = (Fault(0.05, 1, 1.0, later) for later in (False, True))
    results = Results(
        size=QUICK,
        false={Healthy(0.05, 1, 1.0, 0.0): {EVIDENCE: (10, 1000)}},
        delay={start: {EVIDENCE: slow}, later: {EVIDENCE: quick}},
        blip={start: {EVIDENCE: 0.0}},
        ratio={start: Ratio(14, 15, 10, 1, 1), later: Ratio(14, 15, 10, 1, 1)},
        cost=Cost(7.0, 1, 1, 1, 1, 1, 1),
    )

    assert [met for _, _, met in aims(results)] == [
        "**no**",
        "**no**",
        "yes",
        "yes",
        "**no**",
        "yes",
        "yes",
    ]


def test_a_peer_that_was_sooner_is_named() -> None:
    """With what it does to healthy watches in bursts; one that is careless is not."""
    cell = Fault(0.05, 10, 0.1, later=False)
    rules = dict.fromkeys(RULES, Delay(50, 60, 1, 0))
    sooner_ones = {"literal, every 10 s": Delay(10, 20, 1, 0)}
    careless = {"Argo's, failureLimit 0": Delay(20, 20, 1, 0)}
    false = dict.fromkeys(RULES, (0, 1000)) | {"Argo's, failureLimit 0": (2, 1000)}
    results = Results(
        size=QUICK,
        false={
            Healthy(0.05, 10, 0.5, 0.0): false,
            Healthy(0.05, 10, 0.5, 0.05): dict.fromkeys(RULES, (40, 1000)),
        },
        delay={cell: rules | sooner_ones | careless},
        blip={},
        ratio={},
        cost=Cost(7.0, 1, 1, 1, 1, 1, 1),
    )

    (row,) = sooner(results)

    assert row[4:] == ("literal, every 10 s", "10 s", "50 s", "50 s", "4.00%")
