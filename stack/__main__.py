"""``python -m stack``: start the practice stack, print its addresses, stay until told.

Ends with everything that it started: at Ctrl-C (exit 130), at SIGTERM or SIGHUP (0),
and with ``--until-eof`` when its stdin is closed (0), however the program at the other
end came to its end. Errors exit 2.
"""

import argparse
import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from stack.backends import KINDS, Stack, StackError, start

CHECK_SECONDS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    options = _parser().parse_args(argv)
    # A shell's background jobs are started deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _leave)
    try:
        _run(options)
    except StackError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stack",
        description="Start the practice stack and stay until Ctrl-C.",
        epilog="example: python -m stack --json --port 3000",
    )
    add = parser.add_argument
    add(
        "--stack", default="embedded", metavar="KIND", help=f"one of {', '.join(KINDS)}"
    )
    add("--json", action="store_true", help="one line of JSON when ready")
    add("--port", type=int, help="the edge's port (default: a free one)")
    add("--seed", type=int, help="decides everything random (default: chosen)")
    add("--until-eof", action="store_true", help="also end when stdin is closed")
    return parser


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command's progress


def _run(options: argparse.Namespace) -> None:
    seed, port = options.seed, options.port
    with start(options.stack, seed=seed, progress=_say, edge_port=port) as stack:
        text = json.dumps(describe(stack)) if options.json else _table(stack)
        print(text, flush=True)  # noqa: T201 - a command's answer
        watched = [sys.stdin] if options.until_eof else []
        while not _ended(watched):
            stack.check()


def describe(stack: Stack) -> dict[str, Any]:
    """What ``up --json`` prints."""
    return {
        "ready_seconds": round(stack.ready_seconds, 3),
        "addresses": dict(stack.addresses),
        "deployments": dict(stack.deployments),
        "environment": dict(stack.environment),
        "deployment_urls": dict(stack.deployment_urls),
        "git_shas": dict(stack.git_shas),
        "notes": list(stack.notes),
        "seed": stack.seed,
        "stack": stack.kind,
    }


def _table(stack: Stack) -> str:
    rows = {**stack.addresses}
    for release, identity in stack.deployments.items():
        rows[release] = f"{stack.deployment_urls[release]}  {identity}"
    width = max(map(len, rows))
    lines = [f"{name:<{width}}  {value}" for name, value in rows.items()]
    settings = [f"export {name}='{value}'" for name, value in stack.environment.items()]
    ready = f"Ready in {stack.ready_seconds:.1f} s. Ctrl-C ends it."
    hint = "To point the command at it, in another terminal:"
    return "\n".join([*lines, "", hint, *settings, "", ready])


def _ended(watched: list[Any]) -> bool:
    """Wait a moment; say whether a watched stream has come to its end."""
    ready, _, _ = select.select(watched, [], [], CHECK_SECONDS)
    return any(not os.read(stream.fileno(), 4096) for stream in ready)


if __name__ == "__main__":
    sys.exit(main())
