"""Run it: `python -m bench.database [--quick] [--write docs/database-figures.md]`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic

from . import contenders
from .gigabyte import overhead
from .losses import losses
from .page import Results, page
from .server import Server
from .speed import race


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.database")
    parser.add_argument("--quick", action="store_true", help="one round, a small base")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="with the peers")
    parser.add_argument("--migrate", help="golang-migrate's program")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    given = parser.parse_args()
    began = monotonic()

    def said(what: str) -> None:
        print(f"{monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder, Server.started() as server:
        peers = contenders.find_peers(Path(folder), given.peers, given.migrate)
        rounds = 1 if given.quick else given.rounds
        share = 0.05 if given.quick else 1.0
        results = _measured(
            server, peers, Path(folder), said, rounds=rounds, share=share
        )
    text = page(results)
    print(text)
    if given.write:
        given.write.write_text(text, "utf-8")


def _measured(
    server: Server,
    peers: contenders.Peers,
    folder: Path,
    said: Callable[[str], None],
    *,
    rounds: int,
    share: float,
) -> Results:
    began, load = monotonic(), os.getloadavg()[0]
    known = partial(contenders.known, server, peers=peers)
    places = [folder / name for name in ("speed", "losses", "overhead")]
    for place in places:
        place.mkdir()
    runs = race(server, known, places[0], rounds, said)
    lost = losses(server, known(places[1]), places[1], rounds, said)
    ours, *_ = known(places[2])
    large = overhead(server, ours, rounds, said, share=share)
    return Results(
        contenders=known(folder),
        peers=peers,
        server=server.version,
        rounds=rounds,
        runs=runs,
        losses=lost,
        overheads=large,
        load=load,
        minutes=(monotonic() - began) / 60,
    )


if __name__ == "__main__":
    main()
