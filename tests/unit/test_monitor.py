"""A watch over many seconds: sources apart, batches, and the stable one beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from rollback.decide import Limits
from rollback.evidence import Evidence, update
from rollback.model import (
    Counts,
    Judgement,
    Observation,
    Part,
    Signal,
    SourceState,
    Verdict,
    merge,
)
from rollback.monitor import Monitor
from rollback.testing import LIMITS

GOOD = {"requests": 4, "probes": 4}


def second(number: int, **counts: int) -> Counts:
    """The counts of one second."""
    return Counts(second=number, **counts)


def look(
    number: int,
    parts: Mapping[str, Counts],
    baseline: Counts | None = None,
) -> Observation:
    """One second as several sources saw it, and the stable deployment beside it."""
    end = number + 1
    seen = tuple(Part(source=name, counts=(c,), until=end) for name, c in parts.items())
    beside = (baseline,) if baseline else ()
    return Observation(
        deployment="dpl_v2",
        since=number,
        until=end,
        counts=merge([part.counts for part in seen]),
        parts=seen,
        sources=tuple(SourceState(name=name) for name in parts),
        stable="dpl_v1" if baseline else None,
        baseline=(Part(source="probes", counts=beside, until=end),),
    )


def watch(looks: Sequence[Observation], limits: Limits = LIMITS) -> Verdict:
    """The first verdict to roll back, else the last."""
    monitor = Monitor(limits)
    for each in looks:
        verdict = monitor.take(each)
        if verdict.judgement is Judgement.ROLL_BACK:
            return verdict
    return verdict


def sources(users: Mapping[str, int], seconds: int) -> list[Observation]:
    """Probes that find all well, beside what users get."""
    return [
        look(n, {"probes": second(n, **GOOD), "redis": second(n, **users)})
        for n in range(seconds)
    ]


def test_probes_that_find_all_well_do_not_hide_failing_users() -> None:
    """Half of 2 requests a second fail beside 18 good ones: 5 % of all, and bad."""
    looks = [
        look(
            n,
            {
                "probes": second(n, requests=18, probes=4),
                "redis": second(n, requests=2, failed=1),
            },
        )
        for n in range(60)
    ]

    verdict = watch(looks)

    assert (verdict.judgement, verdict.row) == (Judgement.ROLL_BACK, "evidence")
    assert "of" in verdict.reason
    assert verdict.reason.endswith("of 3,000 needed")
    assert ", by redis)" in verdict.reason
    assert verdict.signals[0].proportion == 0.05
    assert verdict.second < 15


def test_the_literal_rule_looks_at_each_source() -> None:
    """Near 7 % of the users' requests failed, if 1 % of all did."""
    limits = replace(LIMITS, alpha=1e-9)  # evidence does not decide
    looks = [
        look(
            n,
            {
                "probes": second(n, requests=30, probes=4),
                "redis": second(n, requests=5, failed=int(n % 3 == 2)),
            },
        )
        for n in range(300)
    ]

    verdict = watch(looks, limits)

    assert (verdict.judgement, verdict.row) == (Judgement.ROLL_BACK, "threshold")
    assert "100 of 1500 requests failed" in verdict.reason
    assert ", by redis)" in verdict.reason


def test_the_literal_rule_waits_for_a_whole_window() -> None:
    """A burst in the first seconds is most of them, and nothing in five minutes."""
    limits = replace(LIMITS, alpha=1e-9)  # evidence does not decide
    looks = [
        look(n, {"probes": second(n, requests=1000, failed=300 * (2 < n < 6))})
        for n in range(400)
    ]

    assert watch(looks, limits).judgement is Judgement.WATCHING
    asked = Monitor(limits)
    short = [asked.take(each, complete=each.until == 10) for each in looks[:10]]
    assert [v.judgement for v in short[:9]] == [Judgement.WATCHING] * 9
    assert (short[9].judgement, short[9].row) == (Judgement.ROLL_BACK, "threshold")


def test_the_evidence_is_the_clearest_sources_shared_by_all() -> None:
    """Which keeps the bound however the sources hang together."""
    verdict = watch(sources({"requests": 3, "failed": 1}, 5))

    alone = [part.signals[0].evidence for part in verdict.parts]
    assert len(alone) == 2
    assert verdict.signals[0].evidence == max(alone) / 2


def test_availability_is_weighed_on_all_probes_together() -> None:
    """A second source without probes takes nothing from their evidence."""
    down = {"requests": 4, "probes": 4, "unavailable": 4}
    together = Monitor(LIMITS).take(
        look(0, {"probes": second(0, **down), "redis": second(0)})
    )
    alone = Monitor(LIMITS).take(look(0, {"probes": second(0, **down)}))

    assert together.signals[2].evidence == alone.signals[2].evidence > 0


def test_a_release_is_not_healthy_while_one_source_is_over_its_threshold() -> None:
    """The probes' good answers make up for nothing."""
    monitor = Monitor(replace(LIMITS, window_seconds=60, min_requests=10_000))
    for n in range(60):
        failed = int(n % 15 == 14)
        verdict = monitor.take(
            look(
                n,
                {
                    "probes": second(n, requests=20, probes=4),
                    "redis": second(n, requests=2, failed=2 * failed),
                },
            ),
            complete=n == 59,
        )

    assert verdict.signals[0].proportion < 0.05
    assert verdict.judgement is Judgement.INCONCLUSIVE
    assert "8 of 120 requests failed" in verdict.reason
    assert ", by redis), which is suspicious" in verdict.reason


