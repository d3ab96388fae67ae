"""Run the measurement: `python -m bench.decide [--quick] [--write docs/NAME.md]`."""

import argparse
import sys
from pathlib import Path
from time import monotonic, process_time

from .page import page
from .plot import plot
from .run import FULL, QUICK, run


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.decide", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute, coarse")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="a page, its plot")
    asked = parser.parse_args()
    began = monotonic()

    def said(what: str) -> None:
        print(f"{monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    results = run(QUICK if asked.quick else FULL, said)
    said(f"done, {process_time():.0f} s of CPU in this process")
    where = asked.write or Path("deciding-figures.md")
    image = where.with_suffix(".svg")
    text = page(results, minutes=(monotonic() - began) / 60, image=image.name)
    if asked.write:
        plot(results, image)
        asked.write.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
