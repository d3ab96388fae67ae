"""Ours and the original side by side: what a proxy without toxics costs.

In one run and in alternating blocks, so that what else the machine does falls on all
alike. From a checkout, with the original's server (README of Shopify/toxiproxy):

    ROLLBACK_TEST_TOXIPROXY=/path/to/toxiproxy-server .venv/bin/python -m bench.proxy
"""

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from tests.integration.test_toxiproxy_process import OURS, receive, running

BLOCKS = 10
ROUND_TRIPS = 500
MEGABYTES = 50
CONNECTIONS = 150
MESSAGE = b"x" * 64

Address = tuple[str, int]
Measure = Callable[[Address], list[float]]


def main() -> None:
    """Measure and print a table."""
    original = os.environ.get("ROLLBACK_TEST_TOXIPROXY")
    if original is None:
        sys.exit("ROLLBACK_TEST_TOXIPROXY names no server to compare with.")
    programs = {"ours": OURS, "original": (original,)}
    with ExitStack() as stack:
        echo, sink = stack.enter_context(far_side())
        ways: dict[str, tuple[Address, Address]] = {"direct": (echo, sink)}
        for name, program in programs.items():
            client, _ = stack.enter_context(running(program=program))
            ways[name] = (
                listening(client.create("echo", written(echo))["listen"]),
                listening(client.create("sink", written(sink))["listen"]),
            )
        echoes = {name: way[0] for name, way in ways.items()}
        sinks = {name: way[1] for name, way in ways.items()}
        show(
            latency=blocks(echoes, round_trips),
            throughput=blocks(sinks, pushed),
            connections=blocks(echoes, connections),
        )


def blocks(
    addresses: Mapping[str, Address], measure: Measure
) -> dict[str, list[float]]:
    """Measure each way in turn, and again; the first turn only warms up."""
    found: dict[str, list[float]] = {name: [] for name in addresses}
    for turn in range(BLOCKS + 1):
        for name, address in addresses.items():
            values = measure(address)
            if turn:
                found[name] += values
    return found


def round_trips(address: Address) -> list[float]:
    """Microseconds of each round trip on one connection."""
    found = []
    with opened(address) as connection:
        for _ in range(ROUND_TRIPS):
            started = time.perf_counter()
            connection.sendall(MESSAGE)
            receive(connection, len(MESSAGE))
            found.append((time.perf_counter() - started) * 1e6)
    return found


def pushed(address: Address) -> list[float]:
    """MB/s that one connection takes."""
    block = b"x" * 1_000_000
    with opened(address) as connection:
        started = time.perf_counter()
        connection.sendall((MEGABYTES * len(block)).to_bytes(8, "big"))
        for _ in range(MEGABYTES):
            connection.sendall(block)
        receive(connection, 1)
        return [MEGABYTES / (time.perf_counter() - started)]


def connections(address: Address) -> list[float]:
    """Connections a second: opened, used once, closed, one after the other."""
    started = time.perf_counter()
    for _ in range(CONNECTIONS):
        with opened(address) as connection:
            connection.sendall(MESSAGE)
            receive(connection, len(MESSAGE))
    return [CONNECTIONS / (time.perf_counter() - started)]


def opened(address: Address) -> socket.socket:
    """Open a connection that sends at once."""
    connection = socket.create_connection(address, 20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def show(
    *,
    latency: dict[str, list[float]],
    throughput: dict[str, list[float]],
    connections: dict[str, list[float]],
) -> None:
    """Print the table; what is added is what the way takes beyond the direct one."""
    rows = [
        ("added latency, median (µs)", added(latency, 50)),
        ("added latency, 95 % (µs)", added(latency, 95)),
        ("throughput, one connection (MB/s)", medians(throughput)),
        ("connections a second", medians(connections)),
    ]
    print("| | direct | ours | original | ours / original |")
    print("|---|---|---|---|---|")
    for title, values in rows:
        direct = f"{values['direct']:.0f}" if "direct" in values else "-"
        ours, original = values["ours"], values["original"]
        ratio = f"{ours / original:.2f}"
        print(f"| {title} | {direct} | {ours:.0f} | {original:.0f} | {ratio} |")


def added(latency: dict[str, list[float]], percent: int) -> dict[str, float]:
    """That percentile of each way, less the direct one's."""
    at = {
        name: statistics.quantiles(values, n=100)[percent - 1]
        for name, values in latency.items()
    }
    return {name: at[name] - at["direct"] for name in ("ours", "original")}


def medians(found: dict[str, list[float]]) -> dict[str, float]:
    """The median of the blocks."""
    return {name: statistics.median(values) for name, values in found.items()}


@contextmanager
def far_side() -> Iterator[tuple[Address, Address]]:
    """The servers behind the proxies, in a process of their own."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.proxy.far"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101 - for the type checker
        echo, sink = map(int, process.stdout.readline().split())
        yield ("127.0.0.1", echo), ("127.0.0.1", sink)
        process.stdin.close()


def written(address: Address) -> str:
    """An address as the API has it."""
    return f"{address[0]}:{address[1]}"


def listening(listen: str) -> Address:
    """The address that the API gave."""
    host, _, port = listen.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    main()
