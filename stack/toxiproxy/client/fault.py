"""One fault: put on its routes, seen to bite, taken away, seen to be gone."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from stack.toxiproxy.client.api import ToxiproxyError
from stack.toxiproxy.client.effects import Effect
from stack.toxiproxy.client.ping import Ping
from stack.toxiproxy.client.route import Route

_PAUSE_SECONDS = 0.05
"""Between two looks at whether a route is well again."""


class FaultError(Exception):
    """Something is wrong with a fault."""


class FaultDidNotBite(FaultError):
    """The fault is in place, and the route is as if it were not."""


class FaultNotHealed(FaultError):
    """The fault was taken away, and the route is still bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was done or seen, and when (UTC)."""

    at: datetime
    text: str


class Fault:
    """One fault on one route, or on every release's route to one dependency.

    Attributes:
        kind: its name in the catalogue.
        route: ``<release>-<dependency>``; the release may be ``*``.
        injected_at: just before it began, UTC.
        proved_at: when it was last seen to bite.
        healed_at: just after it was taken away.
        proof: what was seen then, in one sentence.

    """

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        values: Mapping[str, int],
        effect: Effect,
        route: str,
        routes: tuple[Route, ...],
    ) -> None:
        """Make ready to put ``effect`` on ``routes``, under a name unique to it."""
        self.kind = kind
        self.route = route
        self.injected_at: datetime | None = None
        self.proved_at: datetime | None = None
        self.healed_at: datetime | None = None
        self.proof = ""
        self._name = name
        self._label = " ".join([kind, *(f"{key}={values[key]}" for key in values)])
        self._effect = effect
        self._routes = routes
        self._before: dict[str, Ping] = {}

    def __str__(self) -> str:
        """Name it in a sentence."""
        return f"{self._label} on {self.route}"

    @property
    def active(self) -> bool:
        """Whether it is in place."""
        return self.injected_at is not None and self.healed_at is None

    def inject(self) -> Evidence:
        """Measure each route as it is, then spoil it.

        Raises:
            ToxiproxyError: the fault proxy refused; nothing is left in place.

        """
        for route in self._routes:
            self._before[route.name] = route.usual(self._effect)
        self.injected_at, self.healed_at = _now(), None
        try:
            for route in self._routes:
                route.spoil(self._effect, self._name)
        except ToxiproxyError:
            self.heal()
            raise
        return Evidence(at=self.injected_at, text=f"{self} was put in place")

    def prove(self) -> Evidence:
        """Ping each route, and see the fault.

        Raises:
            FaultDidNotBite: a route is as before, or was bad before already.

        """
        self.proof = "; ".join([self._see(route) for route in self._routes])
        self.proved_at = _now()
        return Evidence(at=self.proved_at, text=self.proof)

    def heal(self) -> Evidence:
        """Take it away; doing so again changes nothing.

        Raises:
            ToxiproxyError: the fault proxy cannot be reached.

        """
        if self.active:
            for route in self._routes:
                route.restore(self._effect, self._name)
        return self.healed()

    def healed(self) -> Evidence:
        """Note that it was taken away, by whomever."""
        self.healed_at = self.healed_at or _now()
        return Evidence(at=self.healed_at, text=f"{self} was taken away")

    def prove_healed(self) -> Evidence:
        """Ping each route until it is as before, for as long as patience lasts.

        Raises:
            FaultNotHealed: it is not, or the fault is still in place.

        """
        if self.active:
            raise FaultNotHealed(f"{self} is still in place")
        text = "; ".join([self._see_over(route) for route in self._routes])
        return Evidence(at=_now(), text=text)

    def _see(self, route: Route) -> str:
        before = self._before[route.name]
        if before.outcome != "answered":
            broken = f"{route.protocol.ping} on {route.name} {before} before it"
            raise FaultDidNotBite(f"{self} cannot be proved: {broken}")
        for _ in range(self._effect.tries):
            now, bitten = self._measure(route, before)
            if bitten:
                return route.tell(now, before)
        raise FaultDidNotBite(f"{self} does not bite: {route.tell(now, before)}")

    def _measure(self, route: Route, before: Ping) -> tuple[Ping, bool]:
        """Ping until one ping does not feel the fault, or enough have."""
        for _ in range(self._effect.pings):
            now, counted = route.watch(self._effect)
            if not counted or not self._effect.bites(now, before):
                return now, False
        return now, True

    def _see_over(self, route: Route) -> str:
        before = self._before[route.name]
        deadline = time.monotonic() + route.patience
        while not self._effect.is_over(now := route.ping(self._effect), before):
            if time.monotonic() > deadline:
                raise FaultNotHealed(f"{self} is not healed: {route.tell(now, before)}")
            time.sleep(_PAUSE_SECONDS)
        return route.tell(now, before)


def _now() -> datetime:
    return datetime.now(UTC)
