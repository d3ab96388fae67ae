"""Seconds until traffic has moved: ours, the raw call, and Vercel's own command.

All against the same stand-in, one after the other in each round, so that a busy moment
of the machine hits all of them. Run: python -m bench.platform --write docs/vercel.md
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stack.backends import start

from . import contenders
from .page import table, written
from .race import Race, Run


def main() -> None:
    """Run the rounds, print the table, and write it where that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", type=Path, help="page that has the table's marks")
    parser.add_argument("--vercel", type=Path, help="the command, where it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, start("embedded", seed=5) as stack:
        known, missing = contenders.known(stack, Path(folder), given.vercel)
        with Race(stack) as race:
            runs = _rounds(race, known, given.rounds)
    text = table(runs, given.rounds, missing)
    print(text)
    if given.write:
        page = given.write.read_text("utf-8")
        given.write.write_text(written(page, text), "utf-8")


def _rounds(
    race: Race, known: Sequence[contenders.Contender], rounds: int
) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {each.name: [] for each in known}
    for number in range(rounds):
        for each in known:
            run = race.run(each)
            runs[each.name].append(run)
            print(f"round {number + 1}: {each.name}: {run.moved:.2f} s", flush=True)
    for name, done in runs.items():
        print(f"{name}: median {statistics.median(run.moved for run in done):.2f} s")
    return runs


if __name__ == "__main__":
    main()
