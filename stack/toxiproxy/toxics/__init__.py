"""The toxics, by the name that the API gives them."""

from stack.toxiproxy.toxics.bandwidth import Bandwidth
from stack.toxiproxy.toxics.base import Toxic
from stack.toxiproxy.toxics.latency import Latency
from stack.toxiproxy.toxics.limit_data import LimitData
from stack.toxiproxy.toxics.noop import Noop
from stack.toxiproxy.toxics.reset_peer import ResetPeer
from stack.toxiproxy.toxics.slicer import Slicer
from stack.toxiproxy.toxics.slow_close import SlowClose
from stack.toxiproxy.toxics.timeout import Timeout

__all__ = ["TYPES", "Noop", "Toxic"]

TYPES: dict[str, type[Toxic]] = {
    toxic.type: toxic
    for toxic in (
        Bandwidth,
        Latency,
        LimitData,
        Noop,
        ResetPeer,
        Slicer,
        SlowClose,
        Timeout,
    )
}
