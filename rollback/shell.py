"""What every command has in common: settings, errors, signals, confirmation."""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import anyio
import click

from .errors import NotACheckout, NotConfirmed, RollbackError
from .model import Outcome
from .render import Screen
from .settings import Settings

__all__ = [
    "BY_OUTCOME",
    "INTERRUPTED",
    "Commands",
    "Duration",
    "child",
    "command",
    "complain",
    "confirm",
    "require_checkout",
    "require_terminal",
]

LONGEST_WINDOW = 86_400.0  # a day
AT_3_AM = ("run", "stable", "incidents")
INTERRUPTED = 130
BY_OUTCOME = {
    Outcome.RESTORED: 0,
    Outcome.NOTHING_TO_DO: 0,
    Outcome.REFUSED: 4,
    Outcome.ESCALATED: 5,
}


class Duration(click.ParamType[float]):
    """Seconds, also written as `90s`, `5m` or `1h`."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Parse; fails with what is wrong."""
        if isinstance(value, float):
            return value
        units = {"s": 1, "m": 60, "h": 3600}
        number, unit = (value[:-1], value[-1]) if value[-1:] in units else (value, "s")
        try:
            seconds = float(number) * units[unit]
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= LONGEST_WINDOW:
            self.fail(f"{value!r} is no duration: write 90s, 5m or 1h.", param, ctx)
        return seconds


class Commands(click.Group):
    """Lists the commands for 3 a.m. first."""

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Two sections instead of one."""
        rest = [name for name in self.list_commands(ctx) if name not in AT_3_AM]
        for title, names in (("At 3 a.m.", AT_3_AM), ("Every day", rest)):
            rows = [(n, self.commands[n].get_short_help_str(60)) for n in names]
            with formatter.section(title):
                formatter.write_dl(rows)


Work = Callable[..., Awaitable[int]]


def command(group: click.Group, name: str, **options: Any) -> Callable[[Work], Any]:
    """A command of `group`: an async function that gets settings, screen and its own.

    It returns the exit code; a `RollbackError` becomes two sentences and its own.
    """

    def register(work: Work) -> Any:
        @group.command(name, **options)
        @click.option("--json", "as_json", is_flag=True, help="One JSON document.")
        @click.option(
            "--config", type=click.Path(path_type=Path), help="Default: rollback.toml."
        )
        @click.option("--environment", help="production or staging.")
        @click.option("-v", "verbose", is_flag=True, help="Tracebacks of errors.")
        @wraps(work)
        def run(
            as_json: bool,
            config: Path | None,
            environment: str | None,
            verbose: bool,
            **arguments: Any,
        ) -> None:
            flags = {"environment": environment} if environment else {}
            screen = Screen(as_json=as_json)
            _listen_to_signals()
            try:
                settings = Settings.load(config, **flags)
                code = anyio.run(partial(work, settings, screen, **arguments))
            except KeyboardInterrupt:
                screen.say("interrupted", "yellow")
                code = INTERRUPTED
            except Exception as raised:  # noqa: BLE001 - a person gets a sentence
                error = _as_ours(raised)
                if verbose:
                    traceback.print_exception(raised)
                screen.data({"error": {"message": error.message, "mend": error.mend}})
                code = complain(error)
            sys.exit(code)

        return run

    return register


def _listen_to_signals() -> None:
    """A cancelled job and a lost terminal are Ctrl-C too."""

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)


def _as_ours(error: BaseException) -> RollbackError:
    """The first error of ours in what was raised; anything else is our mistake."""
    if isinstance(error, RollbackError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return _as_ours(error.exceptions[0])
    return RollbackError(f"Something went wrong that should not: {error!r}.")


def complain(error: RollbackError) -> int:
    """Two sentences for people; the exit code."""
    click.echo(f"{error.message}\n{error.mend}", err=True)
    return error.exit_code


def require_terminal() -> None:
    """Refuse (`NotConfirmed`) where nobody can be asked."""
    if not sys.stdin.isatty():
        raise NotConfirmed


async def confirm(question: str) -> None:
    """Ask without blocking, so that Ctrl-C is heard; anything but yes is no."""
    click.echo(f"{question} [y/N]: ", err=True, nl=False)
    await anyio.wait_readable(sys.stdin)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmed


def require_checkout() -> None:
    """End the command where the practice stack is not at hand."""
    if not Path("stack/__main__.py").is_file() or not Path("features").is_dir():
        sys.exit(complain(NotACheckout()))


def child(arguments: list[str], *, people_to_stderr: bool) -> int:
    """Run Python and give its exit code; it ends when we do, however that happens."""
    with subprocess.Popen(  # noqa: S603 - our own modules, no shell
        [sys.executable, *arguments, "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=sys.stderr if people_to_stderr else None,
    ) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # the terminal has told the child too, and it cleans up
