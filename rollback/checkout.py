"""The commands that need a checkout: the practice stack and the drill.

They run as child processes, known by addresses and JSON; nothing of theirs is imported.
"""

import os
import sys
import time
from pathlib import Path

import click

from .shell import INTERRUPTED, child, require_checkout

__all__ = ["drill", "up"]

SCENARIOS = "tests/acceptance"  # the other tests need not even be read
# The story is what is shown; pytest itself is heard only where something fails.
QUIETLY = (
    "-q",
    "-s",
    "--no-header",
    "--tb=short",
    "-o",
    "console_output_style=classic",
)


@click.command("up")
@click.option("--stack", default="embedded", show_default=True)
@click.option(
    "--port", type=int, help="Of the production address; default: a free one."
)
@click.option("--seed", type=int, default=0)
@click.option("--json", "as_json", is_flag=True, help="One line when ready.")
def up(stack: str, port: int | None, seed: int, *, as_json: bool) -> None:
    """Start the practice stack and stay until Ctrl-C.

    Example: rollback up --port 3000
    """
    arguments = ["-m", "stack", "--stack", stack, "--seed", str(seed)]
    arguments += ["--port", str(port)] if port is not None else []
    arguments += ["--json"] if as_json else []
    require_checkout()
    # No process of ours stays in between: what ends the stack's runner ends the stack.
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - no shell


@click.command("drill")
@click.option("--stack", default="embedded", show_default=True)
@click.option("-k", "expression", help="Only scenarios that match, as pytest's -k.")
@click.option("--seed", type=int, default=0)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
)
@click.option("--json", "as_json", is_flag=True, help="drill.json on stdout.")
def drill(
    stack: str, expression: str | None, seed: int, report: Path, *, as_json: bool
) -> None:
    """Break the practice stack, roll it back, and write a report.

    Example: rollback drill -k stripe --report /tmp/drill
    """
    arguments = ["-m", "pytest", SCENARIOS, *QUIETLY, "-m", "drill", "--drill"]
    arguments += ["--stack", stack]
    # Written with "=": pytest would take a folder that stands alone for its root.
    arguments += [f"--seed={seed}", f"--report={report}"]
    arguments += ["-k", expression] if expression else []
    require_checkout()
    began = time.time()
    code = child(arguments, people_to_stderr=as_json)
    written = report / "drill.json"
    if as_json and written.is_file() and written.stat().st_mtime >= began:
        click.echo(written.read_text(), nl=False)
    sys.exit({0: 0, 1: 1, 2: INTERRUPTED}.get(code, 2))
