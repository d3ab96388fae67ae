"""What Vercel says of a project: environment variables, how long builds are kept.

The traps, as observed by others on the live API:

- the list of variables shows what is encrypted as ciphertext, `decrypted` false, also
  where `decrypt` was asked for; it is other ciphertext each time, so its fingerprint
  would always have changed. Each such variable is asked for by its id.
- what is sensitive can be read by nobody, ever.
- how long builds are kept is read in days (`deploymentExpiration` of the project) and
  written in labels, at an address of its own; the project's own PATCH refuses it.
- `deploymentsToKeep` cannot be written.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import anyio

from rollback.errors import (
    NotATarget,
    PlatformDenied,
    PlatformUnreachable,
    Unreachable,
)
from rollback.model import Retention, Variable

from .vercel_api import VercelApi, accepted, read_as

__all__ = ["VercelProject"]

PRODUCTION = "production"
READABLE = ("plain", "system")
AT_ONCE = 6
DATE_AGE = timedelta(seconds=2)  # cut to seconds, and set once a second by servers
NEWEST_KEPT = 10  # "your 10 most recent production deployments will never be deleted"
LABELS = {1: "1d", 7: "1w", 30: "1m", 60: "2m", 90: "3m", 180: "6m", 365: "1y"}


class VercelProject(VercelApi):
    """The settings of one Vercel project (port `Project`)."""

    async def variables(self) -> tuple[Variable, ...]:
        """Production's environment variables, by name; values where readable."""
        path = f"/v10/projects/{quote(self._project)}/env"
        listed = read_as(_listed, accepted(await self._read(path, decrypt="true")))
        found: dict[str, Variable] = {}
        limit = anyio.CapacityLimiter(AT_ONCE)

        async def read(shown: dict[str, Any]) -> None:
            async with limit:
                name = shown["key"]
                found[name] = Variable(name=name, value=await self._value(shown))

        async with anyio.create_task_group() as group:
            for each in listed:
                group.start_soon(read, each)
        return tuple(found[name] for name in sorted(found))

    async def _value(self, shown: dict[str, Any]) -> str | None:
        """Its value; None where it cannot be read, also by this token."""
        if _readable(shown):
            return _text(shown)
        if shown["type"] != "encrypted":
            return None
        project, number = quote(self._project), quote(shown["id"])
        try:
            answer = await self._read(f"/v1/projects/{project}/env/{number}")
            one = read_as(dict, accepted(answer))
        except (Unreachable, NotATarget):
            return None
        return _text(one) if _readable(one) else None

    async def retention(self) -> Retention:
        """How long production deployments are kept."""
        return read_as(_retention, await self._project_now())

    async def clock_skew(self, now: Callable[[], datetime]) -> float:
        """How many seconds `now` is ahead of Vercel's clock, in whole seconds.

        What the answer took on its way is taken for no skew.
        """
        asked = now()
        shown = (await self._project_now()).headers.get("date", "")
        answered = now()
        try:
            there = parsedate_to_datetime(shown)
        except ValueError:
            raise PlatformUnreachable("Vercel's answer has no date.") from None
        if asked - DATE_AGE <= there <= answered:
            return 0.0
        return round((asked - there).total_seconds())

    async def keep_longer(self, *, days: int) -> None:
        """Keep production deployments for so many days, or the next longer label."""
        label = next((LABELS[d] for d in sorted(LABELS) if d >= days), "1y")
        answer = await self._ask_once(
            f"/v9/projects/{quote(self._project)}/deployment-expiration",
            {},
            json={"expirationProduction": label},
            method="PATCH",
        )
        try:
            accepted(answer)
        except NotATarget as error:
            raise PlatformDenied(
                error.message,
                mend="Set Deployment Retention in the project's settings by hand; "
                "some plans allow a month at most.",
            ) from error


def _listed(body: Any) -> list[dict[str, Any]]:
    """Those of production; what comes without a target goes nowhere."""
    return [each for each in body["envs"] if _in_production(each.get("target"))]


def _in_production(target: Any) -> bool:
    return target == PRODUCTION or (isinstance(target, list) and PRODUCTION in target)


def _readable(shown: dict[str, Any]) -> bool:
    return shown.get("decrypted") is True or shown["type"] in READABLE


def _text(shown: dict[str, Any]) -> str | None:
    value = shown.get("value")
    return value if isinstance(value, str) else None


def _retention(body: Any) -> Retention:
    kept = body.get("deploymentExpiration") or {}
    days = kept.get("expirationDaysProduction")
    newest = kept.get("deploymentsToKeep")
    return Retention(
        days=None if days is None else int(days),
        kept=NEWEST_KEPT if newest is None else int(newest),
    )
