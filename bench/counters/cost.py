"""What counting costs a request: the drop-in for Next.js, and the reference app's own.

Each beside the same handler without it, in one run, in alternating blocks; Redis is
real and Upstash's client speaks to it through the tests' bridge. From a checkout:

    .venv/bin/python -m bench.counters.cost
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from stack.app.counters import App, Counters, Receive, Send
from stack.backends import start
from tests.integration.nextjs import compiled
from tests.integration.upstash import TOKEN, Bridge

HERE = Path(__file__).parent
BLOCKS, TIMES = 10, 2000
SCOPE = {"type": "http", "path": "/", "headers": [(b"user-agent", b"a")]}


def main() -> None:
    """Measure both and print the figures as JSON."""
    with start("embedded", seed=0, progress=lambda _: None) as stack:
        redis = stack.addresses["redis"]
        figures = {
            "nextjs": nextjs(redis),
            "reference app": asyncio.run(reference(redis)),
        }
    print(json.dumps(rounded(figures), indent=2))


def nextjs(redis: str) -> Any:
    """The drop-in, in Node."""
    node = shutil.which("node") or "node"
    with tempfile.TemporaryDirectory() as folder, Bridge(redis).running() as door:
        script = compiled(Path(folder), HERE / "nextjs_cost.ts") / "nextjs_cost.js"
        environment = os.environ | {
            "VERCEL_DEPLOYMENT_ID": "dpl_cost",
            "UPSTASH_REDIS_REST_URL": door.url,
            "UPSTASH_REDIS_REST_TOKEN": TOKEN,
        }
        done = subprocess.run(  # noqa: S603 - our own words
            [node, script],
            env=environment,
            check=True,
            capture_output=True,
            timeout=300,
        )
    return json.loads(done.stdout)


async def reference(redis: str) -> dict[str, Any]:
    """The reference app's own, around an ASGI app that answers at once."""
    counters = Counters(redis, "dpl_cost")
    counters.open()
    apps = {"bare": bare, "counted": counters.around(bare)}
    took: dict[str, list[float]] = {name: [] for name in apps}
    spent: dict[str, list[float]] = {name: [] for name in apps}
    for block in range(BLOCKS + 1):  # the first warms up
        for name, app in apps.items():
            cpu, each = await visit(app)
            if block:
                took[name] += each
                spent[name].append(cpu)
    await counters.close()
    return {
        "latency_us": {name: quantiles(each) for name, each in took.items()},
        "cpu_us": {name: statistics.median(each) for name, each in spent.items()},
    }


async def visit(app: App) -> tuple[float, list[float]]:
    """Microseconds of CPU a request, writes included, and of each answer."""
    took = []
    cpu = time.process_time()
    for _ in range(TIMES):
        begun = time.perf_counter()
        await app(dict(SCOPE), nothing, ignore)
        took.append((time.perf_counter() - begun) * 1e6)
        await asyncio.sleep(0)
    return (time.process_time() - cpu) * 1e6 / TIMES, took


def rounded(value: Any) -> Any:
    """Without the digits that say nothing."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return round(value, 1)


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, 95 % and 99 %."""
    cuts = statistics.quantiles(values, n=100)
    return {"median": cuts[49], "p95": cuts[94], "p99": cuts[98]}


async def bare(_: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer at once."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def nothing() -> MutableMapping[str, Any]:
    """A request without a body."""
    return {"type": "http.request", "body": b""}


async def ignore(_: MutableMapping[str, Any]) -> None:
    """A visitor who hears everything at once."""


if __name__ == "__main__":
    main()
