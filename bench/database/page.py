"""The page of the figures: tables between the words of page.md."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from .contenders import Contender, Peers
from .gigabyte import Overhead
from .losses import Loss
from .speed import COUNTS, Run

__all__ = ["Results", "page"]

WORDS = Path(__file__).with_name("page.md")
BUSY = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that was measured, and where."""

    contenders: Sequence[Contender]
    peers: Peers
    server: str
    rounds: int
    runs: Sequence[Run]
    losses: Sequence[Loss]
    overheads: Sequence[Overhead]
    load: float
    minutes: float


def page(results: Results) -> str:
    """The whole page."""
    return Template(WORDS.read_text("utf-8")).substitute(
        made=_made(results),
        speed=_speed(results),
        aim=_aim(results),
        checks=_table(
            ("", "version", "what it checks"),
            ((one.name, one.version, one.checks) for one in results.contenders),
        ),
        missing="; ".join(results.peers.missing) or "nobody",
        losses=_losses(results.losses),
        overhead=_overhead(results.overheads),
    )


def _made(results: Results) -> str:
    today = datetime.now(UTC).date()
    text = (
        f"Made on {today.day} {today:%B %Y} in {results.minutes:.0f} minutes on "
        f"{os.cpu_count()} cores ({platform.machine()}; Python "
        f"{platform.python_version()}, {results.server}, which syncs nothing to disk). "
        f"Rounds: {results.rounds}; all contenders in turn in each; medians."
    )
    if results.load > BUSY:
        text += (
            f"\n\n**The machine was busy with other work while this was made (load "
            f"{results.load:.0f} at its start): the seconds are too long and uneven, "
            "so that neither they nor small differences between the contenders say "
            "much. The values lost do.**"
        )
    return text


def _speed(results: Results) -> str:
    rows = []
    for one in results.contenders:
        cells = [one.name]
        for count in COUNTS:
            runs = _of(results.runs, one.name, count)
            cells.append(_seconds(run.seconds for run in runs))
        rows.append(tuple(cells))
        if one.name == "ours":
            rows += _parts(results.runs)
    return _table(("", *(f"migrations: {count}" for count in COUNTS)), rows)


def _parts(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Ours in parts: what no peer does stands apart."""
    names = ("of it: the backup", "of it: locks, scripts, archive and checks")
    rows = [[f"&nbsp;&nbsp;{name}"] for name in names]
    rest = ["&nbsp;&nbsp;of it: the start, the plan on a copy, the incident"]
    for count in COUNTS:
        mine = [run for run in _of(runs, "ours", count) if run.parts]
        backups = [run.parts.backup for run in mine if run.parts]
        applied = [run.parts.apply for run in mine if run.parts]
        rows[0].append(_seconds(backups))
        rows[1].append(_seconds(applied))
        others = zip(mine, backups, applied, strict=True)
        rest.append(_seconds(run.seconds - b - a for run, b, a in others))
    return [tuple(row) for row in (*rows, rest)]


def _aim(results: Results) -> str:
    """Ours, without the backup, beside the fastest and by whose name."""
    rows = []
    for count in COUNTS:
        medians = {
            one.name: statistics.median(
                run.without_backup for run in _of(results.runs, one.name, count)
            )
            for one in results.contenders
            if _of(results.runs, one.name, count)
        }
        mine = medians.pop("ours", None)
        if mine is None or not medians:
            continue
        best = min(medians, key=medians.__getitem__)
        rows.append(
            (
                str(count),
                f"{mine:.2f}",
                f"{medians[best]:.2f} ({best})",
                "yes" if mine <= medians[best] else "no",
            )
        )
    return _table(("migrations", "ours, s", "the fastest, s", "no slower"), rows)


def _losses(found: Sequence[Loss]) -> str:
    rows = []
    for name in dict.fromkeys(one.contender for one in found):
        mine = [one for one in found if one.contender == name]
        shown = name if name == "ours" else f"pg_dump, then {name}"
        rows.append(
            (
                shown,
                f"{statistics.median(one.lost for one in mine):,.0f}",
                f"{statistics.median(one.written for one in mine):,.0f}",
                _seconds(one.blocked for one in mine),
            )
        )
    heads = ("", "values lost", "of values written", "longest wait of a writer, s")
    return _table(heads, rows)


def _overhead(found: Sequence[Overhead]) -> str:
    if not found:
        return "Not measured."
    names = {
        "whole": "the whole command",
        "planned": "until the backup: start, plan on a copy",
        "backup": "the backup, written and verified",
        "apply": "locks to commit",
        "stalled": "of it: while writers wait",
        "catalogues": "in that: the catalogue, twice (fingerprint, ledger)",
        "ledgers": "in that: what was written, twice (ledger)",
        "archive": "in that: the rest, which is mostly the archive",
        "plain": "beside it: the three scripts alone, in one transaction",
    }
    shown = {field.name for field in fields(Overhead)} | {"archive"}
    rows = [
        (text, _seconds(getattr(one, name) for one in found))
        for name, text in names.items()
        if name in shown
    ]
    size = statistics.median(one.bytes for one in found) / 1e9
    return _table((f"a database of {size:.2f} GB, three versions back", "s"), rows)


def _of(runs: Sequence[Run], name: str, count: int) -> list[Run]:
    return [run for run in runs if run.contender == name and run.count == count]


def _seconds(values: Iterable[float]) -> str:
    known = sorted(values)
    if not known:
        return "-"
    return f"{statistics.median(known):.2f} ({known[0]:.2f} to {known[-1]:.2f})"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
