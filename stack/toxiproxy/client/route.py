"""One proxy as seen from outside: where it listens, and how it does just now."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from stack.toxiproxy.client.api import Client, ToxiproxyError
from stack.toxiproxy.client.effects import Effect
from stack.toxiproxy.client.ping import Address, Ping, Protocol, milliseconds, ping

_BASELINE = 3
_EVERY_INTERFACE = ("", "0.0.0.0", "::")  # noqa: S104  # compared, not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A way to a dependency that can be spoiled and measured.

    Attributes:
        name: of the proxy.
        address: where it listens.
        protocol: what is spoken through it.
        client: of the fault proxy.
        patience: seconds after which a reply is no longer expected.

    """

    name: str
    address: Address
    protocol: Protocol
    client: Client
    patience: float

    def usual(self, effect: Effect) -> Ping:
        """Give the best of a few pings: how it is without the fault."""
        pings = [self.ping(effect)]
        while pings[-1].outcome == "answered" and len(pings) < _BASELINE:
            pings.append(self.ping(effect))
        failed = pings[-1].outcome != "answered"
        return pings[-1] if failed else min(pings, key=lambda one: one.ms)

    def ping(self, effect: Effect) -> Ping:
        """Ping as the fault needs it, and as long as it takes."""
        timeout = self.patience + effect.longest_ms / 1000
        return ping(
            self.address, self.protocol, timeout=timeout, padding=effect.padding
        )

    def watch(self, effect: Effect) -> tuple[Ping, bool]:
        """Ping, and say whether the fault proxy counted it, if it counts such things.

        A route that is bad for another reason looks the same, and is not counted.
        """
        before = self._counter(effect)
        now = self.ping(effect)
        return now, before is None or self._counter(effect) != before

    def spoil(self, effect: Effect, name: str) -> None:
        """Put the effect in place, under a name."""
        if not effect.toxics:
            self.client.enable(self.name, enabled=False)
        for toxic in effect.toxics:
            named = toxic | {"name": _toxic_name(name, toxic)}
            self.client.add_toxic(self.name, named)

    def restore(self, effect: Effect, name: str) -> None:
        """Take the effect of that name away, or what is still there of it."""
        if not effect.toxics:
            self.client.enable(self.name, enabled=True)
        for toxic in effect.toxics:
            try:
                self.client.remove_toxic(self.name, _toxic_name(name, toxic))
            except ToxiproxyError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise

    def tell(self, now: Ping, before: Ping) -> str:
        """Put a measurement into words."""
        usual = milliseconds(before.ms)
        which = f"{self.protocol.ping} on {self.name}"
        return f"{which} {now}; it took {usual} before"

    def _counter(self, effect: Effect) -> int | None:
        stats = self.client.proxy(self.name).get("stats", {})
        found: int | None = stats.get(effect.counter)
        return found


def address(listen: str, api_host: str) -> Address:
    """Say where to connect to; a proxy on every interface is met at the API's host."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    return api_host if host in _EVERY_INTERFACE else host, int(port)


def _toxic_name(name: str, toxic: Mapping[str, object]) -> str:
    return f"{name}-{toxic['stream']}"
