"""The edge's CDN cache: whole answers, kept apart by the deployment that gave them."""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Header = tuple[bytes, bytes]
Key = tuple[str, bytes, bytes, bytes]
"""Deployment id, host, path with query, accepted encodings."""

MAX_BODY_BYTES = 10 * 1024 * 1024
"""Longer answers are not kept: Vercel's limit."""
MAX_ENTRIES = 1000
POLICIES = (b"vercel-cdn-cache-control", b"cdn-cache-control", b"cache-control")
"""The first of these that an answer has decides."""
NOT_SHARED = re.compile(rb"\b(private|no-cache|no-store)\b")


@dataclass(slots=True, kw_only=True)
class Entry:
    """An answer that was kept, and for how many seconds it is fresh, and then stale."""

    headers: list[Header]
    body: bytes
    tags: frozenset[str]
    fresh_s: int
    stale_s: int
    invalidated: bool = False
    revalidating: bool = False
    stored: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        """Seconds since it was stored."""
        return time.monotonic() - self.stored

    @property
    def state(self) -> Literal["HIT", "STALE", "MISS"]:
        """What a request that finds it now will be told."""
        if self.invalidated:
            return "STALE"
        if self.age < self.fresh_s:
            return "HIT"
        return "STALE" if self.age < self.fresh_s + self.stale_s else "MISS"


class Cache:
    """The answers kept, by key."""

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}

    def find(self, key: Key) -> Entry | None:
        """Give the entry of this key if it may still be served."""
        entry = self.entries.get(key)
        return None if entry is None or entry.state == "MISS" else entry

    def store(self, key: Key, entry: Entry) -> None:
        """Keep it, in place of the one before; the oldest goes when there are many."""
        self.forget(key)
        self.entries[key] = entry
        if len(self.entries) > MAX_ENTRIES:
            del self.entries[next(iter(self.entries))]

    def forget(self, key: Key) -> None:
        """Drop the entry of this key, if there is one."""
        self.entries.pop(key, None)

    def invalidate(self, tags: Iterable[str], chosen: Callable[[str], bool]) -> None:
        """Mark the entries with one of the tags: served stale until fetched anew."""
        for key in self._tagged(tags, chosen):
            self.entries[key].invalidated = True

    def delete(self, tags: Iterable[str], chosen: Callable[[str], bool]) -> None:
        """Drop the entries with one of the tags, of the deployments chosen."""
        for key in self._tagged(tags, chosen):
            del self.entries[key]

    def state(self) -> list[dict[str, Any]]:
        """Give what is kept, the oldest first."""
        return [
            {
                "deployment": deployment,
                "host": host.decode("latin-1"),
                "path": path.decode("latin-1"),
                "tags": sorted(entry.tags),
                "state": entry.state,
            }
            for (deployment, host, path, _), entry in self.entries.items()
        ]

    def _tagged(self, tags: Iterable[str], chosen: Callable[[str], bool]) -> list[Key]:
        wanted = set(tags)
        return [
            key
            for key, entry in self.entries.items()
            if wanted & entry.tags and chosen(key[0])
        ]


def keepable(status: int, headers: list[Header]) -> tuple[int, int] | None:
    """Say for how many seconds an answer is fresh, and then stale; None: not kept.

    An answer that varies by more than its encoding is not kept: Vercel keeps such
    answers apart, which nothing here needs.
    """
    named = {name.lower(): value.lower() for name, value in headers}
    varies = named.get(b"vary", b"accept-encoding")
    if status != 200 or b"set-cookie" in named or varies != b"accept-encoding":  # noqa: PLR2004 - an HTTP status says itself
        return None
    name = next((policy for policy in POLICIES if policy in named), None)
    if name is None or NOT_SHARED.search(named[name]):
        return None
    return _lifetimes(name, named[name])


def tags_of(headers: list[Header]) -> frozenset[str]:
    """Read ``Vercel-Cache-Tag``: names with commas between."""
    values = [value for name, value in headers if name.lower() == b"vercel-cache-tag"]
    names = b",".join(values).decode("latin-1").split(",")
    return frozenset(name.strip() for name in names if name.strip())


def _lifetimes(name: bytes, policy: bytes) -> tuple[int, int] | None:
    fresh = _seconds(rb"s-maxage", policy)
    if fresh is None and name != b"cache-control":
        fresh = _seconds(rb"(?<!s-)max-?age", policy)
    stale = _seconds(rb"stale-while-revalidate", policy) or 0
    return (fresh, stale) if fresh else None


def _seconds(directive: bytes, policy: bytes) -> int | None:
    found = re.search(directive + rb"\s*=\s*\"?(\d+)", policy)
    return int(found[1]) if found else None
