"""Run all tests in two halves side by side: most of a test is waiting.

Each half has a practice stack of its own. The first is shown as it goes, the words of
the other one come after it. The exit code is the first one's that is not 0.
"""

import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST = ("tests/acceptance", "tests/conformance", "tests/contract")


def main() -> int:
    """Run both; Ctrl-C reaches them by the terminal, and is waited out."""
    pytest = [str(Path(sys.executable).with_name("pytest"))]
    others = [f"--ignore={folder}" for folder in FIRST]
    with tempfile.TemporaryFile() as said:
        beside = subprocess.Popen(  # noqa: S603 - our own tests
            [*pytest, "-p", "no:cacheprovider", *others],
            cwd=ROOT,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        first = subprocess.Popen([*pytest, *FIRST], cwd=ROOT)  # noqa: S603 - as above
        codes = [_ended(first), _ended(beside)]
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    return next((code for code in codes if code), 0)


def _ended(half: subprocess.Popen[bytes]) -> int:
    while half.returncode is None:
        with suppress(KeyboardInterrupt):
            half.wait()
    return half.returncode


if __name__ == "__main__":
    sys.exit(main())