def outage(since: int, seconds: int, total: int) -> list[Observation]:
    """One source that finds everything failing for a while."""
    looks = []
    for n in range(total):
        failed = 20 if since <= n < since + seconds else 0
        counts = second(n, requests=20, failed=failed, probes=4)
        looks.append(look(n, {"probes": counts}))
    return looks


def test_a_batch_is_weighed_when_it_is_over() -> None:
    """Five seconds are one batch: the evidence is that of their sum, once."""
    limits = replace(LIMITS, batch_seconds=5)
    monitor = Monitor(limits)
    values = [
        monitor.take(each).signals[0].evidence
        for each in outage(since=2, seconds=3, total=10)
    ]

    fresh = Evidence(0.05, horizon=360)
    first = update(fresh, 60, 100)
    assert values[:4] == [0.0] * 4
    assert values[4:9] == [first.value] * 5
    assert values[9] == update(first, 0, 100).value


def test_long_batches_outlast_bursts_of_several_seconds() -> None:
    """An outage of 9 s is proof in batches of 1 s, and none in batches of 10 s."""
    looks = outage(since=30, seconds=9, total=60)
    short = replace(LIMITS, min_requests=10_000)
    long = replace(short, batch_seconds=10)

    assert watch(looks, short).judgement is Judgement.ROLL_BACK
    assert watch(looks, long).judgement is Judgement.WATCHING


@pytest.mark.parametrize("lag", [0, 2, 19, 30])
def test_a_late_source_does_not_cut_the_batches_of_another(lag: int) -> None:
    """Nine seconds of outage stay one batch of ten, whoever else is how late."""
    limits = replace(LIMITS, min_requests=10_000, batch_seconds=10)
    looks = []
    for n in range(120):
        failed = 20 if 30 <= n < 39 else 0
        quick = second(n, requests=20, failed=failed, probes=4, unavailable=failed // 5)
        late = (second(n - lag, requests=5),) if n >= lag else ()
        seen = look(n, {"probes": quick})
        parts = (*seen.parts, Part(source="late", counts=late, until=n - lag + 1))
        counts = merge([part.counts for part in parts])
        looks.append(replace(seen, parts=parts, counts=counts))

    assert watch(looks, limits).judgement is Judgement.WATCHING


def test_a_cap_makes_proof_take_longer() -> None:
    """With a cap of 2 a second outage needs far more seconds than with 8."""
    looks = outage(since=0, seconds=60, total=60)
    capped = watch(looks, replace(LIMITS, cap=2.0))

    assert watch(looks).second < 8
    assert 10 < capped.second < 25


def test_a_strict_window_waits_for_the_windows_own_number() -> None:
    """Proof alone is not enough while less than 5 % of the window failed."""
    looks = outage(since=280, seconds=20, total=300)
    strict = watch(looks, replace(LIMITS, strict_window=True))
    usual = watch(looks)

    assert usual.row == strict.row == "evidence"
    assert usual.second == 288
    assert usual.signals[0].proportion < 0.05
    assert strict.second == 294
    assert strict.signals[0].proportion > 0.05


def beside(candidate: Mapping[str, int], stable: Mapping[str, int]) -> Verdict:
    """Both measured for a while."""
    return watch(
        [
            look(n, {"probes": second(n, **candidate)}, second(n, **stable))
            for n in range(60)
        ]
    )


FAILING = {"requests": 4, "failed": 4, "probes": 4}
SLOW = {"requests": 4, "slow": 4, "probes": 4}
BOTH = {"requests": 4, "failed": 4, "slow": 4, "probes": 4}
FAILING_AND_SLOWISH = {"requests": 10, "failed": 10, "slow": 3, "probes": 4}
DOWN = {"requests": 4, "failed": 4, "probes": 4, "unavailable": 4}


@pytest.mark.parametrize(
    ("candidate", "stable", "shared"),
    [
        (FAILING, GOOD, ()),
        (FAILING, FAILING, (Signal.ERROR_RATE,)),
        (SLOW, SLOW, (Signal.RESPONSE_TIME,)),
        (SLOW, FAILING, ()),
        (BOTH, SLOW, ()),
        (FAILING_AND_SLOWISH, FAILING, ()),  # slowness is suspected, and its own
        (BOTH, BOTH, (Signal.ERROR_RATE, Signal.RESPONSE_TIME)),
        (FAILING, {"requests": 25, "failed": 2, "probes": 4}, ()),  # far less so
        (
            FAILING,
            {"requests": 25, "failed": 15, "probes": 4},
            (Signal.ERROR_RATE,),
        ),
        (DOWN, DOWN, ()),  # what the health checks name is compared later
    ],
)
def test_what_the_stable_one_shares_must_be_all_that_is_bad(
    candidate: dict[str, int], stable: dict[str, int], shared: tuple[Signal, ...]
) -> None:
    """Going back cures what is the candidate's own, and nothing else."""
    verdict = beside(candidate, stable)

    assert verdict.judgement is Judgement.ROLL_BACK
    assert verdict.stable == "dpl_v1"
    assert verdict.shared == shared


def test_the_stable_ones_counts_are_not_the_candidates() -> None:
    """A stable release that fails makes nobody roll the candidate back."""
    verdict = beside(GOOD, FAILING)

    assert verdict.judgement is Judgement.WATCHING
    assert verdict.signals[0].bad == 0
    assert verdict.baseline[0].bad == 240
