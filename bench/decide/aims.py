"""What was aimed for and whether it was met; and who was sooner than ours, honestly."""

from collections.abc import Iterable, Sequence
from math import isfinite

from .figures import EVIDENCE, MATRIX, Fault
from .rules import ALPHA, RULES
from .run import Results

__all__ = ["aims", "sooner"]


def aims(results: Results) -> Iterable[Sequence[str]]:
    """One row for each aim: what, measured, met or not."""
    false = max(bad / of for bad, of in (f[EVIDENCE] for f in results.false.values()))
    yield _aim("false rollbacks of the evidence, worst cell", false, ALPHA, ".1e")
    for later, limit in ((False, 6), (True, 10)):
        worst = max(
            found[EVIDENCE].most
            for cell, found in results.delay.items()
            if cell.later is later and cell.bad == 1
        )
        what = f"total outage {_when(later)}, 95 % of watches, worst cell, seconds"
        yield _aim(what, worst, limit, ".0f")
    blip = max(found[EVIDENCE] for found in results.blip.values())
    yield _aim("rolled back for a blip of 3 s, worst cell", blip, ALPHA, ".1e")
    for later, most in ((False, 1.3), (True, 2.0)):
        cells = [
            found
            for cell, found in results.ratio.items()
            if cell.later is later and cell.rate == 1
        ]
        worst = max(found.ours / found.clairvoyant for found in cells)
        as_shipped = max(found.shared / found.clairvoyant for found in cells)
        what = f"mean delay / clairvoyant at 1 request/s, {_when(later)}, worst cell"
        yield _aim(what, worst, most, ".2f", f" (at 3/alpha: {as_shipped:.2f})")
    yield _aim("one update, µs of CPU", results.cost.update_microseconds, 20, ".1f")


def _aim(
    what: str, measured: float, limit: float, form: str, also: str = ""
) -> Sequence[str]:
    met = "yes" if measured <= limit else "**no**"
    return f"{what}: at most {limit:g}", f"{measured:{form}}{also}", met


def _when(later: bool) -> str:
    return "after 20 minutes" if later else "from the deploy on"


def sooner(results: Results) -> Iterable[Sequence[str]]:
    """Each peer with few false rollbacks that had the verdict before our evidence."""
    for cell, found in results.delay.items():
        ours = found[EVIDENCE].median
        for name in RULES:
            theirs = found[name].median
            if not _peer(name) or theirs >= ours:
                continue
            if _false(results, cell, name, bursty=False) > ALPHA:
                continue
            yield (
                f"{cell.threshold:.0%}",
                str(cell.rate),
                f"{cell.bad:.0%}",
                "20 min" if cell.later else "start",
                name,
                f"{theirs:.0f} s",
                *(_seconds(found[mine].median) for mine in (EVIDENCE, MATRIX)),
                f"{_false(results, cell, name, bursty=True):.2%}",
            )


def _peer(name: str) -> bool:
    return not name.startswith("ours")


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if isfinite(value) else "not in the watch"


def _false(results: Results, cell: Fault, name: str, *, bursty: bool) -> float:
    """The worst share of false rollbacks up to half the threshold."""
    return max(
        (
            found[name][0] / found[name][1]
            for healthy, found in results.false.items()
            if (healthy.threshold, healthy.rate) == (cell.threshold, cell.rate)
            and healthy.share < 1
            and (healthy.clustered > 0) is bursty
        ),
        default=0.0,
    )
