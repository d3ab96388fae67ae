"""The faults that can be put on a route, each measured where it is.

A route is one release's connection to one dependency; its proxy is called
``<release>-<dependency>``. A fault is never assumed: ``prove`` opens connections to the
route and shows that it bites, ``prove_healed`` that it no longer does::

    with Faults("http://127.0.0.1:8474") as faults:
        fault = faults.inject("latency", "v2", "postgres", latency=1200)
        print(fault.prove().text)
        fault.heal()
        print(fault.prove_healed().text)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import uuid4

from stack.toxiproxy.client import effects, ping
from stack.toxiproxy.client.api import Client, ToxiproxyError
from stack.toxiproxy.client.effects import Effect
from stack.toxiproxy.client.fault import (
    Evidence,
    Fault,
    FaultDidNotBite,
    FaultError,
    FaultNotHealed,
)
from stack.toxiproxy.client.route import Route, address

__all__ = [
    "CATALOGUE",
    "EVERY_RELEASE",
    "PROTOCOLS",
    "Evidence",
    "Fault",
    "FaultDidNotBite",
    "FaultError",
    "FaultNotHealed",
    "Faults",
    "Kind",
    "Parameter",
    "ToxiproxyError",
    "UnknownFault",
]

EVERY_RELEASE = "*"
"""As a release: the dependency itself, that is every release's route to it."""

PROTOCOLS: Mapping[str, ping.Protocol] = {
    "postgres": ping.POSTGRES,
    "redis": ping.REDIS,
    "stripe": ping.HTTP,
    "auth": ping.HTTP,
    "edge": ping.HTTP,
}
"""What is spoken on the routes to each dependency."""


class UnknownFault(FaultError):
    """There is no such fault, parameter, dependency or route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One whole number, zero or more, that a fault takes."""

    name: str
    unit: str
    default: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One entry of the catalogue."""

    name: str
    does: str
    effect: Callable[..., Effect]
    """Takes the parameters by name."""
    parameters: tuple[Parameter, ...] = ()
    dependencies: tuple[str, ...] = tuple(PROTOCOLS)
    """To whose routes it applies."""


CATALOGUE: tuple[Kind, ...] = (
    Kind(
        name="latency",
        does="replies come late, give or take the jitter",
        effect=effects.latency,
        parameters=(
            Parameter(name="latency", unit="ms", default=1000),
            Parameter(name="jitter", unit="ms", default=0),
        ),
    ),
    Kind(
        name="refused",
        does="new connections are refused, open ones are closed",
        effect=effects.refused,
    ),
    Kind(
        name="black_hole",
        does="connections stay open and nothing arrives either way",
        effect=effects.black_hole,
    ),
    Kind(
        name="lost_reply",
        does="requests arrive and are carried out, no reply comes back",
        effect=effects.lost_reply,
    ),
    Kind(
        name="reset",
        does="a connection is reset when it is used, before the request arrives",
        effect=effects.reset,
        parameters=(Parameter(name="after", unit="ms", default=0),),
    ),
    Kind(
        name="cut_reply",
        does="a connection is closed after so many bytes of replies",
        effect=effects.cut_reply,
        parameters=(Parameter(name="size", unit="bytes", default=0),),
    ),
    Kind(
        name="trickle",
        does="bytes pass slowly, both ways; at rate 0 none do",
        effect=effects.trickle,
        parameters=(Parameter(name="rate", unit="KB/s", default=1),),
    ),
)
"""Every fault there is."""


class Faults:
    """Puts faults on the routes of one fault proxy, and keeps them in mind."""

    def __init__(self, api_url: str, *, patience: float = 2.0) -> None:
        """Use the fault proxy whose API is at ``api_url``.

        Args:
            api_url: where Toxiproxy's API is, this or the original's.
            patience: seconds of silence after which no reply is expected.

        """
        self._client = Client(api_url)
        self._patience = patience
        self._faults: list[Fault] = []

    def __enter__(self) -> Self:
        """Heal everything at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Heal what is active, and close."""
        try:
            if self.active:
                self.heal_all()
        finally:
            self.close()

    @property
    def active(self) -> tuple[Fault, ...]:
        """The faults in place, in the order of their injection."""
        return tuple(fault for fault in self._faults if fault.active)

    def inject(
        self, kind: str, release: str, dependency: str, **parameters: int
    ) -> Fault:
        """Put a fault of the catalogue on a route; it is active from then on.

        Args:
            kind: its name in the catalogue.
            release: whose route; ``*`` is every release's.
            dependency: where the route goes.
            parameters: as the catalogue says; the others have their defaults.

        Raises:
            UnknownFault: there is no such fault, parameter, dependency or route.
            ToxiproxyError: the fault proxy refused, or cannot be reached.

        """
        entry = _kind(kind, dependency)
        values = _values(entry, parameters)
        fault = Fault(
            name=f"fault-{uuid4().hex}",
            kind=kind,
            values=values,
            effect=entry.effect(**values),
            route=f"{release}-{dependency}",
            routes=self._routes(release, dependency),
        )
        self._faults.append(fault)
        fault.inject()
        return fault

    def heal_all(self) -> None:
        """Enable every route and remove every toxic, whoever put them there.

        Raises:
            ToxiproxyError: the fault proxy refused, or cannot be reached.

        """
        self._client.reset()
        for fault in self.active:
            fault.healed()

    def close(self) -> None:
        """Close the connections to the API; the faults stay as they are."""
        self._client.close()

    def _routes(self, release: str, dependency: str) -> tuple[Route, ...]:
        proxies = self._client.proxies()
        everywhere = release == EVERY_RELEASE
        found = tuple(
            Route(
                name=name,
                address=address(proxy["listen"], self._client.url.host),
                protocol=PROTOCOLS[dependency],
                client=self._client,
                patience=self._patience,
            )
            for name, proxy in proxies.items()
            if name == f"{release}-{dependency}"
            or (everywhere and name.endswith(f"-{dependency}"))
        )
        if not found:
            wanted = f"{release}-{dependency}"
            raise UnknownFault(f"no route {wanted}; there are {', '.join(proxies)}")
        return found


def _kind(name: str, dependency: str) -> Kind:
    kinds = {kind.name: kind for kind in CATALOGUE}
    if name not in kinds:
        raise UnknownFault(f"no fault {name}; there are {', '.join(kinds)}")
    if dependency not in kinds[name].dependencies:
        raise UnknownFault(f"{name} does not apply to {dependency}")
    return kinds[name]


def _values(kind: Kind, given: Mapping[str, int]) -> dict[str, int]:
    defaults = {parameter.name: parameter.default for parameter in kind.parameters}
    for name, value in given.items():
        if name not in defaults:
            raise UnknownFault(f"{kind.name} has no parameter {name}")
        if value < 0:
            raise UnknownFault(f"{name} must not be negative: {value}")
    return {**defaults, **given}
