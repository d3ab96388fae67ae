"""python -m stack.toxiproxy: the flags are the original's."""

import argparse
import asyncio
import logging
import secrets
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from stack.toxiproxy import address
from stack.toxiproxy.api import VERSION, app
from stack.toxiproxy.errors import ApiError
from stack.toxiproxy.proxies import Proxies

log = logging.getLogger("toxiproxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the program was called with."""

    host: str
    port: int
    config: Path | None
    seed: int


def flags(arguments: list[str]) -> Flags:
    """Read the command line.

    Raises:
        SystemExit: a flag is not known or makes no sense.

    """
    parser = argparse.ArgumentParser(prog="toxiproxy", allow_abbrev=False)
    add = parser.add_argument
    add("-host", "--host", default="localhost", help="host of the API")
    add("-port", "--port", default=8474, type=int, help="port of the API")
    add("-config", "--config", type=Path, help="JSON array of proxies to begin with")
    add(
        "-seed",
        "--seed",
        default=secrets.randbits(32),
        type=int,
        help="decides toxicity and jitter; told at the start if not given",
    )
    add("-version", "--version", action="version", version=VERSION)
    return Flags(**vars(parser.parse_args(arguments)))


async def run(given: Flags) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ApiError: the configuration names a proxy that cannot be.
        OSError: the configuration cannot be read.
        SystemExit: the API's port is taken.

    """
    proxies = Proxies(seed=given.seed)
    log.info("toxiproxy %s with seed %d", VERSION, given.seed)
    try:
        if given.config is not None:
            body = await asyncio.to_thread(given.config.read_bytes)
            _, error = await proxies.populate(body)
            if error is not None:
                raise error
        host, port = await address.resolve(address.join(given.host, given.port))
        await _serve(proxies, host, port)
    finally:
        proxies.stop()


async def _serve(proxies: Proxies, host: str, port: int) -> None:
    config = uvicorn.Config(
        app(proxies),
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        # Longer than any client here keeps an idle connection.
        timeout_keep_alive=75,
    )
    # uvicorn repeats the signal that ended it: without a handler that would kill.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    await uvicorn.Server(config).serve()


def main() -> None:
    """Run the program; ends with 1 when it cannot begin."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        asyncio.run(run(flags(sys.argv[1:])))
    except (ApiError, OSError) as error:
        sys.exit(f"toxiproxy: {error}")


if __name__ == "__main__":
    main()
