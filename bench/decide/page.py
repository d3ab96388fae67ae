"""The figures as a page of Markdown."""

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import product
from math import isinf
from pathlib import Path
from string import Template

import numpy as np

from .aims import aims, sooner
from .figures import SEED, Delay, Fault, Healthy
from .rules import RULES
from .run import RATES, SHARES, THRESHOLDS, Results, faults

__all__ = ["page"]

Rows = Iterable[Sequence[str]]

SOONER = (
    "threshold",
    "requests/s",
    "bad",
    "fault",
    "rule",
    "its median",
    "evidence",
    "whole matrix",
    "its false rollbacks, bursty, at half the threshold",
)
TEMPLATE = Path(__file__).with_name("page.md")


def page(results: Results, *, minutes: float, image: str) -> str:
    """Everything that one run found."""
    return Template(TEMPLATE.read_text()).substitute(
        made=_made(results, minutes),
        image=image,
        aims=table(("aim", "measured", "met"), aims(results)),
        false="\n\n".join(_false(results)),
        delays="\n\n".join(_delays(results)),
        sooner=_sooner(results),
        blips=_blips(results),
        ratios=_ratios(results),
        cost=_cost(results),
    )


def table(head: Sequence[str], rows: Rows) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def share(value: float) -> str:
    """A proportion, short."""
    if value == 0:
        return "0"
    if value < 0.01:  # noqa: PLR2004  # from one per cent on, per cent are read faster
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.0%}"


def _sooner(results: Results) -> str:
    rows = list(sooner(results))
    return table(SOONER, rows) if rows else "None."


def _made(results: Results, minutes: float) -> str:
    size = results.size
    return (
        f"Made on {datetime.now(UTC):%d %B %Y} in {minutes:.0f} minutes on two "
        f"processes ({_processor()}; Python {platform.python_version()}, "
        f"numpy {np.__version__}). Seed {SEED}: the same command gives the same "
        f"figures, but for the cost. Watches a cell: {size.healthy:,} healthy ones "
        f"(evidence at the threshold: {size.evidence_at_threshold:,}), {size.faulty:,} "
        f"with a fault, {size.ratio:,} for the ratios; the clairvoyant CUSUM is "
        f"calibrated on {size.calibration:,}."
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def _false(results: Results) -> Iterable[str]:
    for threshold, clustered in product(THRESHOLDS, (0.0, 0.01, 0.05)):
        cells = [
            cell
            for rate, part in product(RATES, SHARES)
            if (cell := Healthy(threshold, rate, part, clustered)) in results.false
        ]
        how = f"correlated {clustered} within a second" if clustered else "independent"
        yield f"**Threshold {threshold:.0%}, requests {how}**"
        yield table(
            ("rule", *(f"{c.rate}/s, {c.share} of it" for c in cells)),
            (
                (name, *(_ratio_of(results.false[c][name]) for c in cells))
                for name in RULES
            ),
        )


def _ratio_of(found: tuple[int, int]) -> str:
    return share(found[0] / found[1])


def _delays(results: Results) -> Iterable[str]:
    for threshold, later in product(THRESHOLDS, (False, True)):
        cells = [
            Fault(threshold, rate, bad, later)
            for rate in RATES
            for bad in faults(threshold)
        ]
        when = "after 20 minutes" if later else "from the deploy on"
        yield f"**Threshold {threshold:.0%}, fault {when}**"
        yield table(
            ("rule", *(f"{c.rate}/s, {c.bad:.0%} bad" for c in cells)),
            ((name, *(_wait(results.delay[c][name]) for c in cells)) for name in RULES),
        )


def _wait(delay: Delay) -> str:
    said = f"{seconds(delay.median)}/{seconds(delay.most)}"
    if delay.detected < 0.995:  # noqa: PLR2004  # rounds to all of them
        said += f" ({share(delay.detected)})"
    if delay.false_before >= 0.005:  # noqa: PLR2004  # rounds to none of them
        said += f" [{share(delay.false_before)}]"
    return said


def seconds(value: float) -> str:
    """A delay; `>` when it is not within the watch."""
    return ">" if isinf(value) else f"{value:.0f}"


def _blips(results: Results) -> str:
    cells = list(results.blip)
    return table(
        (
            "rule",
            *(
                f"{c.threshold:.0%}, {c.rate}/s, {'20 min' if c.later else 'start'}"
                for c in cells
            ),
        ),
        ((name, *(share(results.blip[c][name]) for c in cells)) for name in RULES),
    )


def _ratios(results: Results) -> str:
    head = (
        "threshold",
        "requests/s",
        "bad",
        "fault",
        "ours",
        "ours as shipped",
        "clairvoyant",
        "B1",
        "B2",
        "ours / clairvoyant",
        "ours / B1",
        "ours / B2",
    )
    rows = []
    for cell, found in sorted(results.ratio.items(), key=lambda item: _order(item[0])):
        values = (
            found.ours,
            found.shared,
            found.clairvoyant,
            found.first_order,
            found.robust,
        )
        beside = (found.clairvoyant, found.first_order, found.robust)
        rows.append(
            (
                f"{cell.threshold:.0%}",
                str(cell.rate),
                f"{cell.bad:.0%}",
                "20 min" if cell.later else "start",
                *(f"{value:.1f}" for value in values),
                *(f"{found.ours / other:.2f}" for other in beside),
            )
        )
    return table(head, rows)


def _order(cell: Fault) -> tuple[float, int, float, bool]:
    return -cell.threshold, cell.rate, cell.bad, cell.later


def _cost(results: Results) -> str:
    cost = results.cost
    return table(
        ("what", "figure"),
        (
            ("one `update` of one signal", f"{cost.update_microseconds:.1f} µs"),
            (
                "one deployment: a `Monitor`, three signals, a verdict a second",
                f"{cost.one:,.0f} seconds of counts per second of CPU",
            ),
            (
                f"{cost.many:,} deployments: as many monitors in a plain loop",
                f"{cost.loop:,.1f} seconds of all of them per second of CPU",
            ),
            (
                f"{cost.many:,} deployments: their evidence alone, in numpy columns",
                f"{cost.columns:,.0f} seconds of all of them per second of CPU",
            ),
            ("the evidence of one signal", f"{cost.signal_bytes:,.0f} bytes"),
            (
                "a whole `Monitor` with its window of 300 s of counts",
                f"{cost.monitor_bytes / 1024:,.0f} KiB",
            ),
        ),
    )
