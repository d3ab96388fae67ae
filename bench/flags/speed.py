"""How soon a feature is off: in Redis, and for visitors at the edge.

`rollback flag` as its users run it, on the practice stack, beside the specification's
own three calls (read and save the state, disable it, purge) without anything around
them. Two threads look all the time, one at Redis and one at the edge; the clock starts
when the command has decided (its incident is opened), or the raw calls begin. From a
checkout:

    .venv/bin/python -m bench.flags.speed
"""

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from redis import Redis

from stack.backends import Stack, start
from steps.command import Command

ROUNDS = 15
DEADLINE_SECONDS = 60
FLAG = ("feature_flags", "timeline")
PURGE = "/v1/edge-cache/dangerously-delete-by-tags"
Way = Callable[[Stack], Mapping[str, float]]
"""Switches the feature off; tells when it began (unix time), and what it took."""


class Watcher:
    """Notes when something was first seen."""

    def __init__(self, look: Callable[[], bool]) -> None:
        self._look, self._seen = look, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._look():
                self._seen = time.time()
                return

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look until it was seen, or the deadline is over."""
        self._thread.start()
        try:
            yield
            self._thread.join(DEADLINE_SECONDS)
        finally:
            self._stop.set()

    def since(self, began: float) -> float:
        """Milliseconds from then until it was seen."""
        assert self._seen, "it was never seen"  # noqa: S101 - a figure without is none
        return (self._seen - began) * 1000


def main() -> None:
    """Measure both ways in turn and print the figures as JSON."""
    figures: dict[str, list[Mapping[str, float]]] = {"command": [], "raw calls": []}
    with start("embedded", seed=0, progress=lambda _: None) as stack:
        for _ in range(ROUNDS):
            figures["command"].append(measured(stack, command))
            figures["raw calls"].append(measured(stack, raw))
    print(json.dumps({name: summed(rows) for name, rows in figures.items()}, indent=2))


def measured(stack: Stack, way: Way) -> Mapping[str, float]:
    """One round from a fresh stack on which the edge keeps that the feature is on."""
    stack.reset(live="v2")
    address = f"{stack.addresses['edge']}/api/features/timeline"
    with (
        closing(Redis.from_url(stack.addresses["redis"])) as redis,
        httpx.Client(trust_env=False) as http,
    ):
        kept = [http.get(address) for _ in range(2)][-1]
        assert kept.headers["x-vercel-cache"] == "HIT"  # noqa: S101 - as above
        in_redis = Watcher(
            lambda: redis.hget("feature_flags", "timeline") != b"enabled"
        )
        at_edge = Watcher(lambda: not http.get(address).json()["enabled"])
        with in_redis.watching(), at_edge.watching():
            took = dict(way(stack))
    began = took.pop("began")
    return {
        "off in Redis, ms": in_redis.since(began),
        "off at the edge, ms": at_edge.since(began),
        **took,
    }


def command(stack: Stack) -> Mapping[str, float]:
    """`rollback flag`, a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        ran = Command(stack.environment, Path(folder)).run(
            "flag", "timeline", "--yes", "--json"
        )
        seconds = time.monotonic() - begun
    assert ran.code == 0, ran.stderr  # noqa: S101 - as above
    opened = datetime.fromisoformat(ran.document["opened_at"]).astimezone(UTC)
    return {"began": opened.timestamp(), "whole command, ms": seconds * 1000}


def raw(stack: Stack) -> Mapping[str, float]:
    """The specification's calls, one after the other, on open connections."""
    given = stack.environment
    with (
        closing(Redis.from_url(stack.addresses["redis"])) as redis,
        httpx.Client(
            base_url=given["VERCEL_API_URL"],
            headers={"authorization": f"Bearer {given['VERCEL_TOKEN']}"},
            trust_env=False,
        ) as http,
    ):
        redis.ping()
        began = time.time()
        redis.hset(
            "feature_rollbacks",
            "timeline",
            str(redis.hget("feature_flags", "timeline")),
        )
        redis.hset("feature_flags", "timeline", "disabled")
        http.post(
            PURGE,
            params={
                "projectIdOrName": given["VERCEL_PROJECT_ID"],
                "teamId": given["VERCEL_TEAM_ID"],
            },
            json={"tags": ["feature:timeline"], "target": "production"},
        ).raise_for_status()
    return {"began": began}


def summed(rows: list[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Median, least and most of each figure."""
    return {
        name: {
            "median": round(statistics.median(row[name] for row in rows), 1),
            "least": round(min(row[name] for row in rows), 1),
            "most": round(max(row[name] for row in rows), 1),
        }
        for name in rows[0]
    }


if __name__ == "__main__":
    main()
